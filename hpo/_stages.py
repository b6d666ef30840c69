"""The parts of a module in the order in which data passes them, and its head."""

from typing import Any

__all__ = ["stages_of"]


def stages_of(module: Any) -> list[tuple[str, Any]]:
    """Return the names and the direct children of ``module`` that have parameters, in order.

    The last is the head. The order is that in which the children were registered, which is
    that of the data in all but unusual modules.
    """
    return [
        (name, child)
        for name, child in module.named_children()
        if next(child.parameters(), None) is not None
    ]
