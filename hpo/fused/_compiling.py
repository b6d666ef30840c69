"""Compilation of a traced graph by TorchInductor, by its private parts or `torch.compile`."""

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
_FALLBACK = "`torch.compile` is used, which takes twice as long to make a program and to call it"


def compiled(
    graph: torch.fx.GraphModule, leaves: Sequence[torch.Tensor], options: Mapping[str, Any]
) -> Callable[..., torch.Tensor]:
    """Compile a graph of plain operations to one program of static shapes.

    Parameters
    ----------
    graph : torch.fx.GraphModule
    leaves : sequence of Tensor
        Tensors of the shapes with which it will be called.
    options : mapping of str to object
        Options of TorchInductor.
    """
    # Imported here, as it takes seconds.
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    parts = [private_part(module, name, _FALLBACK) for module, name in _PARTS]
    if any(part is None for part in parts):
        program: Callable[..., torch.Tensor] = torch.compile(
            graph, dynamic=False, options=dict(options) or None
        )
        return program
    context, tracing, compile_graph, fake_tensors = parts
    # Without an environment for shapes, TorchInductor does not use its cache.
    with tracing(context(fake_tensors(shape_env=ShapeEnv()))):
        program = compile_graph(graph, [*leaves], dict(options))
    return program
