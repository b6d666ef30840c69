"""Recurrent layers in plain operations: those of torch are kernels that no rule of vmap is for."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hpo.fused.errors import NotFusibleError

__all__ = ["RECURRENT", "PlainRecurrent"]

RECURRENT = frozenset([nn.LSTM, nn.GRU, nn.RNN])
"""The layers that `PlainRecurrent` can stand for."""

MAX_STEPS = 100
"""Of a sequence: a program has each of its steps written out."""

State = tuple[torch.Tensor, ...]


class PlainRecurrent(nn.Module):
    """`torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN`, whose documentation has the formulas.

    Parameters
    ----------
    layer : torch.nn.RNNBase
        Its weights are taken over under their names.

    Raises
    ------
    NotFusibleError
        If it drops between its layers, or projects its states.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        kind = type(layer).__name__
        if layer.dropout and layer.num_layers > 1:
            raise NotFusibleError(f"a {kind} drops between its layers (put nn.Dropout there)")
        if layer.proj_size:
            raise NotFusibleError(f"a {kind} projects its states (proj_size)")
        for name, weight in layer.named_parameters():
            self.register_parameter(name, weight)
        self.mode, self.bias = layer.mode, layer.bias
        self.input_size, self.hidden_size = layer.input_size, layer.hidden_size
        self.num_layers, self.bidirectional = layer.num_layers, layer.bidirectional
        self.batch_first, self.dropout = layer.batch_first, layer.dropout

    def flatten_parameters(self) -> None:
        """Do nothing: it is for the kernels of a GPU."""

    def forward(self, X: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the outputs of the last layer, and the last states of all."""
        if not isinstance(X, torch.Tensor) or X.ndim != 3:
            raise NotFusibleError("a recurrent layer is given a packed sequence, or no batch")
        X = X.transpose(0, 1) if self.batch_first else X
        if len(X) > MAX_STEPS:
            raise NotFusibleError(f"a recurrent layer has {len(X)} steps, more than {MAX_STEPS}")
        ways = ["", "_reverse"] if self.bidirectional else [""]
        ends: list[State] = []
        for layer in range(self.num_layers):
            outs = []
            for way in ways:
                begin = self._begin(X, state, len(ends))
                out, end = self._run(X.flip(0) if way else X, begin, f"l{layer}{way}")
                outs.append(out.flip(0) if way else out)
                ends.append(end)
            X = torch.cat(outs, -1)
        last = tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
        out = X.transpose(0, 1) if self.batch_first else X
        return out, last if self.mode == "LSTM" else last[0]

    def _begin(self, X: torch.Tensor, state: Any, i: int) -> State:
        n = 2 if self.mode == "LSTM" else 1
        if state is None:
            return (X.new_zeros(X.shape[1], self.hidden_size),) * n
        return tuple(part[i] for part in (state if n == 2 else (state,)))

    def _run(self, X: torch.Tensor, state: State, name: str) -> tuple[torch.Tensor, State]:
        """Return the outputs of one layer in one direction, and its last state."""

        def own(kind: str) -> Any:
            return getattr(self, f"{kind}_{name}", None)

        given = F.linear(X, own("weight_ih"), own("bias_ih"))
        outs = []
        for step in given.unbind(0):
            state = _CELLS[self.mode](
                step, F.linear(state[0], own("weight_hh"), own("bias_hh")), state
            )
            outs.append(state[0])
        return torch.stack(outs), state


def _lstm(given: torch.Tensor, kept: torch.Tensor, state: State) -> State:
    i, f, g, o = (given + kept).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(given: torch.Tensor, kept: torch.Tensor, state: State) -> State:
    (r, z, n), (r_kept, z_kept, n_kept) = given.chunk(3, -1), kept.chunk(3, -1)
    z = (z + z_kept).sigmoid()
    n = (n + (r + r_kept).sigmoid() * n_kept).tanh()
    return ((1 - z) * n + z * state[0],)


_CELLS: Mapping[str, Callable[[torch.Tensor, torch.Tensor, State], State]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN_TANH": lambda given, kept, state: ((given + kept).tanh(),),
    "RNN_RELU": lambda given, kept, state: ((given + kept).relu(),),
}
