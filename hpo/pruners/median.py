"""The median stopping rule."""

from collections.abc import Sequence

from hpo.pruners._checks import check_choice, check_int
from hpo.pruners._every_step import EveryStepMedian
from hpo.pruners._peer_values import PeerValues
from hpo.pruners._rungs import Rungs, at_rung, counts, rank_at
from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord, TrialState

__all__ = ["MedianPruner"]

_CONTINUE = PruneDecision(False)
_AT = ("rungs", "every")
_PEERS = ("reported", "complete")


class MedianPruner(BasePruner):
    """Stops a trial that is not above the median of its peers when it reaches a rung.

    The rungs are the steps r, 2 r, 4 r ... below T, the number of steps of a full trial, with
    ``r = max(1, round(T / 17))``: of 20 steps 1, 2, 4, 8 and 16. A trial is compared with all
    trials that have come to that rung, those that were stopped there included, each by its best
    score up to there, and stops if half of them, itself counted, are strictly better. This is
    `HalvingPruner` with ``eta=2``. Looking rarely, and among all, loses fewer good trials than
    looking at every step at the complete trials alone: these are few for long, and the best ones.

    ``median:at=every,peers=complete,n_startup_trials=5`` is Optuna's rule, which has the name
    ``optuna_median`` too.

    Parameters
    ----------
    n_startup_trials : int, default=0
        No trial is stopped before this many peers (0 or more) count.
    n_warmup_steps : int, default=0
        Number of first steps (0 or more) at which no trial is stopped.
    at : {"rungs", "every"}, default="rungs"
        When a trial is compared: at a rung, or at every step.
    peers : {"reported", "complete"}, default="reported"
        With whom: all other trials that have reported at that step, or the complete ones.
    first_rung : int or None, default=None
        Step (1 or more) of the first rung; None is ``max(1, round(T / 17))``.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or if ``first_rung`` is given and ``at="every"``.

    Notes
    -----
    With ``select="last"`` trials are compared by their scores at the rung. A trial without a finite
    score is worse than all others, and not better than another one. Interrupted trials do not
    count, since they are run again. If the number of steps of a trial is not known, its first
    rung is at step 1. At every step the rule is that of ``optuna_median``.
    """

    def __init__(
        self,
        n_startup_trials: int = 0,
        n_warmup_steps: int = 0,
        *,
        at: str = "rungs",
        peers: str = "reported",
        first_rung: int | None = None,
    ) -> None:
        owner = "MedianPruner"
        self.n_startup_trials = check_int(owner, "n_startup_trials", n_startup_trials, low=0)
        self.n_warmup_steps = check_int(owner, "n_warmup_steps", n_warmup_steps, low=0)
        self.at = check_choice(owner, "at", at, _AT)
        self.peers = check_choice(owner, "peers", peers, _PEERS)
        if first_rung is not None:
            first_rung = check_int(owner, "first_rung", first_rung, low=1)
            if at == "every":
                raise ValueError("MedianPruner's first_rung needs at='rungs': there are no others.")
        self.first_rung = first_rung
        self._rungs = Rungs(2, first_rung)
        self._values = PeerValues(counts if peers == "reported" else _is_complete, rank_at)
        self._at_every = EveryStepMedian(n_startup_trials, n_warmup_steps, peers=peers)

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Decide on the last report of ``record``; see `BasePruner.decide`."""
        if self.at == "every":
            return self._at_every.decide(record, peers)
        step = record.last_step
        rung = self._rungs.name_of(step, record.max_steps) if record.reports else ""
        if not rung or step <= self.n_warmup_steps:
            return _CONTINUE
        standing = at_rung(record, peers, self._values)
        n_peers = standing.n - 1
        if n_peers < self.n_startup_trials or standing.better < max(1, standing.n // 2):
            return _CONTINUE
        return PruneDecision(
            True, f"epoch {step} ({rung}): {standing}, not above the median {standing.median:.4g}"
        )

    def __repr__(self) -> str:
        params = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        return f"MedianPruner({', '.join(f'{key}={value!r}' for key, value in params.items())})"


def _is_complete(record: TrialRecord, step: int) -> bool:
    return record.state is TrialState.COMPLETE and counts(record, step)
