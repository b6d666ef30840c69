"""Rungs: the steps at which trials are compared, and how a trial stands at one."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo.pruners._peer_values import PeerValues
from hpo.trial import TrialRecord

__all__ = ["Rungs", "Standing", "at_rung", "counts", "rank_at"]

_RUNGS_FROM = 17
"""The first rung is at about one 17th of a trial's steps: for 52 steps, at step 3."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """The rungs ``r0 * eta ** k`` below T, the number of steps of a full trial.

    Parameters
    ----------
    eta : int
        2 or more.
    first : int or None
        The first rung ``r0``; None is ``max(1, round(T / 17))``.
    """

    eta: int
    first: int | None = None

    def below(self, n_steps: int) -> list[int]:
        """Return the rungs below ``n_steps``: nothing is left to save at the last step."""
        rungs, rung = [], self._first(n_steps)
        while rung < n_steps:
            rungs.append(rung)
            rung *= self.eta
        return rungs

    def name_of(self, step: int, n_steps: int | None) -> str:
        """Return what messages call the rung at ``step``; empty if there is none.

        If the number of steps of a full trial is not known, the first rung is at step 1.
        """
        if n_steps is None:
            rungs = self.below(step + 1)
            return f"rung {len(rungs)}" if step in rungs else ""
        rungs = self.below(n_steps)
        return f"rung {rungs.index(step) + 1} of {len(rungs)}" if step in rungs else ""

    def _first(self, n_steps: int | None) -> int:
        return self.first or max(1, round((n_steps or 1) / _RUNGS_FROM))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a trial stands among all that came to a rung.

    Parameters
    ----------
    value : float
        Its score up to there (`rank_at`); -inf if it has none.
    n : int
        Trials that came there, itself included.
    better : int
        Trials that are strictly better.
    median : float
        Of all n scores.
    """

    value: float
    n: int
    better: int
    median: float

    def __str__(self) -> str:
        """Return ``0.8123 is rank 7 of 12``."""
        if self.value == -math.inf:
            return f"no finite score, as {self.better} of {self.n} trials have (diverged)"
        return f"{self.value:.4g} is rank {self.better + 1} of {self.n}"


def at_rung(record: TrialRecord, peers: Sequence[TrialRecord], values: PeerValues) -> Standing:
    """Return how ``record`` stands at its last report."""
    found = values.at(record.last_step, peers)
    value = rank_at(record, record.last_step)
    position = bisect_right(found.ordered, value)
    ordered = [*found.ordered[:position], value, *found.ordered[position:]]
    with np.errstate(invalid="ignore"):  # between two infinite scores
        median = float(np.median(ordered))
    return Standing(value, found.n_peers + 1, found.n_above(value), median)


def counts(record: TrialRecord, step: int) -> bool:
    """Return whether a peer has come to ``step``; interrupted trials are run again."""
    return not record.interrupted and record.value_at(step) is not None


def rank_at(record: TrialRecord, step: int) -> float:
    """Return the score by which trials are ordered at ``step``; -inf if there is none.

    It is the one that would stand for the trial if it ended there: the best one so far or, with
    ``select="last"``, the one at that step. The best one so far loses fewer good trials where
    single epochs jump; replayed on fold tables, that is worth a quarter of the regret.
    """
    if record.select == "last":
        values = [record.value_at(step)]
    else:
        values = [report.value for report in record.reports if report.step <= step]
    return max((v for v in values if v is not None and not math.isnan(v)), default=-math.inf)
