"""Train an estimator step by step: skorch nets, ``partial_fit``, or a single ``fit``."""

import inspect
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from torch import nn
from torch.utils.data import Subset

from hpo.training._routing import fit_params_by_step
from hpo.training._stepped_fit import SteppedFit

__all__ = [
    "BaseStepper",
    "FitStepper",
    "NetStepper",
    "PartialFitStepper",
    "changeable",
    "figures_of",
    "fit",
    "last_step",
    "make_stepper",
    "net_prefix",
    "steps_of",
]

_BOOKKEEPING = {"epoch", "dur"}
"""Numbers in a net's history that are not metrics of its training."""

_FITS = ("fit", "partial_fit", "fit_loop", "on_train_end")
"""Methods that, if overridden, may change a net after its loop of epochs."""

_LOOPS = ("fit", "partial_fit", "fit_loop", "run_single_epoch", "train_step", "train_step_single")
"""Methods that make up skorch's training loop."""

_NO_LOOP = (
    "{}.fit makes no loop of epochs that notifies skorch's callbacks: each trial was one step, "
    "and could not be pruned on the way."
)
_MORE_EPOCHS = (
    "{}.fit makes more epochs than max_epochs: those beyond are part of a trial's last step. The "
    "score of that step is that of the whole fit, and earlier ones are of a fit under way."
)
_SCORED_LATE = (
    "{} can be scored no sooner than its fit has ended (before that: {}): each trial was one step, "
    "and could not be pruned on the way."
)


def last_step(estimator: Any) -> Any:
    """Return the estimator at the end of a Pipeline, or the estimator itself."""
    return last_step(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def net_prefix(estimator: Any) -> str:
    """Return the prefix of the last step's parameters: ``""``, or ``"net__"`` in a Pipeline."""
    if not isinstance(estimator, Pipeline):
        return ""
    name, step = estimator.steps[-1]
    return f"{name}__{net_prefix(step)}"


def steps_of(estimator: Any, params: Mapping[str, Any], epochs: int | None) -> int:
    """Return the number of steps of a training.

    It is ``epochs`` if given, else the ``max_epochs`` of a net under ``params``, and one for any
    other estimator.
    """
    final = last_step(estimator)
    if epochs is not None:
        return epochs if isinstance(final, NeuralNet) or hasattr(final, "partial_fit") else 1
    if isinstance(final, NeuralNet):
        return int(params.get(f"{net_prefix(estimator)}max_epochs", final.max_epochs))
    return 1


def fit(estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
    """Call ``fit`` as scikit-learn's cross-validation does."""
    if y is None:
        estimator.fit(X, **fit_params)
    else:
        estimator.fit(X, y, **fit_params)


def changeable(estimator: Any, name: str, epochs: int | None) -> bool:
    """Return whether parameter ``name`` can be set while ``estimator`` trains.

    For a net, these are the parameters that its optimizer, its loss or its loader reads again at
    each step. Parameters of the module or the criterion would rebuild them.
    """
    prefix = net_prefix(estimator)
    final, own_name = last_step(estimator), name.removeprefix(prefix)
    if not name.startswith(prefix):
        return False
    if not isinstance(final, NeuralNet):
        return epochs is not None and hasattr(final, "partial_fit")
    return _is_read_every_step(own_name)


def _is_read_every_step(name: str) -> bool:
    if "__" in name:
        return name.startswith(("optimizer__", "iterator_train__"))
    return name not in {"module", "criterion", "optimizer", "max_epochs", "train_split", "dataset"}


class BaseStepper(ABC):
    """Trains one estimator on one training set, one step at a time.

    Subclasses take an unfitted estimator, which they own, the training data X and y, and the
    parameters of the estimator's ``fit``, with arrays cut to the rows of X.
    """

    finished = False
    """Whether the training is over, after its last step or because it stopped early."""

    whole = False
    """Whether the first step was the whole training, however many steps were requested."""

    note = ""
    """A note for the user about how the steps were made; usually empty."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = last_step(estimator)

    @abstractmethod
    def step(self, *, last: bool) -> None:
        """Train one step; ``last`` says whether it is the last one."""

    def needs_whole_fit(self, error: Exception) -> bool:
        """Return whether the first scoring may have failed because the fit has not ended yet.

        If so, the next step must be the last one.
        """
        return False

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Protect the training from side effects of scoring the estimator inside the block."""
        yield

    def metrics(self) -> dict[str, float]:
        """Return the metrics that the estimator has recorded in its last step, such as losses."""
        return {}

    def state(self) -> Any:
        """Return the state of the training, without the data."""
        return self.finished, vars(self.estimator)

    def load_state(self, state: Any, changes: Mapping[str, Any]) -> None:
        """Continue from a `state`, with ``changes`` of the estimator's parameters."""
        self.finished, attributes = state
        vars(self.estimator).update(attributes)
        self.estimator.set_params(**changes)

    def close(self) -> None:  # noqa: B027
        """End an abandoned training."""


class NetStepper(BaseStepper):
    """Trains a skorch net, alone or at the end of a Pipeline.

    The estimator's own ``fit`` is called once, and each of its epochs is a step (or a slice of
    ``eval_every`` optimizer steps). So n steps give the same result as ``fit(max_epochs=n)``, bit
    for bit, whichever of its methods a net overrides. The end of the fit belongs to the last
    step, and so do epochs beyond the known number of steps, such as those of a second loop. A
    fit without a loop of epochs is one step.

    Parameters
    ----------
    epochs : int or None
        If given, it is set as the net's ``max_epochs``.
    eval_every : int or None
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        fit_params: Mapping[str, Any],
        *,
        epochs: int | None = None,
        eval_every: int | None = None,
    ) -> None:
        super().__init__(estimator)
        if epochs is not None:
            self.estimator.set_params(max_epochs=epochs)
        run = partial(fit, estimator, X, y, fit_params)
        self._fit = SteppedFit(run, self.estimator, eval_every=eval_every)

    def step(self, *, last: bool) -> None:
        """Train one epoch, or in the last step until the fit has ended."""
        n_before = self._fit.n_epochs
        while self._fit.advance():
            if not last:
                return
        self.finished = True
        name, n_epochs = type(self.estimator).__name__, self._fit.n_epochs
        if not n_epochs:
            self.whole = True
            self.note = _NO_LOOP.format(name)
        elif n_epochs - n_before > 1 and not self.whole:
            self.note = _MORE_EPOCHS.format(name)

    def needs_whole_fit(self, error: Exception) -> bool:
        """Return whether the net overrides ``fit`` or a part of it, and the fit has not ended."""
        if self.finished or not any(_is_overridden(self.estimator, name) for name in _FITS):
            return False
        self.whole = True
        self.note = _SCORED_LATE.format(type(self.estimator).__name__, type(error).__name__)
        return True

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Restore the modes of the modules, since an overridden loop may set them only once.

        skorch sets them before every batch.
        """
        if not any(_is_overridden(self.estimator, name) for name in _LOOPS):
            yield
            return
        modules = [part for part in vars(self.estimator).values() if isinstance(part, nn.Module)]
        modes = [(layer, layer.training) for module in modules for layer in module.modules()]
        try:
            yield
        finally:
            for layer, training in modes:
                layer.training = training

    def metrics(self) -> dict[str, float]:
        """Return the numbers in the last row of the net's history; see `figures_of`."""
        history = getattr(self.estimator, "history", None)
        return figures_of(history[-1]) if history else {}

    def state(self) -> Any:
        """Return the net's attributes, the rows of its train split, and its position in the fit."""
        rows = [getattr(part, "indices", None) for part in self._fit.epochs.parts]
        slicing = self._fit.slicing
        place = slicing.state() if slicing else None
        return self.finished, vars(self.estimator), self._fit.n_epochs, rows, place

    def load_state(self, state: Any, changes: Mapping[str, Any]) -> None:
        """Continue from a `state`; all ``changes`` must be `changeable`."""
        self.finished, net, n_epochs, rows, place = state
        if self.finished:
            vars(self.estimator).update(net)
            return
        # The loop of epochs reads the batch size once, at its beginning.
        vars(self.estimator).update(_settings(net))
        self.estimator.set_params(**changes)
        self._fit.skip(n_epochs)
        vars(self.estimator).update(net)
        self.estimator.set_params(**changes)
        for part, indices in zip(self._fit.epochs.parts, rows, strict=True):
            if indices is not None and isinstance(part, Subset):
                part.indices = indices
        if self._fit.slicing:
            self._fit.slicing.load_state(place)

    def close(self) -> None:
        """End the fit, if it is running, as skorch's callbacks do."""
        self.finished = True
        self._fit.close()


def _is_overridden(net: Any, name: str) -> bool:
    return not getattr(type(net), name).__module__.startswith("skorch.")


def _settings(net: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a net that may change during training, without its parts."""
    return {
        name: value
        for name, value in net.items()
        if not name.startswith(("_", "callbacks"))
        and not name.endswith("_")
        and _is_read_every_step(name)
    }


class PartialFitStepper(BaseStepper):
    """Trains a scikit-learn estimator by ``partial_fit``; a step is one pass over the data.

    The preprocessing of a Pipeline is fitted once, before the first step.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any], classes: Any = None
    ) -> None:
        super().__init__(estimator)
        X, fit_params = _preprocessed(estimator, X, y, fit_params)
        takes = inspect.signature(self.estimator.partial_fit).parameters
        if is_classifier(self.estimator) and "classes" in takes:
            fit_params = {"classes": classes, **fit_params}
        self._X, self._y, self._fit_params = X, y, fit_params

    def step(self, *, last: bool) -> None:
        """Call ``partial_fit`` once."""
        self.estimator.partial_fit(self._X, self._y, **self._fit_params)
        self.finished = last

    def metrics(self) -> dict[str, float]:
        """Return the estimator's ``loss_``, if it has one."""
        loss = getattr(self.estimator, "loss_", None)
        return {"train_loss": float(loss)} if isinstance(loss, float | np.floating) else {}


def _preprocessed(
    estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any]]:
    """Fit the steps before a Pipeline's last one; return the data and parameters of that."""
    while isinstance(estimator, Pipeline):
        before, fit_params = fit_params_by_step(estimator, fit_params)
        if len(estimator.steps) > 1:
            X = estimator[:-1].fit_transform(X, y, **before)
        estimator = estimator.steps[-1][1]
    return X, fit_params


class FitStepper(BaseStepper):
    """Trains any other estimator; its only step is ``fit``."""

    def __init__(self, estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        super().__init__(estimator)
        self._run = partial(fit, estimator, X, y, fit_params)

    def step(self, *, last: bool) -> None:
        """Fit the estimator."""
        self._run()
        self.finished = True


def figures_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in a row of a net's history, without skorch's bookkeeping.

    These are losses, scores of the net's own callbacks, and other numbers that a callback has
    written there. Flags (``train_loss_best``, ``event_cp``) are not included.
    """
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and name not in _BOOKKEEPING
        and not name.endswith("_batch_count")
    }


def make_stepper(
    estimator: Any,
    X: Any,
    y: Any,
    fit_params: Mapping[str, Any],
    *,
    classes: Any = None,
    epochs: int | None = None,
    eval_every: int | None = None,
) -> BaseStepper:
    """Return the stepper for ``estimator``.

    A step of a net is an epoch, or ``eval_every`` optimizer steps. ``partial_fit`` is used only
    if ``epochs`` says how often. Otherwise scikit-learn's estimators are trained by ``fit``, with
    its own stopping rule.
    """
    final = last_step(estimator)
    if isinstance(final, NeuralNet):
        return NetStepper(estimator, X, y, fit_params, epochs=epochs, eval_every=eval_every)
    if epochs is not None and hasattr(final, "partial_fit"):
        return PartialFitStepper(estimator, X, y, fit_params, classes)
    return FitStepper(estimator, X, y, fit_params)
