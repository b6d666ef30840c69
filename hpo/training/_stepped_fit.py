"""Run an estimator's own ``fit`` epoch by epoch, pausing before each epoch."""

import contextvars
import weakref
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet
from skorch import NeuralNet

from hpo._time_limits import TimeIsUp
from hpo.training._batches import load_whole_batches
from hpo.training._held import SuspendedSettings
from hpo.training._hooks import listen
from hpo.training._slices import Slicing

__all__ = ["SteppedFit"]

_MAX_REFUSED = 100
"""Refused epochs after which a fit that should end is aborted."""


class SteppedFit:
    """A fit that runs in its own greenlet and waits before every epoch except the first.

    An epoch begins when the net is notified of ``on_epoch_begin``, whoever notifies it. A piece
    of the fit is therefore an epoch and everything after it, up to the next epoch or to the end
    of the fit. The number of epochs need not be known in advance.

    A greenlet has its own stack but runs in the thread of the driver, so torch, scikit-learn and
    CUDA find their thread-local settings there. What a fit has changed of them is set aside
    while it waits (`SuspendedSettings`).

    Parameters
    ----------
    run : callable
        Calls ``fit`` of the net, or of a Pipeline that ends in it.
    net : skorch net
        The net whose epochs are counted.
    eval_every : int or None
        If given, every epoch is a slice of this many optimizer steps.
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
        # Objects referenced by the greenlet's frames must not refer to the greenlet: the garbage
        # collector does not look into these frames.
        self._greenlet = _Greenlet(run, self.epochs)
        self._settings = SuspendedSettings()
        self._stop_listening = listen(net, handlers, self)
        self._finalize = weakref.finalize(self, _end, self._greenlet, self._settings, self.epochs)
        self._finalize.atexit = False

    @property
    def n_epochs(self) -> int:
        """Number of epochs done, while the fit waits or after it has ended."""
        return self.epochs.n_begun

    def advance(self) -> bool:
        """Run the next epoch; return whether the fit continues after it.

        A KeyboardInterrupt raised in the loop of epochs ends the fit: this is how skorch's
        EarlyStopping and TerminateOnNaN stop a training. Raised before or after the loop, it is
        an error like any other. The user's Ctrl-C arrives through the driver's signal flag.
        """
        return _advance(self._greenlet, self._settings)

    def skip(self, n_epochs: int) -> None:
        """Advance the fit by ``n_epochs``, without training where that can be avoided.

        The net is set up by its own methods; the caller loads its weights afterwards. If the net
        overrides the loop of epochs, the epochs are really trained, since the loop may keep
        state in local variables.

        Raises
        ------
        RuntimeError
            If the fit has fewer epochs than that.
        """
        self.epochs.n_skipped = n_epochs
        for _ in range(n_epochs):
            if not self.advance():
                raise RuntimeError(
                    f"This training cannot go on: its fit ended after {self.n_epochs} epochs, "
                    f"{n_epochs} of which had been made before."
                )

    def end(self) -> None:
        """End the fit as skorch's callbacks do: raise KeyboardInterrupt where it waits."""
        if self._finalize.detach():
            _end(self._greenlet, self._settings, self.epochs)

    def close(self) -> None:
        """End an abandoned fit and stop listening to the net; may be called twice."""
        try:
            self.end()
        finally:
            self._stop_listening()


class _Greenlet(greenlet):  # type: ignore[misc]
    """A greenlet that knows which fit runs in it."""

    def __init__(self, run: Callable[[], Any], epochs: "_Epochs") -> None:
        super().__init__(run)
        self.gr_context = contextvars.copy_context()
        self.epochs = epochs


def _advance(fit: _Greenlet, settings: SuspendedSettings) -> bool:
    fit.parent = getcurrent()
    broken_off = False
    with settings:
        try:
            fit.switch()
        except KeyboardInterrupt:
            if not (fit.epochs.in_loop or fit.epochs.refuse):
                raise
        except TimeIsUp:  # anywhere, even where the fit was about to put a setting back
            broken_off = True
            raise
        finally:
            settings.finished = fit.dead and not broken_off
    return not fit.dead


def _end(fit: _Greenlet, settings: SuspendedSettings, epochs: "_Epochs") -> None:
    if fit.dead or not fit:  # it has ended, or never begun
        return
    epochs.refuse = True
    _advance(fit, settings)


class _Epochs:
    """Handlers of a net's methods while its fit runs epoch by epoch."""

    def __init__(self) -> None:
        self.n_begun = 0
        self.n_skipped = 0
        self.in_loop = False
        self.refuse = False
        self.parts: tuple[Any, Any] = (None, None)
        """Training and validation part of the current epoch, as the net's callbacks see them."""
        self._n_refused = 0

    def notify(self, method: Any, method_name: str, **kwargs: Any) -> Any:
        """Wait at the beginning of an epoch; drop notifications of skipped epochs."""
        if method_name == "on_epoch_begin" and self._in_this_fit():
            if self.n_begun:
                self._wait()
            self.n_begun += 1
            self.in_loop = True
            self.parts = kwargs.get("dataset_train"), kwargs.get("dataset_valid")
        if method_name == "on_train_end" and self._in_this_fit():
            self.in_loop = False
        if self.n_skipped and self._skipping(method) and not method_name.startswith("on_train"):
            return None
        return method(method_name, **kwargs)

    def run_single_epoch(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Do nothing in a skipped epoch."""
        return None if self._skipping(method) else method(*args, **kwargs)

    def _skipping(self, method: Any) -> bool:
        return 0 < self.n_begun <= self.n_skipped and _uses_skorch_loop(method.__self__)

    def _in_this_fit(self) -> bool:
        """Return whether the caller runs in this fit, as the net may be trained elsewhere too."""
        return getattr(getcurrent(), "epochs", None) is self

    def _wait(self) -> None:
        if not self.refuse:
            getcurrent().parent.switch()
        if self.refuse:
            self._n_refused += 1
            raise KeyboardInterrupt if self._n_refused <= _MAX_REFUSED else GreenletExit


def _uses_skorch_loop(net: Any) -> bool:
    return type(net).fit_loop is NeuralNet.fit_loop
