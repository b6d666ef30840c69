"""The stopping rule of successive halving, applied when a trial reaches a rung."""

from collections.abc import Sequence

from hpo.pruners._checks import check_int
from hpo.pruners._peer_values import PeerValues
from hpo.pruners._rungs import Rungs, at_rung, counts, rank_at
from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord

__all__ = ["HalvingPruner"]

_CONTINUE = PruneDecision(False)


class HalvingPruner(BasePruner):
    """Stops a trial at a rung if enough of the trials that reached it were better.

    The rungs are the steps ``r0 * eta ** k`` below T, the number of steps of a full trial, with
    ``r0 = max(1, round(T / 17))``. A trial stops if, of the ``n`` values reported at a rung (its
    own value and those of trials stopped there included), at least ``max(1, n // eta)`` are
    strictly better. So the first trial continues, the second one does if it is as good, and
    trials that arrive together are halved. With ``eta=2`` this is the rule of `MedianPruner`.

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

    With ``select="last"`` trials are compared by their scores at the rung. A trial without a finite
    score is worse than all others, and not better than another one. Interrupted trials do not
    count, since they are run again. If the number of steps of a trial is not known, its first
    rung is at step 1. The last step is not a rung, since nothing is left to save there.
    """

    def __init__(self, eta: int = 2, *, first_rung: int | None = None) -> None:
        owner = "HalvingPruner"
        self.eta = check_int(owner, "eta", eta, low=2)
        self.first_rung = (
            None if first_rung is None else check_int(owner, "first_rung", first_rung, low=1)
        )
        self._rungs = Rungs(self.eta, self.first_rung)
        self._values = PeerValues(counts, rank_at)

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Decide on the last report of ``record``; see `BasePruner.decide`."""
        rung = self._rungs.name_of(record.last_step, record.max_steps) if record.reports else ""
        if not rung:
            return _CONTINUE
        standing = at_rung(record, peers, self._values)
        n_go_on = max(1, standing.n // self.eta)
        if standing.better < n_go_on:
            return _CONTINUE
        which = "the best one goes" if n_go_on == 1 else f"the best {n_go_on} go"
        return PruneDecision(True, f"epoch {record.last_step} ({rung}): {standing}, {which} on")

    def __repr__(self) -> str:
        return f"HalvingPruner(eta={self.eta!r}, first_rung={self.first_rung!r})"
