"""How important each parameter was for being among the best trials, and what chance alone gives.

PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv:2304.10255): the density of a parameter's values
among the best trials is compared with that among all of them. The numbers are those of Optuna's
`PedAnovaImportanceEvaluator`; its package loads scikit-learn and pandas, which takes longer than
all the rest of ``hpo show``.

Pruned trials count: they rank below all complete ones, those that were pruned later first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.result import StudyResult
from hpo.review._axes import Axis, axes_of
from hpo.trial import TrialRecord, TrialState

__all__ = ["Importance", "importances", "ranked"]

N_GRID = 50
"""Cells of a parameter's range."""
TARGET = 0.1
"""Share of the trials that are the best ones."""
FEWEST_BEST = 5
"""The best ones are at least so many trials, as Optuna's documentation advises."""
FEWEST_TRIALS = 4 * FEWEST_BEST
"""Fewer trials than these say nothing of importance."""
N_SHUFFLES = 100
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Importance:
    """The importance of a parameter.

    Parameters
    ----------
    name : str
    value : float
        Share in the importance of all parameters, from 0 to 1.
    chance : float
        What it would reach in 95 of 100 studies in which the scores are shuffled among the
        trials; on the same scale.
    n_trials : int
        Trials that have the parameter.
    """

    name: str
    value: float
    chance: float
    n_trials: int

    @property
    def is_more_than_chance(self) -> bool:
        """Whether the importance is larger than that of shuffled scores."""
        return self.value > self.chance


def importances(result: StudyResult) -> list[Importance]:
    """Return the importance of each parameter, the greatest first.

    Parameters
    ----------
    result : StudyResult

    Returns
    -------
    list of Importance
        Empty with fewer than 20 trials that are complete or pruned.
    """
    records = ranked(result)
    axes = axes_of(result, records)
    cells = {name: _cells(axis, records) for name, axis in axes.items()}
    cells = {name: each for name, each in cells.items() if each.n_cells > 1}
    if len(records) < FEWEST_TRIALS or not cells:
        return []
    n = len(records)
    best = np.arange(n) < max(FEWEST_BEST, math.ceil(TARGET * n))
    values = {name: each.importance(best) for name, each in cells.items()}
    random = np.random.default_rng(0)  # the same study has the same report
    shuffled = [random.permutation(best) for _ in range(N_SHUFFLES)]
    total = sum(values.values()) or 1.0
    found = [
        Importance(
            name,
            value / total,
            float(np.quantile([cells[name].importance(each) for each in shuffled], LEVEL)) / total,
            int((cells[name].at >= 0).sum()),
        )
        for name, value in values.items()
    ]
    return sorted(found, key=lambda each: -each.value)


def ranked(result: StudyResult) -> list[TrialRecord]:
    """Return the complete and pruned trials, best first: complete ones, then the last pruned."""
    ended = [
        record
        for record in result.records
        if record.state in {TrialState.COMPLETE, TrialState.PRUNED} and record.furthest.best_report
    ]
    return sorted(
        ended,
        key=lambda r: (
            r.state is TrialState.PRUNED,
            0 if r.state is TrialState.COMPLETE else -r.last_position,
            -r.furthest.value,
            r.number,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The cell of each trial on a parameter's axis, -1 if it has no such parameter."""

    at: np.ndarray
    n_cells: int
    is_number: bool

    def importance(self, best: np.ndarray) -> float:
        """Return the divergence of the best trials' values from those of all."""
        has = self.at >= 0
        mine = has & best
        if not mine.any() or has.sum() < 2:
            return 0.0
        top, everything = self._density(self.at[mine]), self._density(self.at[has])
        share = (mine.sum() / best.sum()) ** 2 / (has.sum() / len(has))
        gamma = best.sum() / len(best)
        return float(gamma**2 * share * (everything @ (top / everything - 1) ** 2))

    def _density(self, at: np.ndarray) -> np.ndarray:
        counts = np.bincount(at, minlength=self.n_cells).astype(float)
        seen = np.flatnonzero(counts)
        weights = counts[seen]
        kernels = self._kernels(seen, weights) if self.is_number else self._choices(seen)
        density: np.ndarray = np.append(weights, 1.0) / (weights.sum() + 1.0) @ kernels
        return density + 1e-12

    def _choices(self, seen: np.ndarray) -> np.ndarray:
        kernels = np.full((len(seen) + 1, self.n_cells), 1.0 / (len(seen) + 1))
        kernels[np.arange(len(seen)), seen] += 1.0
        normalized: np.ndarray = kernels / kernels.sum(axis=1, keepdims=True)
        return normalized

    def _kernels(self, seen: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return normal distributions on the cells, with Scott's bandwidth, and the prior."""
        n, high = weights.sum(), self.n_cells - 1
        cumulated = np.cumsum(weights)
        mean = seen @ weights / n
        sigma = math.sqrt((seen - mean) ** 2 @ weights / max(1.0, n - 1))
        first = seen[np.searchsorted(cumulated, n // 4, side="left")]
        third = seen[min(len(seen) - 1, np.searchsorted(cumulated, n * 3 // 4, side="right"))]
        sigma = max(1.059 * min((third - first) / 1.34, sigma) * n**-0.2, 0.5 / 1.64)
        of_seen = _discrete_normals(seen.astype(float), sigma, high)
        return np.vstack([of_seen, _discrete_normals(np.array([high / 2]), high + 1.0, high)])


def _discrete_normals(centres: np.ndarray, sigma: float, high: int) -> np.ndarray:
    """Return normal distributions over 0 ... ``high``, an array of shape (n_centres, high + 1)."""
    edges = (np.arange(high + 2) - 0.5 - centres[:, None]) / sigma / math.sqrt(2)
    # Distances between cells are few: each value of the error function is computed once.
    distances, where = np.unique(edges, return_inverse=True)
    below = np.array([math.erf(each) for each in distances])[where].reshape(edges.shape)
    normals: np.ndarray = np.diff(below, axis=1) / (below[:, -1:] - below[:, :1])
    return normals


def _cells(axis: Axis, records: Sequence[TrialRecord]) -> _Cells:
    n = axis.n_values if axis.choices else min(axis.n_values, _most_cells(axis))
    n_cells = int(n)
    at = np.full(len(records), -1)
    for i, record in enumerate(records):
        params: Mapping[str, object] = record.trial.params
        place = axis.place(params[axis.name]) if axis.name in params else math.nan
        if math.isfinite(place) and n_cells > 0:
            cell = place if axis.choices else math.ceil(place * (n_cells - 1) - 0.5)
            at[i] = min(max(int(cell), 0), n_cells - 1)
    return _Cells(at, n_cells if axis.choices or axis.high > axis.low else 1, axis.is_number)


def _most_cells(axis: Axis) -> int:
    """Return the number of cells; of a logarithmic integer, one for each doubling."""
    if axis.log and axis.is_integer:
        return min(N_GRID, math.ceil(math.log2(axis.high - axis.low + 1)) + 1)
    return N_GRID
