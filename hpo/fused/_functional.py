"""Dropout that a module calls as a function, with its noise as input like that of a layer."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from hpo.fused._dropout import ReplayedDropout, buffer_of, noise_shape
from hpo.fused.errors import NotFusibleError

__all__ = ["FUNCTIONS", "FunctionalDropout"]

FUNCTIONS = "()"
"""Name of all these calls of a module, which no layer can have."""

_EQUIVALENTS: Mapping[Callable[..., torch.Tensor], tuple[type[nn.Module], inspect.Signature]] = {
    function: (layer, inspect.signature(function))
    for function, layer in {
        F.dropout: nn.Dropout,
        F.dropout1d: nn.Dropout1d,
        F.dropout2d: nn.Dropout2d,
        F.dropout3d: nn.Dropout3d,
    }.items()
}
"""The functions, with the equivalent layers and the signatures."""


class FunctionalDropout(ReplayedDropout):
    """The calls of `torch.nn.functional.dropout` and its kin in one forward of a module.

    It is not a submodule of the module, as its ``forward`` may iterate over its layers. Each call
    uses the rate that it is given.
    """

    def __init__(self) -> None:
        super().__init__(0.0)
        self._modes: list[_Replaying] = []

    def attach(self, module: nn.Module) -> None:
        """Redirect the calls of ``module`` in training to this layer.

        Whoever calls the module calls `release` afterwards, whatever has been raised.
        """

        def enter(module: nn.Module, args: Any) -> None:
            if module.training:
                self._modes.append(_Replaying(self))
                self._modes[-1].__enter__()  # type: ignore[no-untyped-call]

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            if self._modes:
                self._modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, always_call=True)

    def release(self) -> None:
        """Stop redirecting where a forward did not end.

        torch calls no hook after Ctrl-C, nor after an error while it compiles; the mode would then
        see the calls of all modules of the process.
        """
        while self._modes:
            self._modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def set_noise(self, noise: Mapping[str, torch.Tensor]) -> None:
        """Set the noise of each call, by `call_name`."""
        for name, value in noise.items():
            setattr(self, buffer_of(name).rpartition(".")[2], value)

    def noise_shape(
        self, X: torch.Tensor, p: float = 0.0, kind: type[nn.Module] = nn.Dropout, *_: Any
    ) -> tuple[int, ...]:
        """Return the shape of the noise for one sample in a call."""
        return noise_shape(X, kind)

    def forward(
        self,
        X: torch.Tensor,
        p: float = 0.0,
        kind: type[nn.Module] = nn.Dropout,
        inplace: bool = False,
    ) -> torch.Tensor:
        """Return ``X`` with some entries set to 0, as a layer of this kind and rate would."""
        if not 0.0 <= p <= 1.0:
            raise NotFusibleError(f"a dropout has the rate {p}")
        dtype = torch.promote_types(X.dtype, torch.float32)
        keep = torch.tensor(1.0 - p, dtype=dtype, device=X.device)
        return self._dropped(X, keep, inplace)


class _Replaying(TorchFunctionMode):
    def __init__(self, layer: FunctionalDropout) -> None:
        super().__init__()
        self._layer = layer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        equivalent = _EQUIVALENTS.get(func)
        if equivalent is None:
            return func(*args, **(kwargs or {}))
        kind, signature = equivalent
        bound = signature.bind(*args, **(kwargs or {}))
        bound.apply_defaults()
        X, p, training, inplace = bound.args
        return self._layer(X, p, kind, inplace) if training else X
