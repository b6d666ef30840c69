"""The race of the folds: which trials get their other folds.

A trial trains its first fold alone; the study's pruner judges it there against the same fold of the
other trials. What makes all its steps and is among the better half of those that did, by its best
score, gets the other folds, in lock-step, and keeps them to their end. That is cheaper than all
folds in lock-step because most trials are stopped at a fifth of the price, and the same first fold
pairs all of them. Replayed on tables of real curves (docs/benchmarks.md), stopping among those with
all folds too is worse: they are the good ones, and who leads among them early says little.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import replace

from hpo.pruners import BasePruner, PruneDecision
from hpo.trial import TrialRecord, TrialState
from hpo.trial_records import TrialRecords

__all__ = ["FoldRace"]

_CONTINUE = PruneDecision(stop=False)

_PROMOTE_UNJUDGED = 4
"""As ``promote``, for trials that make one step, and so are not judged on their way."""


class FoldRace:
    """Decides on trials whose first fold is in training.

    Parameters
    ----------
    pruner : BasePruner
        The study's; here it sees the first folds alone.
    promote : int, default=2
        One of ``promote`` trials that made all steps on the first fold, about, gets the others; of
        those that make one step alone, one of four, at least.
    records : iterable of TrialRecord
        The trials so far.
    """

    def __init__(
        self, pruner: BasePruner, promote: int = 2, records: Iterable[TrialRecord] = ()
    ) -> None:
        self._pruner = copy.deepcopy(pruner)  # it may keep figures of the trials it has seen
        self._promote = promote
        self._records = TrialRecords()
        self._known: dict[int, tuple[TrialState, int]] = {}
        self._left_out: set[int] = set()  # ended their first fold and did not get the others
        for record in records:
            self.store(record)

    def store(self, record: TrialRecord) -> None:
        """Learn what is known of a trial now."""
        if not record.screening:
            return
        if record.screening[-1].last and record.state is TrialState.PRUNED and not record.reports:
            self._left_out.add(record.number)
        view = _first_fold(record)
        known = view.state, len(view.reports)
        if self._known.get(record.number) != known:
            self._known[record.number] = known
            self._records.store(view)

    def decide(self, record: TrialRecord) -> PruneDecision:
        """Decide on a trial after its last screening report."""
        view = _first_fold(record)
        last, peers = record.screening[-1], self._records.peers_of(record.number)
        if not last.last:
            decision = self._pruner.decide(view, peers)
            return (
                replace(decision, reason=f"first fold, {decision.reason}")
                if decision.stop
                else decision
            )
        if not math.isfinite(last.value):
            return _CONTINUE  # it fails, and is not pruned
        own = view.value
        ended = [r for r in peers if r.state is TrialState.COMPLETE and math.isfinite(r.value)]
        better, n, promote = sum(r.value > own for r in ended), len(ended) + 1, self._promote
        if len(record.screening) == 1:
            promote = max(promote, _PROMOTE_UNJUDGED)
            better += sum(r.value == own and r.number not in self._left_out for r in ended)
        n_promoted = max(1, n // promote)
        if better < n_promoted:
            return _CONTINUE
        which = "the best one gets" if n_promoted == 1 else f"the best {n_promoted} get"
        where = f", epoch {last.step}, its last: the best score" if last.step > 1 else ":"
        return PruneDecision(
            True,
            f"first fold{where} {own:.4g} is rank {better + 1} of {n}, {which} the other folds",
        )


def _first_fold(record: TrialRecord) -> TrialRecord:
    """Return a trial as its first fold alone; it is complete there once it has made all steps."""
    view = record.first_fold
    if record.screening[-1].last and not record.interrupted:
        return replace(view, state=TrialState.COMPLETE, reason="", cause=None)
    return view
