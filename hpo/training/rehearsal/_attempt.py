"""Try one fold with one set of parameters: train on one batch and score a few rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from skorch.dataset import get_len

from hpo._stop_signal import is_signal
from hpo.training._routing import fit_params_by_step
from hpo.training.adapters import last_step
from hpo.training.callbacks import copy_of
from hpo.training.files import FoldFiles
from hpo.training.fold import configure, set_classes
from hpo.training.indexing import as_numpy, index_fit_params, n_samples, take
from hpo.training.objective import Objective
from hpo.training.rehearsal import _findings as findings
from hpo.training.rehearsal._probe import Probe
from hpo.training.rehearsal._rows import (
    Special,
    filled,
    first_of,
    last_batch_size,
    rows_with_nan,
    special_rows,
)

__all__ = ["Attempt", "Outcome", "Part"]

_MIN_ROWS = 32
"""Number of validation rows to score, besides two of each class."""
_SLOW_BATCH = 1.0
"""Seconds for a batch; if it takes longer, no further batches are tried."""
_MAX_CLASSES = 500

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Outcome:
    """The result of an attempt.

    Parameters
    ----------
    error : BaseException or None
        The exception, if one was raised.
    finding : str
        What is wrong although nothing was raised; empty if no problem is known.
    where : str
        Where it failed: ``preprocessing``, ``training`` or ``scoring``.
    notes : sequence of str
        Possible problems.
    """

    error: BaseException | None = None
    finding: str = ""
    where: str = ""
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether no problem is known."""
        return self.error is None and not self.finding


@dataclass(frozen=True)
class Part:
    """The data of a fold as passed to the net.

    Parameters
    ----------
    net : skorch net
        The net, configured but not fitted.
    pipeline : Pipeline or None
        The Pipeline that ends in the net, with its preprocessing fitted.
    X, y, X_valid, y_valid
        Preprocessed data of the fold's training and validation part.
    raw_valid
        ``X_valid`` before the preprocessing.
    fit_params, score_params : mapping
        Parameters of the net's ``fit`` and of the scorers, cut to the parts.
    name : str
        Name of the fold in messages.
    """

    net: Any
    pipeline: Pipeline | None
    X: Any
    y: Any
    X_valid: Any
    y_valid: Any
    raw_valid: Any
    fit_params: Mapping[str, Any]
    score_params: Mapping[str, Any]
    name: str

    @classmethod
    def of(
        cls,
        objective: Objective,
        estimator: Any,
        params: Mapping[str, Any],
        i: int,
        *,
        device: str | None,
        files: FoldFiles,
    ) -> "Part":
        """Select the rows of fold ``i`` and fit its preprocessing, as a trial would."""
        train, valid = objective.splits[i]
        estimator = configure(estimator, params, device, files=files)
        set_classes(estimator, objective.classes)
        last_step(estimator).set_params(max_epochs=1)
        X, y = take(objective.X, train), take(objective.y, train)
        X_valid_raw = take(objective.X, valid)
        fit_params = index_fit_params(objective.fit_params, train, objective.X)
        step, X_valid = estimator, X_valid_raw
        while isinstance(step, Pipeline):
            before, fit_params = fit_params_by_step(step, fit_params)
            if len(step.steps) > 1:
                X = step[:-1].fit_transform(X, y, **before)
                X_valid = step[:-1].transform(X_valid)
            step = step.steps[-1][1]
        return cls(
            net=step,
            pipeline=estimator if isinstance(estimator, Pipeline) else None,
            X=X,
            y=y,
            X_valid=X_valid,
            y_valid=as_numpy(take(objective.y, valid)),
            raw_valid=X_valid_raw,
            fit_params=fit_params,
            score_params=index_fit_params(objective.score_params, valid, objective.X),
            name=f"fold {i}",
        )

    def with_changes(self, change_x: Change, change_y: Change) -> "Part":
        """Return a copy with changed data."""
        keep_raw = self.pipeline is not None
        return replace(
            self,
            X=change_x(self.X),
            y=change_y(self.y),
            X_valid=change_x(self.X_valid),
            y_valid=change_y(self.y_valid),
            raw_valid=self.raw_valid if keep_raw else change_x(self.raw_valid),
        )


@dataclass
class Attempt:
    """Trains a clone of a part's net on one batch, and scores it.

    Parameters
    ----------
    part : Part
    objective : Objective
    scored : bool
        Whether to score it too.
    thorough : bool
        Whether to train also on special rows that may be missing from the first batch.
    """

    part: Part
    objective: Objective
    scored: bool = True
    thorough: bool = True
    probe: Probe = field(init=False)

    def __post_init__(self) -> None:
        self.net = copy_of(self.part.net)
        self.probe = Probe(self.net)

    def run(self) -> Outcome:
        """Run the attempt and return its outcome."""
        with self.probe.watching():
            for where, step in (
                ("training", self._train),
                ("scoring", self._score),
                ("training", self._train_on_other_rows),
            ):
                try:
                    outcome = step()
                except BaseException as error:
                    if is_signal(error):
                        raise
                    return Outcome(error=error, where=where)
                if not outcome.passed:
                    return replace(outcome, where=where)
        note = findings.check(findings.note_on, self.net, self.probe)
        return Outcome(notes=[note] if note else [])

    def explanation(self, error: BaseException | None) -> str:
        """Return why an attempt that raised ``error`` has failed; empty if unknown."""
        reason = findings.of_monitor(self.net, error) if error is not None else ""
        reason = reason or findings.check(findings.of_classes, self.probe)
        reason = reason or findings.check(findings.of_frame, self.part.X, self.part.y)
        if reason or not self.scored or self.probe.loss is None:
            return reason
        rows = self._some_rows()
        X = take(self.part.X_valid, rows)
        return findings.check(findings.of_probabilities, self.net, self.objective.scoring, X)

    def _train(self) -> Outcome:
        part = self.part
        began = time.monotonic()
        self.net.fit(part.X, part.y, **part.fit_params)
        self._seconds = time.monotonic() - began
        return Outcome(finding=findings.check(findings.of_loss, self.net, self.probe))

    def _score(self) -> Outcome:
        if not self.scored:
            return Outcome()
        rows = self._some_rows()
        try:
            scores = self._scores(rows)
        except Exception:
            if len(rows) == n_samples(self.part.X_valid):
                raise
            scores = self._scores(np.arange(n_samples(self.part.X_valid)))  # now with all rows
        X = take(self.part.X_valid, rows)
        labels = take(self.part.y_valid, rows)
        not_probabilities = findings.check(
            findings.of_probabilities, self.net, self.objective.scoring, X
        )
        bad_scores = findings.check(findings.of_scores, scores, self.net, labels, self.part.name)
        return Outcome(finding=not_probabilities or bad_scores)

    def _scores(self, rows: np.ndarray) -> dict[str, float]:
        part, scoring = self.part, self.objective.scoring
        scored, X = self.net, part.X_valid
        if not scoring.looks_at_predictions_only:
            X = part.raw_valid
            scored = _replace_last_step(self.net, part.pipeline)
        params = index_fit_params(part.score_params, rows, X)
        return scoring(scored, take(X, rows), take(part.y_valid, rows), **params)

    def _some_rows(self) -> np.ndarray:
        """Return some validation rows, including two of each class."""
        n = n_samples(self.part.X_valid)
        rows = np.linspace(0, n - 1, min(n, _MIN_ROWS)).astype(int)
        labels = self.part.y_valid
        if is_classifier(self.net) and isinstance(labels, np.ndarray) and labels.ndim == 1:
            _, classes = np.unique(labels, return_inverse=True)
            if classes.max() < _MAX_CLASSES:
                rows = np.concatenate([rows, first_of(classes, 2)])
        return np.unique(rows)

    def _train_on_other_rows(self) -> Outcome:
        """Train on rows that may be missing from the first batch, if the net can train again."""
        probe, part = self.probe, self.part
        if probe.batch is None or probe.output is None or part.fit_params:
            return Outcome()  # the net has its own kind of training
        thorough = self.thorough and self._seconds < _SLOW_BATCH
        size = last_batch_size(probe.loader)
        specials = self._find_specials() if thorough else []
        if specials or size == 1 or (size and thorough):
            if not self._can_train_again():
                return Outcome()
            problem = findings.check(findings.of_last_batch, self.net, probe, size, part.name)
            problem = problem or self._check_specials(specials)
            if problem:
                return Outcome(finding=problem)
        nan = thorough and (
            findings.check(self._check_nan, "y") or findings.check(self._check_nan, "X")
        )
        return Outcome(finding=nan or "")

    def _can_train_again(self) -> bool:
        try:
            self._train_on_batch(self.probe.batch)
        except Exception:
            return False
        return True

    def _find_specials(self) -> list[Special]:
        """Return rows with extreme numbers that are not in the first batch."""
        # A GPU does not recover from a wrong index.
        on_cpu = not str(self.net.device).startswith("cuda")
        seen = self.probe.batch if isinstance(self.probe.batch, list | tuple) else (None, None)
        return special_rows(self.part.X, self.part.y, seen, integers=on_cpu)

    def _check_specials(self, specials: Sequence[Special]) -> str:
        """Train on special rows and return what is wrong with them."""
        everything = np.arange(n_samples(self.part.X))
        for special in specials:
            if not any(self._can_train_on(rows) for rows in special.ordinary):
                continue
            try:
                self._train_on_rows(special.rows, everything)
            except Exception as error:
                error.add_note(f"on rows with {special.what}")
                raise
            problem = findings.check(findings.of_rows, self.probe)
            if problem:
                return problem
        return ""

    def _can_train_on(self, rows: np.ndarray) -> bool:
        try:
            self._train_on_rows(rows[:1], rows)
        except Exception:
            return False
        return True

    def _check_nan(self, which: str) -> str:
        """Return a message if NaN in X or y makes the loss NaN, for a freshly initialized net."""
        data = getattr(self.part, which)
        has_nan = rows_with_nan(data) if data is not None else np.array([False])
        if not has_nan.any() or has_nan.all():
            return ""
        self.net.initialize()
        clean = np.flatnonzero(~has_nan)
        losses = [
            self._train_on_rows(rows, clean) for rows in (clean[:1], np.flatnonzero(has_nan)[:1])
        ]
        return findings.of_nan(which, losses, has_nan, self.part)

    def _train_on_rows(self, rows: np.ndarray, candidates: np.ndarray) -> float:
        """Train on rows, filled up with other rows to the size of a batch; return the loss."""
        rows = filled(rows, candidates, get_len(self.probe.batch))
        dataset = self.net.get_dataset(take(self.part.X, rows), take(self.part.y, rows))
        return self._train_on_batch(next(iter(self.net.get_iterator(dataset, training=False))))

    def _train_on_batch(self, batch: Any) -> float:
        return float(self.net.train_step(batch)["loss"].detach())


def _replace_last_step(net: Any, pipeline: Any) -> Any:
    """Return a fitted Pipeline with another net as its last step."""
    if not isinstance(pipeline, Pipeline):
        return net
    name, last = pipeline.steps[-1]
    return Pipeline([*pipeline.steps[:-1], (name, _replace_last_step(net, last))])
