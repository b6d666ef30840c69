"""How an estimator makes one step: skorch nets, ``partial_fit``, or one whole ``fit``."""

import inspect
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from torch.utils.data import Subset

from hpo.training._batches import batch_whole_rows
from hpo.training._slices import cut_epochs

__all__ = [
    "BaseStepper",
    "FitStepper",
    "NetStepper",
    "PartialFitStepper",
    "changeable",
    "last_step",
    "make_stepper",
    "net_prefix",
    "steps_of",
]

_BOOKKEEPING = {"epoch", "dur"}
"""Numbers in a net's history that say nothing of its training."""

_OURS = {"get_split_datasets", "get_iterator"}
"""Methods of a net that a stepper puts its own in the place of."""


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
    if "__" in own:
        return own.startswith(("optimizer__", "iterator_train__"))
    return own not in {"module", "criterion", "optimizer", "max_epochs", "train_split", "dataset"}


class BaseStepper(ABC):
    """Trains one estimator on one training set, a step at a time.

    Parameters
    ----------
    estimator : estimator
        Unfitted and owned by the stepper; no Pipeline.
    X, y : training data
    fit_params : dict
        Arrays already cut to the rows of X.
    """

    finished = False
    """Whether the training is over, at its last step or stopped early by itself."""

    def __init__(self, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        self.estimator = estimator
        self._X, self._y, self._fit_params = X, y, fit_params

    @abstractmethod
    def step(self, *, last: bool) -> None:
        """Train one step; ``last`` says that no further one follows."""

    def figures(self) -> dict[str, float]:
        """Return the figures that the estimator has recorded of its last step, such as losses."""
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
    """A skorch net; a step is an epoch, or ``eval_every`` optimizer steps.

    ``partial_fit`` would fire ``on_train_begin`` with each call, which resets early stopping
    and the learning-rate schedule. Here the training begins once and ends once, so that n
    steps are one ``fit(max_epochs=n)``, bit for bit.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        fit_params: dict[str, Any],
        *,
        eval_every: int | None = None,
    ) -> None:
        super().__init__(estimator, X, y, fit_params)
        batch_whole_rows(estimator, X, y)
        estimator.initialize()
        self._parts = _split_once(estimator)
        self._slices = cut_epochs(estimator, eval_every) if eval_every else []
        estimator.notify("on_train_begin", X=X, y=y)

    def step(self, *, last: bool) -> None:
        """Train one epoch."""
        try:
            self.estimator.fit_loop(self._X, self._y, epochs=1, **self._fit_params)
        except KeyboardInterrupt:
            # How skorch's EarlyStopping and TerminateOnNaN end a training. The user's Ctrl-C
            # comes by the driver's signal flag and never as this exception.
            last = True
        if last:
            self.close()

    def figures(self) -> dict[str, float]:
        """Return the numbers in the last row of the net's history, skorch's bookkeeping left out.

        Losses, scores of the net's own callbacks, and whatever else a callback has written
        there. Flags (``train_loss_best``, ``event_cp``) are no numbers.
        """
        epoch = self.estimator.history[-1] if len(self.estimator.history) else {}
        return {
            name: float(value)
            for name, value in epoch.items()
            if isinstance(value, numbers.Real)
            and not isinstance(value, bool)
            and name not in _BOOKKEEPING
            and not name.endswith("_batch_count")
        }

    def state(self) -> Any:
        """Return the net's attributes, its own validation part's rows, its place in the epoch."""
        net = {name: value for name, value in vars(self.estimator).items() if name not in _OURS}
        rows = [getattr(part, "indices", None) for part in self._parts]
        return self.finished, net, rows, [slices.state() for slices in self._slices]

    def load_state(self, state: Any, changes: Mapping[str, Any]) -> None:
        """Go on from a `state`; the changes are `changeable` ones."""
        self.finished, net, rows, places = state
        vars(self.estimator).update(net)
        if any(part is not None for part in rows):
            whole = self.estimator.get_dataset(self._X, self._y)
            self._parts[:] = [part if part is None else Subset(whole, part) for part in rows]
        self.estimator.set_params(**changes)
        for place in places:
            part, _ = self.estimator.get_split_datasets(self._X, self._y)
            self.estimator.get_iterator(part, training=True).load_state(place)

    def close(self) -> None:
        """Tell the callbacks, once, that the training is over."""
        if not self.finished:
            self.finished = True
            self.estimator.notify("on_train_end", X=self._X, y=self._y)
            # They refer to the net, which would wait for the garbage collector with all it holds.
            for method in _OURS:
                vars(self.estimator).pop(method, None)


def _split_once(net: NeuralNet) -> list[Any]:
    """Let ``net`` cut its own validation part (``train_split``) off once and not every epoch.

    Returns
    -------
    list
        The training and the validation part, once they are made.
    """
    split = net.get_split_datasets
    parts: list[Any] = []

    def get_split_datasets(X: Any, y: Any = None, **params: Any) -> Any:
        if not parts:
            parts[:] = split(X, y, **params)
        return tuple(parts)

    net.get_split_datasets = get_split_datasets
    return parts


class PartialFitStepper(BaseStepper):
    """A scikit-learn estimator with ``partial_fit``; a step is one pass over the data."""

    def __init__(
        self, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any], classes: Any = None
    ) -> None:
        super().__init__(estimator, X, y, fit_params)
        takes = inspect.signature(estimator.partial_fit).parameters
        if is_classifier(estimator) and "classes" in takes:
            self._fit_params = {"classes": classes, **fit_params}

    def step(self, *, last: bool) -> None:
        """Call ``partial_fit`` once."""
        self.estimator.partial_fit(self._X, self._y, **self._fit_params)
        self.finished = last

    def figures(self) -> dict[str, float]:
        """Return the estimator's ``loss_``, where it has one."""
        loss = getattr(self.estimator, "loss_", None)
        return {"train_loss": float(loss)} if isinstance(loss, float | np.floating) else {}


class FitStepper(BaseStepper):
    """Any other estimator; its only step is ``fit``."""

    def __init__(
        self, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any], classes: Any = None
    ) -> None:
        super().__init__(estimator, X, y, fit_params)

    def step(self, *, last: bool) -> None:
        """Fit."""
        if self._y is None:
            self.estimator.fit(self._X, **self._fit_params)
        else:
            self.estimator.fit(self._X, self._y, **self._fit_params)
        self.finished = True


def make_stepper(
    estimator: Any,
    X: Any,
    y: Any,
    fit_params: dict[str, Any],
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
    if isinstance(estimator, NeuralNet):
        return NetStepper(estimator, X, y, fit_params, eval_every=eval_every)
    if epochs is not None and hasattr(estimator, "partial_fit"):
        return PartialFitStepper(estimator, X, y, fit_params, classes)
    return FitStepper(estimator, X, y, fit_params, classes)
