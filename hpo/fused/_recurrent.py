"""Recurrent layers in plain operations: vmap has no rules for the kernels of torch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hpo.fused.errors import NotFusibleError

__all__ = ["RECURRENT", "PlainRecurrent"]

RECURRENT = frozenset([nn.LSTM, nn.GRU, nn.RNN])
"""The layers that `PlainRecurrent` can replace."""

MAX_STEPS = 100
"""Longest sequence, as a program has all of its steps unrolled."""

State = tuple[torch.Tensor, ...]


class PlainRecurrent(nn.Module):
    """`torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN`, whose documentation has the formulas.

    Parameters
    ----------
    layer : torch.nn.RNNBase
        The layer whose weights are used, under the same names.

    Raises
    ------
    NotFusibleError
        If it has dropout between its layers, or projects its states.
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
        """Do nothing: this method only matters for the kernels of a GPU."""

    def forward(self, X: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the outputs of the last layer, and the last states of all."""
        if not isinstance(X, torch.Tensor) or X.ndim != 3:
            raise NotFusibleError("a recurrent layer is given a packed sequence, or no batch")
        X = X.transpose(0, 1) if self.batch_first else X
        if len(X) > MAX_STEPS:
            raise NotFusibleError(f"a recurrent layer has {len(X)} steps, more than {MAX_STEPS}")
        directions = ["", "_reverse"] if self.bidirectional else [""]
        ends: list[State] = []
        for layer in range(self.num_layers):
            outs = []
            for direction in directions:
                begin = self._begin(X, state, len(ends))
                out, end = self._run(X.flip(0) if direction else X, begin, f"l{layer}{direction}")
                outs.append(out.flip(0) if direction else out)
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

        def weight(kind: str) -> Any:
            return getattr(self, f"{kind}_{name}", None)

        projected = F.linear(X, weight("weight_ih"), weight("bias_ih"))
        outs = []
        for step in projected.unbind(0):
            state = _CELLS[self.mode](
                step, F.linear(state[0], weight("weight_hh"), weight("bias_hh")), state
            )
            outs.append(state[0])
        return torch.stack(outs), state


def _lstm(from_input: torch.Tensor, from_state: torch.Tensor, state: State) -> State:
    i, f, g, o = (from_input + from_state).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(from_input: torch.Tensor, from_state: torch.Tensor, state: State) -> State:
    (r, z, n), (r_state, z_state, n_state) = from_input.chunk(3, -1), from_state.chunk(3, -1)
    z = (z + z_state).sigmoid()
    n = (n + (r + r_state).sigmoid() * n_state).tanh()
    return ((1 - z) * n + z * state[0],)


_CELLS: Mapping[str, Callable[[torch.Tensor, torch.Tensor, State], State]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN_TANH": lambda from_input, from_state, state: ((from_input + from_state).tanh(),),
    "RNN_RELU": lambda from_input, from_state, state: ((from_input + from_state).relu(),),
}
