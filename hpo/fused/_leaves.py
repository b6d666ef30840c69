"""The user's module made fit for `torch.func.vmap`: leaves that draw or keep something, swapped.

A copy of the module is made once. Dropout layers get their noise and their rate from outside, batch
normalization returns its statistics in the place of writing them, and nothing else changes.
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
"""Layers that stand in the place of torch's."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

_IN_FLOAT32 = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""What autocast computes in float32 on a GPU, and on a CPU in mixed types that vmap cannot take."""

_REFUSED = (nn.RNNBase, nn.RNNCellBase, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)
"""No rule of vmap, or random numbers of their own."""


class BatchableModule:
    """A copy of a module that a batch of models can be trained with.

    Parameters
    ----------
    module : torch.nn.Module
        Never changed.

    Attributes
    ----------
    module : torch.nn.Module
        The copy.
    dropouts : dict of str to ReplayedDropout
    momenta : dict of str to float
        Of each batch normalization: how much its running statistics take of a batch.
    encoders : PaddedEncoders
    unrolls : bool
        Whether it has recurrent layers, each step of which is a part of the program.

    Raises
    ------
    NotFusibleError
        If a layer draws random numbers or keeps a state in a way that has no swap, or if weights
        are shared between layers.
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
            self._swap(name, layer)

    def _swap(self, name: str, layer: nn.Module) -> None:
        if type(layer) in RECURRENT:
            self.module, self.unrolls = _put(self.module, name, PlainRecurrent(layer)), True
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
            self.module = _put(self.module, name, self.norms[name])
        elif type(layer) is WEIGHT_NORM:
            self.module = _put(self.module, name, PlainWeightNorm(int(layer.dim)))  # type: ignore[arg-type]
        elif isinstance(layer, _IN_FLOAT32):
            layer.register_forward_pre_hook(_widen)

    def collect(
        self, forward: Callable[[], torch.Tensor], noise: Mapping[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return what ``forward`` returns, and the statistics of the batch by buffer name.

        ``noise`` is that of the dropout functions by `call_name`; that of layers is in buffers.
        """
        sink: dict[str, torch.Tensor] = {}
        for layer in self.norms.values():
            layer.sink = sink
        self._functions.take(noise or {})
        try:
            return forward(), dict(sink)
        finally:
            self._functions.take(dict.fromkeys(noise or {}, torch.zeros(())))
            for layer in self.norms.values():
                layer.sink = None

    def noise_shapes(self, X: torch.Tensor) -> dict[str, tuple[int, ...]]:
        """Return the shape of each dropout's noise for one sample, call by call.

        The calls are seen in one forward of ``X`` in training, and their names are those of
        `call_name`. A place is made in the layers for the noise of each.

        Raises
        ------
        NotFusibleError
            If a batch normalization is called more than once: its running statistics would be
            those of its last call.
        """
        calls: dict[str, list[tuple[int, ...]]] = {n: [] for n in [*self.dropouts, *self.norms]}

        def look(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
                shape: tuple[int, ...] = ()
                if isinstance(module, ReplayedDropout):
                    shape = module.noise_shape(*args)
                    module.make_room(len(calls[name]) + 1)
                calls[name].append(shape)

            return hook

        layers = {**self.dropouts, **self.norms}
        self._look(
            X, [layer.register_forward_pre_hook(look(name)) for name, layer in layers.items()], True
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

    def _look(self, X: torch.Tensor, hooks: list[RemovableHandle], training: bool = False) -> None:
        """Have some samples pass for the hooks, and take these away."""
        was = self.module.training
        try:
            with torch.no_grad():
                self.module.train(training)
                self.collect(lambda: self.module(X))
        finally:
            self.module.train(was)
            for hook in hooks:
                hook.remove()

    def output_sizes(self, X: torch.Tensor) -> list[int]:
        """Return how many numbers each layer puts out for one sample, that of the whole last."""
        sizes: list[int] = []

        def look(module: nn.Module, args: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) and out else out
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel() // len(X))

        hooks = [
            layer.register_forward_hook(look)
            for layer in self.module.modules()
            if layer is self.module or not any(layer.children())
        ]
        self._look(X, hooks)
        return sizes


def _widen(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(X.float() if X.dtype is torch.bfloat16 else X for X in args)


def rate_attribute(layer: nn.Module) -> str | None:
    """Return where a layer keeps its rate of dropout; None where it drops nothing."""
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
    """Swap the layers of `dropout_rates` in place.

    Parameters
    ----------
    module : torch.nn.Module
        Changed.
    rates : mapping of str to float
        By the names of `dropout_rates`.
    attention : bool
        Whether attentions that drop nothing are swapped too.

    Returns
    -------
    module : torch.nn.Module
        Another one if it was itself such a layer.
    dropouts : dict of str to ReplayedDropout
    """
    dropouts: dict[str, ReplayedDropout] = {}
    for name, layer in list(module.named_modules()):
        if type(layer) in DROPOUTS:
            dropouts[name] = ReplayedDropout.of(layer, rates[name])
            module = _put(module, name, dropouts[name])
        elif isinstance(layer, nn.MultiheadAttention):
            inside = f"{name}.drop".lstrip(".")
            if attention or rates[inside]:
                swapped = ReplayedAttention(layer, rates[inside])
                dropouts[inside] = swapped.drop
                module = _put(module, name, swapped)
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
    strange = [name for name in names if "#" in name]
    if strange:
        raise NotFusibleError(f"the layer '{strange[0]}' has a # in its name (give it another)")


def _put(module: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """Set the layer of this name, and of all others that it has.

    Returns
    -------
    torch.nn.Module
        The module, which is ``layer`` if it has no name.
    """
    if not name:
        return layer
    old = module.get_submodule(name)
    for other, same in list(module.named_modules(remove_duplicate=False)):
        if same is old:
            parent, _, own = other.rpartition(".")
            setattr(module.get_submodule(parent), own, layer)
    return module


def _refuse_tied(module: nn.Module) -> None:
    seen: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        other = seen.setdefault(id(parameter), name)
        if other != name:
            raise NotFusibleError(f"'{name}' and '{other}' are one weight")


@torch.no_grad()
def write_state(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Write weights and buffers by name, and call nothing of the module's own."""
    kept = module.state_dict()
    for name, value in state.items():
        kept[name].copy_(value)
