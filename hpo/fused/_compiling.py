"""A traced graph compiled by TorchInductor, by its inner parts or by `torch.compile`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from hpo._private_parts import private_part

__all__ = ["compiled"]

_PARTS = (
    ("torch._guards", "TracingContext"),
    ("torch._guards", "tracing"),
    ("torch._inductor", "compile"),
    ("torch._subclasses", "FakeTensorMode"),
)
_INSTEAD = "`torch.compile` is used, which takes twice as long to make a program and to call it"


def compiled(
    graph: torch.fx.GraphModule, leaves: Sequence[torch.Tensor], options: Mapping[str, Any]
) -> Callable[..., torch.Tensor]:
    """Return one program of static shapes for a graph of plain operations.

    Parameters
    ----------
    graph : torch.fx.GraphModule
    leaves : sequence of Tensor
        Of the shapes that it will be called with.
    options : mapping of str to object
        TorchInductor's.
    """
    # Imported where it is needed: it takes seconds.
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    parts = [private_part(module, name, _INSTEAD) for module, name in _PARTS]
    if any(part is None for part in parts):
        made: Callable[..., torch.Tensor] = torch.compile(
            graph, dynamic=False, options=dict(options) or None
        )
        return made
    context, tracing, compile_graph, fake_tensors = parts
    # Without an environment for shapes, TorchInductor does not look into its cache.
    with tracing(context(fake_tensors(shape_env=ShapeEnv()))):
        made = compile_graph(graph, [*leaves], dict(options))
    return made
