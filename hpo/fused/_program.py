"""A function of tensors compiled to one program, and on a GPU started as one graph."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hpo.fused._compiling import compiled

__all__ = ["Graph", "Program"]

Shapes = tuple[torch.Size, ...]


class Program:
    """A function of tensors as one compiled program of static shapes, made when it is called.

    The function is traced through its derivatives and its axes to plain operations, and these are
    what TorchInductor compiles: `torch.compile` takes twice as long to make and, for its guards, as
    long again to call.

    Parameters
    ----------
    function : callable
        Of tensors, and of mappings of them; it may change them in place.
    """

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self._function = function
        self._programs: dict[Shapes, Callable[..., torch.Tensor]] = {}

    def __call__(self, *args: Any) -> torch.Tensor:
        """Call the function; for arguments of other shapes than before another program is made."""
        leaves = list(_leaves(args))
        key = _shapes(leaves)
        if key not in self._programs:
            self._programs[key] = self._make([leaf.clone() for leaf in leaves], args)
        return self._programs[key](*leaves)

    def _make(self, leaves: list[torch.Tensor], args: Any) -> Callable[..., torch.Tensor]:
        from torch.fx.experimental.proxy_tensor import make_fx  # takes seconds

        def flat(*given: torch.Tensor) -> torch.Tensor:
            return self._function(*_filled(args, iter(given)))

        graph = make_fx(flat)(*leaves)
        # Convolutions of many models are grouped ones: with channels that come last a step of a
        # small CNN takes a quarter longer on a CPU.
        options = {} if leaves[0].is_cuda else {"layout_optimization": False}
        return compiled(graph, leaves, options)


class Graph:
    """A function of tensors recorded as one CUDA graph, which is started in place of its kernels.

    On a CPU it does the same without a recording.

    Parameters
    ----------
    function : callable
        It may change its arguments in place, and must not wait for the device.
    n_kept : int
        Its first arguments lie where they are from call to call. The others are copied to where
        the graph looks for them, unless they are the very tensors of the last call, which are
        taken to be unchanged.
    """

    def __init__(self, function: Callable[..., torch.Tensor], n_kept: int) -> None:
        self._function, self._n_kept = function, n_kept
        self._recordings: dict[Shapes, _Recording] = {}

    def __call__(self, *args: Any) -> torch.Tensor:
        """Call the function; the result is overwritten by the next call."""
        given = list(_leaves(args[self._n_kept :]))
        key = _shapes(given)
        if key not in self._recordings:
            self._recordings[key] = self._record(args, given)
        recording = self._recordings[key]
        for place, last, value in zip(recording.places, recording.last, given, strict=True):
            if value is not last:
                place.copy_(value)
        recording.last = given
        return recording.start()

    def _record(self, args: Any, given: list[torch.Tensor]) -> "_Recording":
        places = [value.clone() for value in given]
        others = _filled(args[self._n_kept :], iter(places))
        arguments = (*args[: self._n_kept], *others)

        def call() -> torch.Tensor:
            return self._function(*arguments)

        if not places[0].is_cuda:
            return _Recording(places, given, call)
        # Whatever is set up at a first call is no part of the recording; it is made on copies.
        for _ in range(2):
            self._function(*_filled(arguments, (leaf.clone() for leaf in _leaves(arguments))))
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

        def start() -> torch.Tensor:
            graph.replay()
            return result

        return _Recording(places, given, start)


@dataclass
class _Recording:
    """Where a graph looks for its arguments, what lies there, and how it is started."""

    places: list[torch.Tensor]
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


def _filled(tree: Any, leaves: Iterator[torch.Tensor]) -> Any:
    """Return the same tree of other tensors."""
    if isinstance(tree, torch.Tensor):
        return next(leaves)
    if isinstance(tree, dict):
        return {name: _filled(branch, leaves) for name, branch in tree.items()}
    return tuple(_filled(branch, leaves) for branch in tree)
