"""The user's module prepared for `torch.func.vmap`: layers with randomness or state are replaced.

The module is copied once. Dropout layers get their noise and rate as input, batch normalization
returns its statistics instead of writing them, and nothing else changes.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from hpo.fused._attention import ReplayedAttention
from hpo.fused._dropout import DROPOUTS, ReplayedDropout, call_name
from hpo.fused._functional import FUNCTIONS, FunctionalDropout
from hpo.fused._norms import ReturnedBatchNorm
from hpo.fused._padding import PaddedEncoders
from hpo.fused._parametrized import WEIGHT_NORM, PlainWeightNorm
from hpo.fused._recurrent import RECURRENT, PlainRecurrent
from hpo.fused.errors import NotFusibleError

__all__ = [
    "REPLAYED",
    "BatchableModule",
    "dropout_rates",
    "rate_attribute",
    "replay_dropout",
    "write_state",
]

REPLAYED = (ReplayedDropout, ReplayedAttention)
"""Layers that replace those of torch."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

_IN_FLOAT32 = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Autocast computes these in float32 on a GPU; on a CPU in mixed types, which vmap refuses."""

_REFUSED = (nn.RNNBase, nn.RNNCellBase, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)
"""Layers that vmap has no rule for, or that draw their own random numbers."""


class BatchableModule:
    """A copy of a module that a batch of models can be trained with.

    Parameters
    ----------
    module : torch.nn.Module
        The user's module, which is not changed.

    Attributes
    ----------
    module : torch.nn.Module
        The copy.
    dropouts : dict of str to ReplayedDropout
    momenta : dict of str to float
        Momentum of the running statistics of each batch normalization.
    encoders : PaddedEncoders
    unrolls : bool
        Whether it has recurrent layers, whose steps are unrolled in the program.

    Raises
    ------
    NotFusibleError
        If a layer draws random numbers or keeps a state and has no replacement, or if weights are
        shared between layers.
    """

    def __init__(self, module: nn.Module) -> None:
        _refuse_tied(module)
        self.module = copy.deepcopy(module)
        self.unrolls = False
        self.norms: dict[str, ReturnedBatchNorm] = {}
        self.momenta: dict[str, float] = {}
        self.module, self.dropouts = replay_dropout(self.module, dropout_rates(self.module))
        self._functions: Any = self.dropouts[FUNCTIONS]
        self.encoders = PaddedEncoders(self.module)
        for name, layer in list(self.module.named_modules()):
            self._replace_layer(name, layer)

    def _replace_layer(self, name: str, layer: nn.Module) -> None:
        if type(layer) in RECURRENT:
            self.module, self.unrolls = _replace(self.module, name, PlainRecurrent(layer)), True
            return
        if isinstance(layer, _REFUSED):
            raise NotFusibleError(f"layer '{name}' is a {type(layer).__name__}")
        if isinstance(layer, _NORMS) and layer.track_running_stats:
            if layer.momentum is None:
                raise NotFusibleError(
                    f"layer '{name}' averages its statistics over all batches (give it a momentum)"
                )
            self.momenta[name] = float(layer.momentum)
            self.norms[name] = ReturnedBatchNorm(layer)
            self.norms[name].name = name
            self.module = _replace(self.module, name, self.norms[name])
        elif type(layer) is WEIGHT_NORM:
            self.module = _replace(self.module, name, PlainWeightNorm(int(layer.dim)))  # type: ignore[arg-type]
        elif isinstance(layer, _IN_FLOAT32):
            layer.register_forward_pre_hook(_widen)

    def collect(
        self, forward: Callable[[], torch.Tensor], noise: Mapping[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return the result of ``forward``, and the statistics of the batch by buffer name.

        ``noise`` is that of the dropout functions by `call_name`; that of layers is in buffers.
        """
        sink: dict[str, torch.Tensor] = {}
        for layer in self.norms.values():
            layer.sink = sink
        self._functions.set_noise(noise or {})
        try:
            return forward(), dict(sink)
        finally:
            self._functions.release()
            self._functions.set_noise(dict.fromkeys(noise or {}, torch.zeros(())))
            for layer in self.norms.values():
                layer.sink = None

    def noise_shapes(self, X: torch.Tensor) -> dict[str, tuple[int, ...]]:
        """Return the shape of each dropout's noise for one sample, call by call.

        The calls are recorded in one forward of ``X`` in training, and named by `call_name`.
        Buffers for the noise of each call are registered in the layers.

        Raises
        ------
        NotFusibleError
            If a batch normalization is called more than once: its running statistics would be
            those of the last call only.
        """
        calls: dict[str, list[tuple[int, ...]]] = {n: [] for n in [*self.dropouts, *self.norms]}

        def record(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
                shape: tuple[int, ...] = ()
                if isinstance(module, ReplayedDropout):
                    shape = module.noise_shape(*args)
                    module.add_buffers(len(calls[name]) + 1)
                calls[name].append(shape)

            return hook

        layers = {**self.dropouts, **self.norms}
        self._run_hooked(
            X,
            [layer.register_forward_pre_hook(record(name)) for name, layer in layers.items()],
            True,
        )
        for name in self.norms:
            if len(calls[name]) > 1:
                raise NotFusibleError(
                    f"the batch normalization '{name}' is called {len(calls[name])} times in one "
                    "forward, and its running statistics would be of the last call alone"
                )
        return {
            call_name(name, i): shape
            for name in self.dropouts
            for i, shape in enumerate(calls[name])
        }

    def _run_hooked(
        self, X: torch.Tensor, hooks: list[RemovableHandle], training: bool = False
    ) -> None:
        """Run a forward of some samples for the hooks, and remove these."""
        was_training = self.module.training
        try:
            with torch.no_grad():
                self.module.train(training)
                self.collect(lambda: self.module(X))
        finally:
            self.module.train(was_training)
            for hook in hooks:
                hook.remove()

    def output_sizes(self, X: torch.Tensor) -> list[int]:
        """Return the output size of each layer for one sample; that of the whole module is last."""
        sizes: list[int] = []

        def record(module: nn.Module, args: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) and out else out
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel() // len(X))

        hooks = [
            layer.register_forward_hook(record)
            for layer in self.module.modules()
            if layer is self.module or not any(layer.children())
        ]
        self._run_hooked(X, hooks)
        return sizes


def _widen(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(X.float() if X.dtype is torch.bfloat16 else X for X in args)


def rate_attribute(layer: nn.Module) -> str | None:
    """Return the attribute with a layer's dropout rate; None if it has no dropout."""
    if type(layer) in DROPOUTS:
        return "p"
    return "dropout" if isinstance(layer, nn.MultiheadAttention) else None


def dropout_rates(module: nn.Module) -> dict[str, float]:
    """Return the rates of the dropout layers, and of the dropout inside attentions, by name."""
    rates = {}
    for name, layer in module.named_modules():
        attribute = rate_attribute(layer)
        if attribute:
            inside = "" if attribute == "p" else ".drop"
            rates[f"{name}{inside}".lstrip(".")] = float(getattr(layer, attribute))
    return rates


def replay_dropout(
    module: nn.Module, rates: Mapping[str, float], *, attention: bool = True
) -> tuple[nn.Module, dict[str, ReplayedDropout]]:
    """Replace the layers of `dropout_rates` in place.

    Parameters
    ----------
    module : torch.nn.Module
        The module, which is changed.
    rates : mapping of str to float
        Rates by the names of `dropout_rates`.
    attention : bool
        Whether attentions without dropout are replaced too.

    Returns
    -------
    module : torch.nn.Module
        The same module, or its replacement if it was itself such a layer.
    dropouts : dict of str to ReplayedDropout
    """
    dropouts: dict[str, ReplayedDropout] = {}
    for name, layer in list(module.named_modules()):
        if type(layer) in DROPOUTS:
            dropouts[name] = ReplayedDropout.of(layer, rates[name])
            module = _replace(module, name, dropouts[name])
        elif isinstance(layer, nn.MultiheadAttention):
            inside = f"{name}.drop".lstrip(".")
            if attention or rates[inside]:
                replacement = ReplayedAttention(layer, rates[inside])
                dropouts[inside] = replacement.drop
                module = _replace(module, name, replacement)
            else:
                layer.dropout = 0.0
    _refuse_names(dropouts)
    dropouts[FUNCTIONS] = functions = FunctionalDropout()
    functions.attach(module)

    def begin(module: nn.Module, args: Any) -> None:
        for layer in dropouts.values():
            layer.call = 0

    module.register_forward_pre_hook(begin)
    return module, dropouts


def _refuse_names(names: Iterable[str]) -> None:
    invalid = [name for name in names if "#" in name]
    if invalid:
        raise NotFusibleError(f"the layer '{invalid[0]}' has a # in its name (give it another)")


def _replace(module: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """Replace the layer of this name, under all names that it has.

    Returns
    -------
    torch.nn.Module
        The module, which is ``layer`` if the name is empty.
    """
    if not name:
        return layer
    old = module.get_submodule(name)
    for alias, same in list(module.named_modules(remove_duplicate=False)):
        if same is old:
            parent, _, child = alias.rpartition(".")
            setattr(module.get_submodule(parent), child, layer)
    return module


def _refuse_tied(module: nn.Module) -> None:
    seen: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        other = seen.setdefault(id(parameter), name)
        if other != name:
            raise NotFusibleError(f"'{name}' and '{other}' are one weight")


@torch.no_grad()
def write_state(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Write weights and buffers by name, without calling the module's own methods."""
    current = module.state_dict()
    for name, value in state.items():
        current[name].copy_(value)
