"""One fold with one set of parameters: a batch is trained on, and a handful of rows scored."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from skorch.dataset import get_len

from hpo._stop_signal import is_ctrl_c
from hpo.training._routing import fit_params_by_step
from hpo.training.adapters import last_step
from hpo.training.callbacks import copy_of
from hpo.training.files import FoldFiles
from hpo.training.fold import configure, tell_classes
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

_HANDFUL = 32
"""Validation rows that are scored, at least; two of each class."""
_SLOW = 1.0
"""Seconds for a batch, from which on no further one is tried."""
_MAX_CLASSES = 500

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Parameters
    ----------
    error : BaseException or None
        What was raised.
    finding : str
        What is wrong though nothing was raised; empty if nothing is known to be.
    where : str
        ``preprocessing``, ``training`` or ``scoring``.
    notes : sequence of str
        What may be wrong.
    """

    error: BaseException | None = None
    finding: str = ""
    where: str = ""
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is known to be wrong."""
        return self.error is None and not self.finding


@dataclass(frozen=True)
class Part:
    """The data of a fold as the net is given them.

    Parameters
    ----------
    net : skorch net
        Configured, not fitted.
    pipeline : Pipeline or None
        That ends in it, with its preprocessing fitted.
    X, y, X_valid, y_valid
        Of the fold's two parts, preprocessed.
    raw_valid
        ``X_valid`` before it was.
    fit_params, score_params : mapping
        Of the net's ``fit`` and of the scorers, cut to the parts.
    name : str
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
        """Cut fold ``i`` and fit its preprocessing, as its trial would."""
        train, valid = objective.splits[i]
        estimator = configure(estimator, params, device, files=files)
        tell_classes(estimator, objective.classes)
        last_step(estimator).set_params(max_epochs=1)
        X, y = take(objective.X, train), take(objective.y, train)
        raw = take(objective.X, valid)
        given = index_fit_params(objective.fit_params, train, objective.X)
        step, X_valid = estimator, raw
        while isinstance(step, Pipeline):
            before, given = fit_params_by_step(step, given)
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
            raw_valid=raw,
            fit_params=given,
            score_params=index_fit_params(objective.score_params, valid, objective.X),
            name=f"fold {i}",
        )

    def changed(self, change_x: Change, change_y: Change) -> "Part":
        """Return it with other data."""
        same_raw = self.pipeline is not None
        return replace(
            self,
            X=change_x(self.X),
            y=change_y(self.y),
            X_valid=change_x(self.X_valid),
            y_valid=change_y(self.y_valid),
            raw_valid=self.raw_valid if same_raw else change_x(self.raw_valid),
        )


@dataclass
class Attempt:
    """Trains a clone of a part's net on one batch and scores it.

    Parameters
    ----------
    part : Part
    objective : Objective
    scored : bool
        Score it too.
    thorough : bool
        Train on rows that the first batch may lack, too.
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
        """Return what came of it."""
        with self.probe.watching():
            for where, step in (
                ("training", self._train),
                ("scoring", self._score),
                ("training", self._train_on_others),
            ):
                try:
                    outcome = step()
                except BaseException as error:
                    if is_ctrl_c(error):
                        raise
                    return Outcome(error=error, where=where)
                if not outcome.passed:
                    return replace(outcome, where=where)
        note = findings.found(findings.note_on, self.net, self.probe)
        return Outcome(notes=[note] if note else [])

    def explanation(self, error: BaseException | None) -> str:
        """Return why an attempt that raised ``error`` has failed, where that can be seen."""
        found = findings.of_monitor(self.net, error) if error is not None else ""
        found = found or findings.found(findings.of_classes, self.probe)
        found = found or findings.found(findings.of_frame, self.part.X, self.part.y)
        if found or not self.scored or self.probe.loss is None:
            return found
        rows = self._handful()
        X = take(self.part.X_valid, rows)
        return findings.found(findings.of_probabilities, self.net, self.objective.scoring, X)

    def _train(self) -> Outcome:
        part = self.part
        began = time.monotonic()
        self.net.fit(part.X, part.y, **part.fit_params)
        self._seconds = time.monotonic() - began
        return Outcome(finding=findings.found(findings.of_loss, self.net, self.probe))

    def _score(self) -> Outcome:
        if not self.scored:
            return Outcome()
        rows = self._handful()
        try:
            scores = self._scores(rows)
        except Exception:
            if len(rows) == n_samples(self.part.X_valid):
                raise
            scores = self._scores(np.arange(n_samples(self.part.X_valid)))  # all, then
        X = take(self.part.X_valid, rows)
        labels = take(self.part.y_valid, rows)
        asked = findings.found(findings.of_probabilities, self.net, self.objective.scoring, X)
        alone = findings.found(findings.of_scores, scores, self.net, labels, self.part.name)
        return Outcome(finding=asked or alone)

    def _scores(self, rows: np.ndarray) -> dict[str, float]:
        part, scoring = self.part, self.objective.scoring
        scored, X = self.net, part.X_valid
        if not scoring.looks_at_predictions_only:
            X = part.raw_valid
            scored = _ending_in(self.net, part.pipeline)
        params = index_fit_params(part.score_params, rows, X)
        return scoring(scored, take(X, rows), take(part.y_valid, rows), **params)

    def _handful(self) -> np.ndarray:
        """Return some validation rows, of each class two."""
        n = n_samples(self.part.X_valid)
        rows = np.linspace(0, n - 1, min(n, _HANDFUL)).astype(int)
        labels = self.part.y_valid
        if is_classifier(self.net) and isinstance(labels, np.ndarray) and labels.ndim == 1:
            _, classes = np.unique(labels, return_inverse=True)
            if classes.max() < _MAX_CLASSES:
                rows = np.concatenate([rows, first_of(classes, 2)])
        return np.unique(rows)

    def _train_on_others(self) -> Outcome:
        """Train on rows that the first batch may not have had, if it can be trained on again."""
        probe, part = self.probe, self.part
        if probe.batch is None or probe.output is None or part.fit_params:
            return Outcome()  # a training of its own kind
        thorough = self.thorough and self._seconds < _SLOW
        size = last_batch_size(probe.loader)
        specials = self._specials() if thorough else []
        if specials or size == 1 or (size and thorough):
            if not self._can_learn_again():
                return Outcome()
            found = findings.found(findings.of_last_batch, self.net, probe, size, part.name)
            found = found or self._special(specials)
            if found:
                return Outcome(finding=found)
        nan = thorough and (findings.found(self._nan, "y") or findings.found(self._nan, "X"))
        return Outcome(finding=nan or "")

    def _can_learn_again(self) -> bool:
        try:
            self._step(self.probe.batch)
        except Exception:
            return False
        return True

    def _specials(self) -> list[Special]:
        """Return rows with extreme numbers that the first batch had not."""
        on_cpu = not str(self.net.device).startswith("cuda")  # a GPU never gets over a wrong index
        seen = self.probe.batch if isinstance(self.probe.batch, list | tuple) else (None, None)
        return special_rows(self.part.X, self.part.y, seen, integers=on_cpu)

    def _special(self, specials: Sequence[Special]) -> str:
        """Return what is wrong with rows that are special."""
        everything = np.arange(n_samples(self.part.X))
        for special in specials:
            if not any(self._can_learn(rows) for rows in special.ordinary):
                continue
            try:
                self._step_on(special.rows, everything)
            except Exception as error:
                error.add_note(f"on rows with {special.what}")
                raise
            found = findings.found(findings.of_rows, self.probe)
            if found:
                return found
        return ""

    def _can_learn(self, rows: np.ndarray) -> bool:
        try:
            self._step_on(rows[:1], rows)
        except Exception:
            return False
        return True

    def _nan(self, of: str) -> str:
        """Return whether NaN in X or y spoils the loss, on a net that has seen none."""
        data = getattr(self.part, of)
        bad = rows_with_nan(data) if data is not None else np.array([False])
        if not bad.any() or bad.all():
            return ""
        self.net.initialize()
        clean = np.flatnonzero(~bad)
        losses = [self._step_on(rows, clean) for rows in (clean[:1], np.flatnonzero(bad)[:1])]
        return findings.of_nan(of, losses, bad, self.part)

    def _step_on(self, rows: np.ndarray, among: np.ndarray) -> float:
        """Train on rows, filled up to the size of a batch by others; return the loss."""
        rows = filled(rows, among, get_len(self.probe.batch))
        dataset = self.net.get_dataset(take(self.part.X, rows), take(self.part.y, rows))
        return self._step(next(iter(self.net.get_iterator(dataset, training=False))))

    def _step(self, batch: Any) -> float:
        return float(self.net.train_step(batch)["loss"].detach())


def _ending_in(net: Any, pipeline: Any) -> Any:
    """Return a fitted Pipeline with another net at its end."""
    if not isinstance(pipeline, Pipeline):
        return net
    name, last = pipeline.steps[-1]
    return Pipeline([*pipeline.steps[:-1], (name, _ending_in(net, last))])
