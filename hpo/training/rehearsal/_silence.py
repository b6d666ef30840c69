"""What of a net is left out of a rehearsal: callbacks that write or print, long trainings."""

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

__all__ = ["has_more", "has_speakers", "silence"]

_OTHERS_FILES = (LoadInitState, TensorBoard)
"""What reads files of other trainings, or writes many; those of checkpoints are few."""
_SPEAKERS = (MlflowLogger, NeptuneLogger, PrintLog, ProgressBar, SacredLogger, WandbLogger)
"""What tells others."""
_KNOWN = {"skorch", "hpo"}
"""Packages whose other callbacks act on the net alone."""


class _Silent(Callback):  # type: ignore[misc]  # skorch has no types
    """Stands in a callback's place, and takes whatever is set of it."""

    def __init__(self, **params: Any) -> None:
        pass

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def set_params(self, **params: Any) -> "_Silent":
        return self


def silence(net: NeuralNet, *, own: bool) -> None:
    """Put silence in the place of a net's callbacks that tell others what happens.

    Parameters
    ----------
    net : skorch net
        Changed in place: it makes one epoch and says nothing.
    own : bool
        Silence loaders of earlier weights and TensorBoard too, and all callbacks that are
        neither skorch's nor hpo's.
    """
    net.callbacks = [_silenced(item, own) for item in _listed(net)] or net.callbacks
    net.set_params(verbose=0, max_epochs=1)
    for value in list(vars(net).values()):
        if isinstance(value, NeuralNet):  # one that this one learns from
            value.set_params(verbose=0, max_epochs=1)


def has_more(net: NeuralNet) -> bool:
    """Return whether a net has callbacks that `silence` leaves out with ``own`` alone."""
    return any(_is_own(_class(item)) for item in _listed(net))


def has_speakers(net: NeuralNet) -> bool:
    """Return whether a net has callbacks that are always left out."""
    return any(issubclass(_class(item), _SPEAKERS) for item in _listed(net))


def _listed(net: NeuralNet) -> Sequence[Any]:
    return net.callbacks if isinstance(net.callbacks, list | tuple) else ()


def _class(item: Any) -> type:
    callback = item[1] if isinstance(item, tuple) else item
    return callback if isinstance(callback, type) else type(callback)


def _is_own(cls: type) -> bool:
    return issubclass(cls, _OTHERS_FILES) or cls.__module__.partition(".")[0] not in _KNOWN


def _silenced(item: Any, own: bool) -> Any:
    cls = _class(item)
    if not issubclass(cls, _SPEAKERS) and not (own and _is_own(cls)):
        return item
    # skorch names a callback after its class, and parameters name the callback.
    silent = type(cls.__name__, (_Silent,), {})()
    return (item[0], silent) if isinstance(item, tuple) else silent
