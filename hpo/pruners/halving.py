"""The stopping rule of successive halving, applied when a trial reaches a rung."""

import math
from collections.abc import Sequence

from hpo.pruners._checks import check_int
from hpo.pruners._peer_values import PeerValues
from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord

__all__ = ["HalvingPruner"]

_CONTINUE = PruneDecision(False)
_RUNGS_FROM = 17
"""The first rung is at about one 17th of a trial's steps: for 52 steps, at step 3."""


class HalvingPruner(BasePruner):
    """Stops a trial at a rung if enough of the trials that reached it were better.

    The rungs are the steps ``r0 * eta ** k`` below T, the number of steps of a full trial, with
    ``r0 = max(1, round(T / 17))``. A trial stops if, of the ``n`` values reported at a rung (its
    own value and those of trials stopped there included), at least ``max(1, n // eta)`` are
    strictly better. So the first trial continues, the second one does if it is as good, and
    trials that arrive together are halved.

    Parameters
    ----------
    eta : int, default=2
        Reduction factor (2 or more): about one of ``eta`` trials continues from a rung, and the
        next rung is at ``eta`` times the step.
    first_rung : int or None, default=None
        Step (1 or more) of the first rung; None is ``max(1, round(T / 17))``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    The rule is that of asynchronous successive halving (Li et al. 2020, "A System for Massively
    Parallel Hyperparameter Tuning", algorithm 2) without promotions: a trial that is stopped is
    never continued.

    A value of nan is worse than any number and not better than another nan. Interrupted trials
    do not count, since they are run again. If the number of steps of a trial is not known, its
    first rung is at step 1. The last step is not a rung, since nothing is left to save there.
    """

    def __init__(self, eta: int = 2, *, first_rung: int | None = None) -> None:
        owner = "HalvingPruner"
        self.eta = check_int(owner, "eta", eta, low=2)
        self.first_rung = (
            None if first_rung is None else check_int(owner, "first_rung", first_rung, low=1)
        )
        self._peer_values = PeerValues(_counts, _rank_at)

    def is_rung(self, step: int, n_steps: int | None) -> bool:
        """Return whether ``step`` is a rung of a trial with ``n_steps`` steps in total."""
        if n_steps is not None and step >= n_steps:
            return False
        rung = self.first_rung or max(1, round((n_steps or 1) / _RUNGS_FROM))
        while rung < step:
            rung *= self.eta
        return rung == step

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Decide on the last report of ``record``; see `BasePruner.decide`."""
        step = record.last_step
        if not record.reports or not self.is_rung(step, record.max_steps):
            return _CONTINUE
        current = _rank(record.reports[-1].value)
        values = self._peer_values.at(step, peers)
        n, better = values.n_peers + 1, values.n_above(current)
        if better < max(1, n // self.eta):
            return _CONTINUE
        return PruneDecision(True, self._reason(step, current, better, n))

    def _reason(self, step: int, value: float, better: int, n: int) -> str:
        if value == -math.inf:
            return f"epoch {step}: no finite score, as {better} of {n} trials have (diverged)"
        return f"epoch {step}: {value:.4g} < the scores of {better} of {n} trials"

    def __repr__(self) -> str:
        return f"HalvingPruner(eta={self.eta!r}, first_rung={self.first_rung!r})"


def _counts(record: TrialRecord, step: int) -> bool:
    return not record.interrupted and record.value_at(step) is not None


def _rank_at(record: TrialRecord, step: int) -> float:
    value = record.value_at(step)
    assert value is not None
    return _rank(value)


def _rank(value: float) -> float:
    return -math.inf if math.isnan(value) else value
