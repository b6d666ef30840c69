"""Differences of groups of trials to the best group, tested on rows, or on folds without rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.out_of_fold_files import OutOfFoldFiles
from hpo.result import StudyResult
from hpo.statistics.confidence_set import MOST_CANDIDATES, confidence_set
from hpo.statistics.paired import adjusted_by_holm, paired_difference
from hpo.statistics.selection_bias import FEWEST_ROWS, Bags
from hpo.trial import TrialRecord, TrialState

__all__ = ["LEVEL", "Difference", "differences_to"]

LEVEL = 0.05
"""Maximal probability that any difference is reported although there is none."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of a group's score to that of the best group.

    Parameters
    ----------
    value, se : float
        Its standard error is nan with one fold and without rows.
    p : float
        Two-sided, corrected for the number of groups.
    n_times : float
        How many times as many repeats it would take to tell a difference of this size apart.
    """

    value: float
    se: float
    p: float
    n_times: float = math.nan

    @property
    def is_told_apart(self) -> bool:
        """Whether it is larger than chance makes it, at `LEVEL`."""
        return self.p < LEVEL


def differences_to(
    best: int, groups: Sequence[Sequence[TrialRecord]], result: StudyResult
) -> tuple[list[Difference], str]:
    """Return the difference of each group to the best one, and how they were tested.

    On rows, if all trials have kept them: the choice among a group's trials and their epochs is
    repeated in bootstrap samples, as for `StudyResult.corrected`, with the same samples for all
    groups. What other training sets would change, beyond what the rows explain, is added from the
    folds. A group is worse if it is not in the model confidence set (`confidence_set`).

    Without rows, and with more than `MOST_CANDIDATES` groups: a test for each pair with the best
    one. As that is the best one by the same data, each pair of groups counts for Holm's correction.

    Parameters
    ----------
    best : int
        Number of the best group.
    groups : sequence of sequence of TrialRecord
        Those that have a complete trial.
    result : StudyResult

    Returns
    -------
    differences : list of Difference
        In the order of the groups; that of the best one is 0.
    method : str
    """
    tops = [_top(group) for group in groups]
    rows = _rows(groups, result)
    n_pairs = len(groups) * (len(groups) - 1) // 2
    holm = f", Holm's correction for {n_pairs} pairs" if n_pairs > 1 else ""
    if rows is None:
        tested = [
            paired_difference(_folds(top), _folds(tops[best]), result.fold_sizes) for top in tops
        ]
        method = (
            "judged by the corrected resampled t-test (Nadeau and Bengio 2003: folds share "
            "training data)"
        )
        return _by_holm(tested, best), method + holm
    method = (
        "corrected for the choice within each group, and judged over the validated rows by a "
        "paired bootstrap, with what training sets add (Nadeau and Bengio 2003)"
    )
    values, errors = rows.compared(tops)
    if len(groups) > MOST_CANDIDATES or values.shape[1] < 2:
        return _by_holm(_pairs(values, errors, best), best), method + holm
    return _by_elimination(values, errors, best), (
        f"{method}; worse is what is not in the model confidence set of the groups (Hansen, Lunde "
        "and Nason 2011)"
    )


def _by_elimination(values: np.ndarray, errors: np.ndarray, best: int) -> list[Difference]:
    """Return the differences by the model confidence set of the groups."""
    means = values.mean(axis=1)
    found = confidence_set(means, values, errors, level=LEVEL)
    differences = []
    for i, (gap, se) in enumerate(zip(means - means[best], errors[best], strict=True)):
        if i == best:
            differences.append(Difference(0.0, math.nan, 1.0))
            continue
        # One that is above the displayed best is better if that one has been taken out.
        p = float(found.p[i if gap < 0 else best]) if gap else 1.0
        n_times = (found.critical * se / gap) ** 2 if p >= LEVEL and gap and se > 0 else math.nan
        differences.append(Difference(float(gap), float(se), p, float(n_times)))
    return differences


def _pairs(values: np.ndarray, errors: np.ndarray, best: int) -> list[tuple[float, float, float]]:
    """Return the difference of each group to the best one, its error, and a p-value."""
    from scipy.special import ndtr  # the distribution function of the normal distribution

    found = []
    for i, se in enumerate(errors[best]):
        gap = float((values[i] - values[best]).mean()) if values.shape[1] else math.nan
        p = float(2 * ndtr(-abs(gap) / se)) if se else float(gap == 0)
        found.append((gap, float(se), p if i != best else math.nan))
    return found


def _by_holm(tested: Sequence[tuple[float, float, float]], best: int) -> list[Difference]:
    n_pairs = len(tested) * (len(tested) - 1) // 2
    known = [i for i, (*_, p) in enumerate(tested) if i != best and math.isfinite(p)]
    adjusted = dict(
        zip(known, adjusted_by_holm([tested[i][2] for i in known], n=n_pairs), strict=True)
    )
    found = []
    for i, (value, se, p) in enumerate(tested):
        if i == best:
            found.append(Difference(0.0, math.nan, 1.0))
            continue
        corrected = adjusted.get(i, p)
        n_times = math.nan
        if corrected >= LEVEL and value and se > 0:
            from scipy.special import ndtri

            n_times = (ndtri(1 - LEVEL / 2 / n_pairs) * se / value) ** 2
        found.append(Difference(value, se, corrected, n_times))
    return found


def _top(group: Sequence[TrialRecord]) -> TrialRecord:
    complete = [r for r in group if r.state is TrialState.COMPLETE and r.best_report]
    return max(complete, key=lambda record: (record.value, -record.number))


def _folds(record: TrialRecord) -> Sequence[float]:
    return record.best_report.fold_values if record.best_report else ()


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The scores of all candidates of each group on the validated rows."""

    folds: np.ndarray
    bags: Bags
    candidates: Sequence[np.ndarray]
    of_trial: Mapping[int, np.ndarray]
    fold_sizes: Sequence[tuple[int, int]]

    def compared(self, tops: Sequence[TrialRecord]) -> tuple[np.ndarray, np.ndarray]:
        """Return what is chosen in each group scores out of the bags, and errors of differences.

        Returns
        -------
        values : ndarray of shape (n_groups, n_bags)
            Bags that leave out no row of a fold are left out.
        errors : ndarray of shape (n_groups, n_groups)
            Standard error of the difference of each pair.
        """
        values = np.array([self.bags.chosen(scores) for scores in self.candidates])
        values = values[:, np.isfinite(values).all(axis=0)].astype(float)
        errors = np.zeros((len(values), len(values)))
        for i in range(len(values)):
            for j in range(i):
                of_rows = self.bags.shrink * float((values[i] - values[j]).std(ddof=1))
                errors[i, j] = math.hypot(of_rows, self._training_se(tops[i], tops[j]))
                errors[j, i] = errors[i, j]
        return values, errors

    def _training_se(self, record: TrialRecord, other: TrialRecord) -> float:
        """Return the error of a difference by training sets: what its rows do not explain."""
        gaps = self.of_trial[record.number].astype(float) - self.of_trial[other.number]
        parts = [gaps[self.folds == fold] for fold in np.unique(self.folds)]
        if len(parts) < 2 or min(map(len, parts)) < 2:
            return 0.0
        by_rows = np.mean([part.var(ddof=1) / len(part) for part in parts])
        excess = max(0.0, float(np.var([part.mean() for part in parts], ddof=1) - by_rows))
        train, valid = np.sum(self.fold_sizes, axis=0) if self.fold_sizes else (len(parts) - 1, 1)
        return math.sqrt(excess * (1 / len(parts) + valid / train))


def _rows(groups: Sequence[Sequence[TrialRecord]], result: StudyResult) -> _Rows | None:
    """Return the rows of all trials; None if those of one are not known, or there are few."""
    files: OutOfFoldFiles | None = result.out_of_fold
    if files is None or not files.exists:
        return None
    study = files.rows
    bags = Bags(study.folds, study.units, labels=study.labels)
    if bags.n_units < FEWEST_ROWS:
        return None
    candidates, of_trial = [], {}
    for group in groups:
        parts = []
        for record in group:
            if record.state not in {TrialState.COMPLETE, TrialState.PRUNED}:
                continue
            if record.best_report is None:
                continue
            rows = files.row_scores(record.number)
            if rows is None or len(rows.steps) != record.last_step:
                return None
            parts.append(rows.scores[-1:] if result.select == "last" else rows.scores)
            of_trial[record.number] = rows.scores[record.best_report.step - 1]
        candidates.append(np.concatenate(parts))
    return _Rows(study.folds, bags, candidates, of_trial, result.fold_sizes)
