"""Leave callbacks that write or print out of a rehearsal, and shorten its training."""

from collections.abc import Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    LoadInitState,
    MlflowLogger,
    NeptuneLogger,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    WandbLogger,
)

__all__ = ["has_loggers", "has_optional_callbacks", "silence"]

_FILE_CALLBACKS = (LoadInitState, TensorBoard)
"""Callbacks that read files of other trainings, or write many; checkpoints write few."""
_LOGGERS = (MlflowLogger, NeptuneLogger, PrintLog, ProgressBar, SacredLogger, WandbLogger)
"""Callbacks that print or send."""
_LIBRARIES = {"skorch", "hpo"}
"""Packages whose other callbacks only act on the net."""


class _Silent(Callback):  # type: ignore[misc]  # skorch has no types
    """Replaces a callback, and accepts all its parameters."""

    def __init__(self, **params: Any) -> None:
        pass

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def set_params(self, **params: Any) -> "_Silent":
        return self


def silence(net: NeuralNet, *, optional: bool) -> None:
    """Replace callbacks of a net that print or send by ones that do nothing.

    Parameters
    ----------
    net : skorch net
        The net is changed in place: it trains one epoch and prints nothing.
    optional : bool
        Whether to replace also loaders of earlier weights, TensorBoard, and all callbacks that
        are neither from skorch nor from hpo.
    """
    net.callbacks = [_silence_item(item, optional) for item in _listed(net)] or net.callbacks
    net.set_params(verbose=0, max_epochs=1)
    for value in list(vars(net).values()):
        if isinstance(value, NeuralNet):  # for example a teacher
            value.set_params(verbose=0, max_epochs=1)


def has_optional_callbacks(net: NeuralNet) -> bool:
    """Return whether a net has callbacks that `silence` replaces only with ``optional``."""
    return any(_is_optional(_class(item)) for item in _listed(net))


def has_loggers(net: NeuralNet) -> bool:
    """Return whether a net has callbacks that `silence` always replaces."""
    return any(issubclass(_class(item), _LOGGERS) for item in _listed(net))


def _listed(net: NeuralNet) -> Sequence[Any]:
    return net.callbacks if isinstance(net.callbacks, list | tuple) else ()


def _class(item: Any) -> type:
    callback = item[1] if isinstance(item, tuple) else item
    return callback if isinstance(callback, type) else type(callback)


def _is_optional(cls: type) -> bool:
    return issubclass(cls, _FILE_CALLBACKS) or cls.__module__.partition(".")[0] not in _LIBRARIES


def _silence_item(item: Any, optional: bool) -> Any:
    cls = _class(item)
    if not issubclass(cls, _LOGGERS) and not (optional and _is_optional(cls)):
        return item
    # skorch names a callback after its class, and parameters name the callback.
    silent = type(cls.__name__, (_Silent,), {})()
    return (item[0], silent) if isinstance(item, tuple) else silent
