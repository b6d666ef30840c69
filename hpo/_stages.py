"""The parts of a module in the order in which data passes through them."""

from typing import Any

__all__ = ["stages_of"]


def stages_of(module: Any) -> list[tuple[str, Any]]:
    """Return the names and the direct children of ``module`` that have parameters, in order.

    The last one is the head. The order is that of registration, which is the order of the data
    in all but unusual modules.
    """
    return [
        (name, child)
        for name, child in module.named_children()
        if next(child.parameters(), None) is not None
    ]
