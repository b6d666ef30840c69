"""A call of an estimator's own ``fit`` that stops where its net begins another epoch."""

import contextvars
import weakref
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet
from skorch import NeuralNet

from hpo.training._batches import load_whole_batches
from hpo.training._held import Held
from hpo.training._hooks import listen
from hpo.training._slices import Slicing

__all__ = ["SteppedFit"]

_MAX_REFUSED = 100
"""Epochs that a fit which is to end may ask for in vain before it is broken off."""


class SteppedFit:
    """A fit that runs in a greenlet of its own, and waits before each epoch but its first.

    An epoch begins where the net is notified of ``on_epoch_begin``, whoever notifies it: so a
    piece of the fit is an epoch and what comes after it, up to the next one or to the end of
    the fit. Nothing has to be known of how many epochs there will be.

    A greenlet has a stack of its own in the thread of the driver, so that torch, scikit-learn
    and CUDA find the settings there that they keep by thread; what a fit changes of them while
    it waits is put aside (`Held`).

    Parameters
    ----------
    run : callable
        The call: of the net's own ``fit``, or of that of a Pipeline which ends in it.
    net : skorch net
        The one whose epochs count.
    eval_every : int or None
        Every epoch is a slice of that many optimizer steps.
    """

    def __init__(self, run: Callable[[], Any], net: Any, *, eval_every: int | None = None) -> None:
        self.epochs = _Epochs()
        self.slicing = Slicing(net, eval_every) if eval_every else None
        handlers: list[Any] = [
            (type(net), "notify", self.epochs.notify),
            (type(net), "run_single_epoch", self.epochs.run_single_epoch),
            (NeuralNet, "get_iterator", load_whole_batches),
        ]
        if self.slicing:
            handlers.append((type(net), "get_iterator", self.slicing.get_iterator))
        # What the greenlet's frames refer to must not refer to the greenlet: the garbage
        # collector does not see into them.
        self._greenlet = _Greenlet(run, self.epochs)
        self._held = Held()
        self._quiet = listen(net, handlers, self)
        self._finalize = weakref.finalize(self, _end, self._greenlet, self._held, self.epochs)
        self._finalize.atexit = False

    @property
    def n_epochs(self) -> int:
        """Epochs done, when the fit waits or has ended."""
        return self.epochs.n_begun

    def advance(self) -> bool:
        """Make the next epoch; return whether the fit goes on after it.

        One that KeyboardInterrupt comes out of has ended, if that was raised in its loop of
        epochs: so skorch's EarlyStopping and TerminateOnNaN end a training. Raised before or after
        it, it is an error like another. The user's Ctrl-C comes by the driver's signal flag.
        """
        return _advance(self._greenlet, self._held)

    def skip(self, n_epochs: int) -> None:
        """Go where ``n_epochs`` have been made, without making them where that can be helped.

        The net is set up by its own methods; what it has learned is to be put in afterwards.
        A loop of epochs of the net's own is gone through in earnest, for it may keep what it
        needs in variables.

        Raises
        ------
        RuntimeError
            If the fit makes fewer epochs than that.
        """
        self.epochs.n_skipped = n_epochs
        for _ in range(n_epochs):
            if not self.advance():
                raise RuntimeError(
                    f"This training cannot go on: its fit ended after {self.n_epochs} epochs, "
                    f"{n_epochs} of which had been made before."
                )

    def end(self) -> None:
        """Let the fit end as skorch's callbacks end it, by KeyboardInterrupt where it waits."""
        if self._finalize.detach():
            _end(self._greenlet, self._held, self.epochs)

    def close(self) -> None:
        """End a fit that is given up, and leave the net alone; may be called twice."""
        try:
            self.end()
        finally:
            self._quiet()


class _Greenlet(greenlet):  # type: ignore[misc]
    """A greenlet that says whose epochs are made in it."""

    def __init__(self, run: Callable[[], Any], epochs: "_Epochs") -> None:
        super().__init__(run)
        self.gr_context = contextvars.copy_context()
        self.epochs = epochs


def _advance(fit: _Greenlet, held: Held) -> bool:
    fit.parent = getcurrent()
    with held:
        try:
            fit.switch()
        except KeyboardInterrupt:
            if not (fit.epochs.in_loop or fit.epochs.refuse):
                raise
        finally:
            held.over = fit.dead
    return not fit.dead


def _end(fit: _Greenlet, held: Held, epochs: "_Epochs") -> None:
    if fit.dead or not fit:  # it has ended, or never begun
        return
    epochs.refuse = True
    _advance(fit, held)


class _Epochs:
    """What a net's methods ask while its fit is made by epochs."""

    def __init__(self) -> None:
        self.n_begun = 0
        self.n_skipped = 0
        self.in_loop = False
        self.refuse = False
        self.parts: tuple[Any, Any] = (None, None)
        """Training and validation part of the epoch at hand, as the net's callbacks see them."""
        self._n_refused = 0

    def notify(self, method: Any, method_name: str, **kwargs: Any) -> Any:
        """Wait where an epoch begins; tell nobody of epochs that are skipped."""
        if method_name == "on_epoch_begin" and self._here():
            if self.n_begun:
                self._wait()
            self.n_begun += 1
            self.in_loop = True
            self.parts = kwargs.get("dataset_train"), kwargs.get("dataset_valid")
        if method_name == "on_train_end" and self._here():
            self.in_loop = False
        if self.n_skipped and self._skipping(method) and not method_name.startswith("on_train"):
            return None
        return method(method_name, **kwargs)

    def run_single_epoch(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Do nothing in an epoch that is skipped."""
        return None if self._skipping(method) else method(*args, **kwargs)

    def _skipping(self, method: Any) -> bool:
        return 0 < self.n_begun <= self.n_skipped and _has_skorchs_loop(method.__self__)

    def _here(self) -> bool:
        """Return whether this is the greenlet of the fit: a net may be trained elsewhere too."""
        return getattr(getcurrent(), "epochs", None) is self

    def _wait(self) -> None:
        if not self.refuse:
            getcurrent().parent.switch()
        if self.refuse:
            self._n_refused += 1
            raise KeyboardInterrupt if self._n_refused <= _MAX_REFUSED else GreenletExit


def _has_skorchs_loop(net: Any) -> bool:
    return type(net).fit_loop is NeuralNet.fit_loop
