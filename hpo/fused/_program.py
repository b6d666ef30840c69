"""A function of tensors compiled to one program, and on a GPU launched as one graph."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hpo.fused._compiling import compiled

__all__ = ["Graph", "Program"]

Shapes = tuple[torch.Size, ...]


class Program:
    """A function of tensors, compiled at its first call to one program of static shapes.

    The function is traced, with its gradients and vmaps, to plain operations, which TorchInductor
    compiles. With `torch.compile` compilation would take twice as long, and so would each call,
    because of its guards.

    Parameters
    ----------
    function : callable
        A function of tensors, and mappings of them; it may change them in place.
    """

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self._function = function
        self._programs: dict[Shapes, Callable[..., torch.Tensor]] = {}

    def __call__(self, *args: Any) -> torch.Tensor:
        """Call the function; arguments of new shapes are compiled to another program."""
        leaves = list(_leaves(args))
        key = _shapes(leaves)
        if key not in self._programs:
            self._programs[key] = self._compile([leaf.clone() for leaf in leaves], args)
        return self._programs[key](*leaves)

    def _compile(self, leaves: list[torch.Tensor], args: Any) -> Callable[..., torch.Tensor]:
        from torch.fx.experimental.proxy_tensor import make_fx  # takes seconds

        def flat_function(*inputs: torch.Tensor) -> torch.Tensor:
            return self._function(*_with_leaves(args, iter(inputs)))

        graph = make_fx(flat_function)(*leaves)
        # Convolutions of many models are grouped ones: with channels last, a step of a small CNN
        # takes a quarter longer on a CPU.
        options = {} if leaves[0].is_cuda else {"layout_optimization": False}
        return compiled(graph, leaves, options)


class Graph:
    """A function of tensors recorded as one CUDA graph, which is launched instead of its kernels.

    On a CPU the function is called without a recording.

    Parameters
    ----------
    function : callable
        It may change its arguments in place, and must not wait for the device.
    n_fixed : int
        Number of leading arguments that are the same tensors in all calls. The others are copied
        to the tensors that the graph reads, unless they are the same objects as in the last call,
        which are assumed to be unchanged.
    """

    def __init__(self, function: Callable[..., torch.Tensor], n_fixed: int) -> None:
        self._function, self._n_fixed = function, n_fixed
        self._recordings: dict[Shapes, _Recording] = {}

    def __call__(self, *args: Any) -> torch.Tensor:
        """Call the function; the result is overwritten by the next call."""
        inputs = list(_leaves(args[self._n_fixed :]))
        key = _shapes(inputs)
        if key not in self._recordings:
            self._recordings[key] = self._record(args, inputs)
        recording = self._recordings[key]
        for buffer, last, value in zip(recording.buffers, recording.last, inputs, strict=True):
            if value is not last:
                buffer.copy_(value)
        recording.last = inputs
        return recording.start()

    def _record(self, args: Any, inputs: list[torch.Tensor]) -> "_Recording":
        buffers = [value.clone() for value in inputs]
        copied = _with_leaves(args[self._n_fixed :], iter(buffers))
        arguments = (*args[: self._n_fixed], *copied)

        def call() -> torch.Tensor:
            return self._function(*arguments)

        if not buffers[0].is_cuda:
            return _Recording(buffers, inputs, call)
        # Setup at the first calls must not be recorded; these are made on copies.
        for _ in range(2):
            self._function(*_with_leaves(arguments, (leaf.clone() for leaf in _leaves(arguments))))
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

        def start() -> torch.Tensor:
            graph.replay()
            return result

        return _Recording(buffers, inputs, start)


@dataclass
class _Recording:
    """The tensors that a graph reads, the last inputs copied there, and the start function."""

    buffers: list[torch.Tensor]
    last: list[torch.Tensor]
    start: Callable[[], torch.Tensor]


def _shapes(leaves: list[torch.Tensor]) -> Shapes:
    return tuple(leaf.shape for leaf in leaves)


def _leaves(tree: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of nested mappings and tuples, faster than torch's pytrees do."""
    if isinstance(tree, torch.Tensor):
        yield tree
        return
    for branch in tree.values() if isinstance(tree, dict) else tree:
        yield from _leaves(branch)


def _with_leaves(tree: Any, leaves: Iterator[torch.Tensor]) -> Any:
    """Return the same tree with other tensors."""
    if isinstance(tree, torch.Tensor):
        return next(leaves)
    if isinstance(tree, dict):
        return {name: _with_leaves(branch, leaves) for name, branch in tree.items()}
    return tuple(_with_leaves(branch, leaves) for branch in tree)
