"""What of a net is left out of a rehearsal: callbacks that write or print, long trainings."""

from collections.abc import Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    Checkpoint,
    LoadInitState,
    MlflowLogger,
    NeptuneLogger,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    WandbLogger,
)

__all__ = ["own_callbacks", "silence"]

_WRITERS = (
    Checkpoint,
    LoadInitState,
    MlflowLogger,
    NeptuneLogger,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    WandbLogger,
)
_KNOWN = {"skorch", "hpo"}
"""Packages whose other callbacks act on the net alone."""


class _Silent(Callback):  # type: ignore[misc]  # skorch has no types
    """Stands in a callback's place, and takes whatever is set of it."""

    def set_params(self, **params: Any) -> "_Silent":
        return self


def silence(net: NeuralNet, *, own: bool) -> None:
    """Put silence in the place of a net's callbacks that write, print, or read what was written.

    Parameters
    ----------
    net : skorch net
        Changed in place: it makes one epoch and says nothing.
    own : bool
        Silence all callbacks that are neither skorch's nor hpo's, too.
    """
    net.callbacks = [_silenced(item, own) for item in _listed(net)] or net.callbacks
    net.set_params(verbose=0, max_epochs=1)
    for value in list(vars(net).values()):
        if isinstance(value, NeuralNet):  # one that this one learns from
            value.set_params(verbose=0, max_epochs=1)


def own_callbacks(net: NeuralNet) -> bool:
    """Return whether a net has callbacks that are neither skorch's nor hpo's."""
    return any(_is_own(_class(item)) for item in _listed(net))


def _listed(net: NeuralNet) -> Sequence[Any]:
    return net.callbacks if isinstance(net.callbacks, list | tuple) else ()


def _class(item: Any) -> type:
    callback = item[1] if isinstance(item, tuple) else item
    return callback if isinstance(callback, type) else type(callback)


def _is_own(cls: type) -> bool:
    return cls.__module__.partition(".")[0] not in _KNOWN and not issubclass(cls, _WRITERS)


def _silenced(item: Any, own: bool) -> Any:
    cls = _class(item)
    if not issubclass(cls, _WRITERS) and not (own and _is_own(cls)):
        return item
    # skorch names a callback after its class, and parameters name the callback.
    silent = type(cls.__name__, (_Silent,), {})()
    return (item[0], silent) if isinstance(item, tuple) else silent
