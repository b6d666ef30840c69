"""Train and score one estimator on one fold, step by step, with its own random stream."""

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

from hpo.training._isolation import close_writers, isolate
from hpo.training.adapters import BaseStepper, last_step, make_stepper, net_prefix
from hpo.training.callbacks import copy_of
from hpo.training.checks import check_kernel
from hpo.training.files import FoldFiles
from hpo.training.indexing import as_numpy, index_fit_params, n_samples, take
from hpo.training.random_stream import RandomStream
from hpo.training.row_formulas import RowFormula
from hpo.training.row_scores import FoldRows, predictions_of, rows_of, watched
from hpo.training.scoring import Scoring

__all__ = ["Fold", "FoldData", "configure", "set_classes"]


_ROWS_SEED = 0x0F01D


@dataclass(frozen=True, slots=True)
class FoldData:
    """Rows and parameters of one fold.

    Parameters
    ----------
    X, y : array, frame, tensor, or dict of them
        The whole data.
    train, valid : ndarray of int
        Row numbers of the training and the validation part.
    classes : ndarray or None
        All classes of y, for ``partial_fit``.
    fit_params, score_params : mapping
        As passed to ``fit``; entries that are as long as X are cut to the rows.
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
    to the worker's ``device``. A net that names its GPU stays there.

    Callbacks write to ``files``, by default a temporary folder that is removed with the clone.
    With ``own_files`` they write to the user's own paths, which is only meant for the refit.

    Raises
    ------
    StudyError
        If a callback writes in a way that cannot be moved.
    """
    configured = copy_of(estimator)
    if not own_files:
        files = files or _temporary_files(configured)
        # Before `set_params`, as that initializes callbacks, which make folders.
        isolate(configured, files)
    # Values that are objects (an estimator, a list) are cloned, so that folds do not share them.
    own = {n: v if _is_number(v) or isinstance(v, str) else copy_of(v) for n, v in params.items()}
    configured.set_params(**own)
    if files is not None and not all(map(_is_number, params.values())):
        isolate(configured, files)
    final = last_step(configured)
    names_device = f"{net_prefix(estimator)}device" in params
    if (
        device is not None
        and not names_device
        and isinstance(final, NeuralNet)
        and str(final.device) in {"cpu", "cuda"}
    ):
        final.set_params(device=device)
    return configured


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | np.number)


def _temporary_files(configured: Any) -> FoldFiles:
    files = FoldFiles()
    weakref.finalize(last_step(configured), files.remove)
    return files


def set_classes(estimator: Any, classes: Any) -> Any:
    """Set all classes on a classifier of hpo, and return ``estimator``.

    The outputs of these classifiers stand for the sorted labels. They must stand for the same
    labels in all folds, even if the training part of a fold lacks some of them.
    """
    final: Any = last_step(estimator)
    encodes_labels = getattr(type(final), "encodes_labels", False)  # hpo.nets.LabelEncodingMixin
    if encodes_labels and final.classes is None and classes is not None:
        final.set_params(classes=classes)
    return estimator


class Fold:
    """The training of one fold.

    Parameters
    ----------
    estimator : estimator
        It is cloned; the original is never changed.
    params : mapping
        Parameters to set on the clone.
    data : FoldData
    scoring : Scoring
    seed : int
        Seed of this fold's random stream.
    device : str or None
    epochs, eval_every : int or None
        See `make_stepper`.
    return_train_score : bool
    files : FoldFiles or None
        Where its callbacks write. If None, it is a temporary folder that is removed with the fold.
    row_formula : callable or None
        See `hpo.training.row_scores.row_formula`.
    keeps_rows : bool, default=False
        Whether to keep what was predicted for each row in `rows`.
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
        row_formula: RowFormula | None = None,
        keeps_rows: bool = False,
    ) -> None:
        self.rows = FoldRows()
        self._row_formula = row_formula
        self._keeps_rows = keeps_rows
        self._device = device
        self._files = files or FoldFiles()
        self._own_files = files is None
        self._scoring = scoring
        self._stream = RandomStream(seed, device)
        # Scoring draws random numbers too (a loader's seed). It has a separate stream, so that the
        # training does not depend on how often it is scored.
        self._score_stream = RandomStream(seed ^ 0x5C02E, device)
        self._return_train_score = return_train_score
        self._prefix = net_prefix(estimator)
        self.scores: dict[str, float] = {}
        self.recorded: set[str] = set()
        self.fit_seconds = 0.0
        self.score_seconds = 0.0
        start = time.perf_counter()
        with self._stream.active():
            configured = configure(estimator, params, device, files=self._files)
            self._prepare(set_classes(configured, data.classes), data, epochs, eval_every)
        self.fit_seconds += time.perf_counter() - start

    def _prepare(
        self, estimator: Any, data: FoldData, epochs: int | None, eval_every: int | None
    ) -> None:
        """Select the rows and set up the training."""
        X, y = take(data.X, data.train), take(data.y, data.train)
        X_valid = take(data.X, data.valid)
        # scikit-learn's metrics compare with NumPy predictions
        self._y_valid = as_numpy(take(data.y, data.valid))
        self._y_train = as_numpy(y)
        self._classes = data.classes if isinstance(data.classes, np.ndarray) else None
        check_kernel(estimator, data.X)
        if get_tags(estimator).input_tags.pairwise:  # X is a kernel: its columns are samples too
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
        """Whether there are no further steps."""
        return self.stepper.finished

    def step(self, *, last: bool) -> None:
        """Train one step and score; a fold that has finished keeps its last scores."""
        if self.finished:
            return
        self._train(last=last)
        try:
            self._score_step()
        except Exception as error:
            if self.scores or not self.stepper.needs_whole_fit(error):
                raise
            self._train(last=True)
            self._score_step()

    def _train(self, *, last: bool) -> None:
        start = time.perf_counter()
        with self._stream.active():
            self.stepper.step(last=last)
        self.fit_seconds += time.perf_counter() - start

    def _score_step(self) -> None:
        start = time.perf_counter()
        with self._score_stream.active(), self.stepper.scoring():
            self.scores = self._score()
        self.score_seconds += time.perf_counter() - start

    def _score(self) -> dict[str, float]:
        metrics = self.stepper.metrics()
        self.recorded = set(metrics)
        if not math.isfinite(metrics.get("train_loss", 0.0)):
            # Predictions of a diverged net may still be numbers, but are meaningless.
            self.rows = FoldRows()
            return {self._scoring.metric: math.nan, **metrics}
        self._preprocess()
        scored = self._estimator
        scores = self._score_valid(scored)
        if self._return_train_score:
            train = self._scoring(scored, self._X_train, self._y_train, **self._train_score_params)
            scores |= {f"train_{name}": value for name, value in train.items()}
        self.recorded -= set(scores)
        return {**scores, **metrics, **scores}  # scores come first and override recorded metrics

    def _score_valid(self, scored: Any) -> dict[str, float]:
        """Score the validation part, and keep its rows."""
        score, X, y = self._scoring, self._X_valid, self._y_valid
        if not self._keeps_rows:
            return score(scored, X, y, **self._score_params)
        n_rows = n_samples(X if y is None else y)
        final = last_step(scored)
        if score.looks_at_predictions_only:
            with watched(final, n_rows) as predicted:
                scores = score(scored, X, y, **self._score_params)
        else:
            scores = score(scored, X, y, **self._score_params)
            with RandomStream(_ROWS_SEED, self._device).active():  # scores do not depend on it
                every = self._row_formula is not None
                predicted = predictions_of(scored, X, n_rows, every=every)
        main = scores[score.main(scores)]
        self.rows = rows_of(
            final, predicted, y, score=main, formula=self._row_formula, classes=self._classes
        )
        return scores

    def _preprocess(self) -> None:
        """Transform the data once, if the scorers do not need the Pipeline's preprocessing.

        The preprocessing has been fitted on the training part, in the first step.
        """
        while self._scoring.looks_at_predictions_only and isinstance(self._estimator, Pipeline):
            if len(self._estimator.steps) > 1:
                before = self._estimator[:-1]
                self._X_valid = before.transform(self._X_valid)
                if self._return_train_score:
                    self._X_train = before.transform(self._X_train)
            self._estimator = self._estimator.steps[-1][1]

    def state(self) -> dict[str, Any]:
        """Return the state of the training, without the data."""
        return {
            "stepper": self.stepper.state(),
            "streams": [self._stream.state, self._score_stream.state],
            "scores": self.scores,
            "recorded": self.recorded,
            "seconds": (self.fit_seconds, self.score_seconds),
            "files": self._files.state(),
        }

    def load_state(self, state: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Continue from a `state`, with ``changes`` of the last step's parameters."""
        final_changes = {n.removeprefix(self._prefix): value for n, value in changes.items()}
        with self._stream.active():  # the fit draws from it before its first step
            self.stepper.load_state(state["stepper"], final_changes)
        self._files.load_state(state["files"], self.stepper.estimator)
        self._stream.state, self._score_stream.state = state["streams"]
        self.scores = state["scores"]
        self.recorded = state["recorded"]
        self.fit_seconds, self.score_seconds = state["seconds"]

    def close(self) -> None:
        """End the training, if it has not ended, and close its files."""
        try:
            with self._stream.active():
                self.stepper.close()
        finally:
            close_writers(self.stepper.estimator)
            if self._own_files:
                self._files.remove()
