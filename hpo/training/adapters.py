"""How an estimator makes one step: skorch nets, ``partial_fit``, or one whole ``fit``."""

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
"""Numbers in a net's history that say nothing of its training."""

_FITS = ("fit", "partial_fit", "fit_loop", "on_train_end")
"""Methods after which a net may be what it was not before."""

_LOOPS = ("fit", "partial_fit", "fit_loop", "run_single_epoch", "train_step", "train_step_single")
"""Methods that skorch's way of training stands in."""

_NO_LOOP = (
    "{}.fit makes no loop of epochs that skorch's callbacks are told of: each trial was one step, "
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
    """Return how many steps a training makes.

    ``epochs`` if given; a net's ``max_epochs``, under ``params``; one for everything else.
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

    Of a net: what its optimizer, its loss or its loader reads anew at each step; what the
    module or the criterion are made of would build them anew.
    """
    prefix = net_prefix(estimator)
    final, own = last_step(estimator), name.removeprefix(prefix)
    if not name.startswith(prefix):
        return False
    if not isinstance(final, NeuralNet):
        return epochs is not None and hasattr(final, "partial_fit")
    return _reads_anew(own)


def _reads_anew(name: str) -> bool:
    if "__" in name:
        return name.startswith(("optimizer__", "iterator_train__"))
    return name not in {"module", "criterion", "optimizer", "max_epochs", "train_split", "dataset"}


class BaseStepper(ABC):
    """Trains one estimator on one training set, a step at a time.

    Each kind is made of an unfitted estimator that it owns, the training data X and y, and the
    parameters that the estimator's ``fit`` takes, arrays cut to the rows of X.
    """

    finished = False
    """Whether the training is over, at its last step or stopped early by itself."""

    whole = False
    """Whether its first step was the whole training, however many were asked for."""

    note = ""
    """What the user should know of how it was stepped; empty as a rule."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = last_step(estimator)

    @abstractmethod
    def step(self, *, last: bool) -> None:
        """Train one step; ``last`` says that no further one follows."""

    def needs_its_end(self, error: Exception) -> bool:
        """Return whether an ``error`` in the first scoring may be for want of a fit's end.

        If so, the next step must be the last one.
        """
        return False

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Leave the training as it is by what is done with the estimator inside the block."""
        yield

    def metrics(self) -> dict[str, float]:
        """Return the metrics that the estimator has recorded of its last step, such as losses."""
        return {}

    def state(self) -> Any:
        """Return what the training has come to, without the data."""
        return self.finished, vars(self.estimator)

    def load_state(self, state: Any, changes: Mapping[str, Any]) -> None:
        """Go on from a `state`, with ``changes`` of the estimator's parameters."""
        self.finished, known = state
        vars(self.estimator).update(known)
        self.estimator.set_params(**changes)

    def close(self) -> None:  # noqa: B027
        """End a training that is given up."""


class NetStepper(BaseStepper):
    """A skorch net, by itself or at the end of a Pipeline.

    The estimator's own ``fit`` is called, once, and a step is one of the epochs that it makes
    (or a slice of ``eval_every`` optimizer steps): so n steps are one ``fit(max_epochs=n)``,
    bit for bit, whichever of its methods a net overrides. The end of the fit belongs to the
    last step, and so do epochs beyond the steps that are known of, as of a second loop. A fit
    without a loop of epochs is one step.

    Parameters
    ----------
    epochs : int or None
        Set as the net's ``max_epochs``.
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
        """Train one epoch; at the last step, until the fit has ended."""
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

    def needs_its_end(self, error: Exception) -> bool:
        """Return whether the net has a ``fit`` of its own, which is under way."""
        if self.finished or not any(_is_own(self.estimator, name) for name in _FITS):
            return False
        self.whole = True
        self.note = _SCORED_LATE.format(type(self.estimator).__name__, type(error).__name__)
        return True

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Keep the modules' modes: a loop of the net's own may set them once, at its start.

        skorch sets them with every batch.
        """
        if not any(_is_own(self.estimator, name) for name in _LOOPS):
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
        """Return the net's attributes, its own validation part's rows, its place in the fit."""
        rows = [getattr(part, "indices", None) for part in self._fit.epochs.parts]
        slicing = self._fit.slicing
        place = slicing.state() if slicing else None
        return self.finished, vars(self.estimator), self._fit.n_epochs, rows, place

    def load_state(self, state: Any, changes: Mapping[str, Any]) -> None:
        """Go on from a `state`; the changes are `changeable` ones."""
        self.finished, net, n_epochs, rows, place = state
        if self.finished:
            vars(self.estimator).update(net)
            return
        # A loop of epochs reads the size of its batches once, where it begins.
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
        """End the fit, if it is under way, as skorch's callbacks end it."""
        self.finished = True
        self._fit.close()


def _is_own(net: Any, name: str) -> bool:
    return not getattr(type(net), name).__module__.startswith("skorch.")


def _settings(net: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a net's attributes that a training may have changed, and its parts not."""
    return {
        name: value
        for name, value in net.items()
        if not name.startswith(("_", "callbacks")) and not name.endswith("_") and _reads_anew(name)
    }


class PartialFitStepper(BaseStepper):
    """A scikit-learn estimator with ``partial_fit``; a step is one pass over the data.

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
        """Return the estimator's ``loss_``, where it has one."""
        loss = getattr(self.estimator, "loss_", None)
        return {"train_loss": float(loss)} if isinstance(loss, float | np.floating) else {}


def _preprocessed(
    estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any]]:
    """Fit what stands before a Pipeline's last step; return what that is given."""
    while isinstance(estimator, Pipeline):
        before, fit_params = fit_params_by_step(estimator, fit_params)
        if len(estimator.steps) > 1:
            X = estimator[:-1].fit_transform(X, y, **before)
        estimator = estimator.steps[-1][1]
    return X, fit_params


class FitStepper(BaseStepper):
    """Any other estimator; its only step is ``fit``."""

    def __init__(self, estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        super().__init__(estimator)
        self._run = partial(fit, estimator, X, y, fit_params)

    def step(self, *, last: bool) -> None:
        """Fit."""
        self._run()
        self.finished = True


def figures_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in a row of a net's history, skorch's bookkeeping left out.

    Losses, scores of the net's own callbacks, and whatever else a callback has written there.
    Flags (``train_loss_best``, ``event_cp``) are no numbers.
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

    A net steps by epochs, or by ``eval_every`` optimizer steps. ``partial_fit`` is used only if
    ``epochs`` says how often: without it, scikit-learn's estimators mean their ``fit``, with
    its own stopping rule.
    """
    final = last_step(estimator)
    if isinstance(final, NeuralNet):
        return NetStepper(estimator, X, y, fit_params, epochs=epochs, eval_every=eval_every)
    if epochs is not None and hasattr(final, "partial_fit"):
        return PartialFitStepper(estimator, X, y, fit_params, classes)
    return FitStepper(estimator, X, y, fit_params)
