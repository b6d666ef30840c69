"""The stopping rule of successive halving, judged when a trial reaches a rung."""

import math
from collections.abc import Sequence

from hpo.pruners._checks import check_int
from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord

__all__ = ["HalvingPruner"]

_GO_ON = PruneDecision(False)
_RUNGS_FROM = 17
"""The first rung is at this part of a trial's steps, or near it: at 3 of 52."""


class HalvingPruner(BasePruner):
    """Stops a trial at a rung where enough of the trials that came there were better.

    The rungs are the steps ``r0 * eta ** k`` below T, the steps that the trial would make,
    with ``r0 = max(1, round(T / 17))``. Of the ``n`` values reported at a rung (the trial's
    own and those of trials that were stopped there included) at least ``max(1, n // eta)``
    must be strictly better for the trial to stop: the first trial goes on, the second one if
    it is as good, and trials that arrive together are halved.

    Parameters
    ----------
    eta : int, default=2
        Of how many trials about one goes on from a rung (2 or more), and how many times
        further the next rung is.
    first_rung : int or None, default=None
        Step (1 or more) of the first rung; None is ``max(1, round(T / 17))``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    The rule is that of asynchronous successive halving (Li et al. 2020, "A System for Massively
    Parallel Hyperparameter Tuning", algorithm 2) without its promotions: a trial that is
    stopped does not come back.

    A value of nan is worse than any number and not better than another nan. Interrupted trials
    do not count: they are tried again. A trial that does not say how many steps it would make
    has its first rung at step 1. The last step is none: nothing is left to save there.
    """

    def __init__(self, eta: int = 2, *, first_rung: int | None = None) -> None:
        owner = "HalvingPruner"
        self.eta = check_int(owner, "eta", eta, low=2)
        self.first_rung = (
            None if first_rung is None else check_int(owner, "first_rung", first_rung, low=1)
        )

    def is_rung(self, step: int, n_steps: int | None) -> bool:
        """Return whether a trial that would make ``n_steps`` steps is judged after ``step``."""
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
            return _GO_ON
        own = _rank(record.reports[-1].value)
        others = [
            _rank(value)
            for peer in peers
            if (value := peer.value_at(step)) is not None and not peer.interrupted
        ]
        n = len(others) + 1
        better = sum(value > own for value in others)
        if better < max(1, n // self.eta):
            return _GO_ON
        return PruneDecision(True, self._reason(step, own, better, n))

    def _reason(self, step: int, own: float, better: int, n: int) -> str:
        if own == -math.inf:
            return f"epoch {step}: no finite score, as {better} of {n} trials have (diverged)"
        return f"epoch {step}: {own:.4g} < the scores of {better} of {n} trials"

    def __repr__(self) -> str:
        return f"HalvingPruner(eta={self.eta!r}, first_rung={self.first_rung!r})"


def _rank(value: float) -> float:
    return -math.inf if math.isnan(value) else value
