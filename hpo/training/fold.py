"""One estimator on one fold: trained a step at a time, scored after each, in its own stream."""

import math
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from skorch import NeuralNet

from hpo.nets.casting import LabelEncodingMixin
from hpo.training._isolation import close_writers, isolate
from hpo.training.adapters import BaseStepper, last_step, make_stepper, net_prefix
from hpo.training.callbacks import copy_of
from hpo.training.checks import check_kernel
from hpo.training.files import FoldFiles
from hpo.training.indexing import as_numpy, index_fit_params, take
from hpo.training.random_stream import RandomStream
from hpo.training.scoring import Scoring

__all__ = ["Fold", "FoldData", "configure", "tell_classes"]


@dataclass(frozen=True, slots=True)
class FoldData:
    """Rows and parameters of one fold.

    Parameters
    ----------
    X, y : the whole data
    train, valid : ndarray of int
        Rows of the two parts.
    classes : ndarray or None
        All classes of y, for ``partial_fit``.
    fit_params, score_params : mapping
        As given to ``fit``; entries that are as long as X are cut to the rows.
    """

    X: Any
    y: Any
    train: np.ndarray
    valid: np.ndarray
    classes: Any = None
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    score_params: Mapping[str, Any] = field(default_factory=dict)


def configure(
    estimator: Any,
    params: Mapping[str, Any],
    device: str | None,
    *,
    files: FoldFiles | None = None,
    own_files: bool = False,
) -> Any:
    """Return an unfitted clone of ``estimator`` with ``params`` set.

    A net on skorch's default device (``"cpu"``), or on ``"cuda"`` without a number, is moved
    to the worker's ``device``; one that names its GPU stays there.

    What the callbacks write goes to ``files``, by default to a folder that goes with the clone;
    with ``own_files`` to where the user has said, which is for the refit alone.

    Raises
    ------
    StudyError
        If a callback writes in a way that cannot be moved.
    """
    configured = copy_of(estimator)
    if not own_files:
        files = files or _files_of_its_own(configured)
        isolate(configured, files)  # first: `set_params` initializes callbacks, which make folders
    # A value that is an object (an estimator, a list) is cloned, or the folds would share it.
    configured.set_params(**{name: copy_of(value) for name, value in params.items()})
    if files is not None and not all(map(_is_number, params.values())):
        isolate(configured, files)
    final = last_step(configured)
    named = f"{net_prefix(estimator)}device" in params
    if (
        device is not None
        and not named
        and isinstance(final, NeuralNet)
        and str(final.device) in {"cpu", "cuda"}
    ):
        final.set_params(device=device)
    return configured


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | np.number)


def _files_of_its_own(configured: Any) -> FoldFiles:
    files = FoldFiles()
    weakref.finalize(last_step(configured), files.remove)
    return files


def tell_classes(estimator: Any, classes: Any) -> Any:
    """Return ``estimator``, told of labels that a fold's training part may lack.

    One of hpo's own classifiers, that is, whose outputs stand for the labels in their order: in
    all folds they are to stand for the same ones.
    """
    final: Any = last_step(estimator)
    encodes = isinstance(final, LabelEncodingMixin)
    if encodes and final.classes is None and classes is not None:
        final.set_params(classes=classes)
    return estimator


class Fold:
    """A training on one fold.

    Parameters
    ----------
    estimator : estimator
        Cloned; the original is never touched.
    params : mapping
        Set on the clone.
    data : FoldData
    scoring : Scoring
    seed : int
        Of this fold's random stream.
    device : str or None
    epochs, eval_every : int or None
        See `make_stepper`.
    return_train_score : bool
    files : FoldFiles or None
        Where its callbacks write; None is a folder that goes with the fold.
    """

    def __init__(
        self,
        estimator: Any,
        params: Mapping[str, Any],
        data: FoldData,
        scoring: Scoring,
        seed: int,
        *,
        device: str | None = None,
        epochs: int | None = None,
        eval_every: int | None = None,
        return_train_score: bool = False,
        files: FoldFiles | None = None,
    ) -> None:
        self._files = files or FoldFiles()
        self._own_files = files is None
        self._scoring = scoring
        self._stream = RandomStream(seed, device)
        # Scoring draws random numbers too (a loader's seed): from a stream of its own, or the
        # training would depend on how often it is looked at.
        self._score_stream = RandomStream(seed ^ 0x5C02E, device)
        self._return_train_score = return_train_score
        self._prefix = net_prefix(estimator)
        self.scores: dict[str, float] = {}
        self.recorded: set[str] = set()
        self.fit_seconds = 0.0
        self.score_seconds = 0.0
        began = time.perf_counter()
        with self._stream.active():
            configured = configure(estimator, params, device, files=self._files)
            self._prepare(tell_classes(configured, data.classes), data, epochs, eval_every)
        self.fit_seconds += time.perf_counter() - began

    def _prepare(
        self, estimator: Any, data: FoldData, epochs: int | None, eval_every: int | None
    ) -> None:
        """Cut the rows and set the training up."""
        X, y = take(data.X, data.train), take(data.y, data.train)
        X_valid = take(data.X, data.valid)
        # scikit-learn's metrics compare with NumPy predictions
        self._y_valid = as_numpy(take(data.y, data.valid))
        self._y_train = as_numpy(y)
        check_kernel(estimator, data.X)
        if get_tags(estimator).input_tags.pairwise:  # X is a kernel: its columns are rows too
            X, X_valid = X[:, data.train], X_valid[:, data.train]
        self._score_params = index_fit_params(data.score_params, data.valid, data.X)
        self._train_score_params = index_fit_params(data.score_params, data.train, data.X)
        self.stepper: BaseStepper = make_stepper(
            estimator,
            X,
            y,
            index_fit_params(data.fit_params, data.train, data.X),
            classes=data.classes,
            epochs=epochs,
            eval_every=eval_every,
        )
        self._estimator, self._X_valid = estimator, X_valid
        self._X_train = X if self._return_train_score else None

    @property
    def estimator(self) -> Any:
        """The clone that is trained."""
        return self._estimator

    @property
    def finished(self) -> bool:
        """Whether no further step is to come."""
        return self.stepper.finished

    def step(self, *, last: bool) -> None:
        """Train one step and score; a fold that has finished keeps its last scores."""
        if self.finished:
            return
        self._train(last=last)
        try:
            self._judge()
        except Exception as error:
            if self.scores or not self.stepper.needs_its_end(error):
                raise
            self._train(last=True)
            self._judge()

    def _train(self, *, last: bool) -> None:
        began = time.perf_counter()
        with self._stream.active():
            self.stepper.step(last=last)
        self.fit_seconds += time.perf_counter() - began

    def _judge(self) -> None:
        began = time.perf_counter()
        with self._score_stream.active(), self.stepper.looked_at():
            self.scores = self._score()
        self.score_seconds += time.perf_counter() - began

    def _score(self) -> dict[str, float]:
        metrics = self.stepper.metrics()
        self.recorded = set(metrics)
        if not math.isfinite(metrics.get("train_loss", 0.0)):
            # Predictions of a diverged net may still be numbers: they mean nothing.
            return {self._scoring.metric: math.nan, **metrics}
        self._preprocess()
        scored = self._estimator
        scores = self._scoring(scored, self._X_valid, self._y_valid, **self._score_params)
        if self._return_train_score:
            train = self._scoring(scored, self._X_train, self._y_train, **self._train_score_params)
            scores |= {f"train_{name}": value for name, value in train.items()}
        self.recorded -= set(scores)
        return {**scores, **metrics, **scores}  # a score comes before a figure and overrides it

    def _preprocess(self) -> None:
        """Do once what a Pipeline does before its last step, for scorers that get by with that.

        The preprocessing has been fitted in the first step, on the training part.
        """
        while self._scoring.looks_at_predictions_only and isinstance(self._estimator, Pipeline):
            if len(self._estimator.steps) > 1:
                before = self._estimator[:-1]
                self._X_valid = before.transform(self._X_valid)
                if self._return_train_score:
                    self._X_train = before.transform(self._X_train)
            self._estimator = self._estimator.steps[-1][1]

    def state(self) -> dict[str, Any]:
        """Return what the training has come to, without the data."""
        return {
            "stepper": self.stepper.state(),
            "streams": [self._stream.state, self._score_stream.state],
            "scores": self.scores,
            "recorded": self.recorded,
            "seconds": (self.fit_seconds, self.score_seconds),
            "files": self._files.state(),
        }

    def load_state(self, state: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Go on from a `state`, with ``changes`` of the last step's parameters."""
        own = {name.removeprefix(self._prefix): value for name, value in changes.items()}
        with self._stream.active():  # what the fit does up to its first step draws from it
            self.stepper.load_state(state["stepper"], own)
        self._files.load_state(state["files"], self.stepper.estimator)
        self._stream.state, self._score_stream.state = state["streams"]
        self.scores = state["scores"]
        self.recorded = state["recorded"]
        self.fit_seconds, self.score_seconds = state["seconds"]

    def close(self) -> None:
        """End a training, if it has not ended, and close what it wrote to."""
        try:
            with self._stream.active():
                self.stepper.close()
        finally:
            close_writers(self.stepper.estimator)
            if self._own_files:
                self._files.remove()
