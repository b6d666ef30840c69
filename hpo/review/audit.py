"""What other rules would have made of a study's learning curves: stop sooner, choose otherwise.

A trial is replayed report by report, in the order in which trials began, as one process would
run them. A curve ends where the study ended it, so a rule that would have let a stopped trial go on
is charged with the epochs that are known.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hpo._winner import CHOOSE, winner_of
from hpo.pruners import BasePruner
from hpo.result import StudyResult
from hpo.trial import TrialRecord, TrialState
from hpo.trial_records import TrialRecords

__all__ = ["Choice", "Replay", "choices", "replays"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A study under another pruning rule.

    Parameters
    ----------
    rule : str
    n_epochs : int
        Epochs that the trials would have trained.
    n_stopped : int
        Trials that the rule would have stopped.
    n_unknown : int
        Trials that it would have let go on beyond the end of their known curves.
    saved : float
        Share of the epochs that are known that would not have been trained.
    stopped_winner_at : int or None
        The step at which the study's winner would have been stopped; None if it would not.
    winner : TrialRecord or None
        The best of the trials that would have been complete.
    loss : float
        By how much its score is below that of the study's winner; nan without one.
    """

    rule: str
    n_epochs: int
    n_stopped: int
    n_unknown: int
    saved: float
    stopped_winner_at: int | None
    winner: TrialRecord | None
    loss: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The winner by a rule, among the study's complete trials.

    Parameters
    ----------
    rule : str
    winner : TrialRecord
    loss : float
        By how much its score is below the greatest one.
    """

    rule: str
    winner: TrialRecord
    loss: float


def replays(result: StudyResult, rules: Mapping[str, BasePruner]) -> list[Replay]:
    """Replay a study's finished trials under pruning rules.

    Parameters
    ----------
    result : StudyResult
    rules : mapping of str to BasePruner

    Returns
    -------
    list of Replay
        In the order of the rules; empty if no trial has ended with a report.
    """
    ended = [
        record
        for record in result.records
        if record.state in {TrialState.COMPLETE, TrialState.PRUNED} and record.all_reports
    ]
    return [_replay(rule, pruner, ended, result) for rule, pruner in rules.items()] if ended else []


def _replay(
    rule: str, pruner: BasePruner, ended: Iterable[TrialRecord], result: StudyResult
) -> Replay:
    records = TrialRecords()
    n_stopped = n_unknown = 0
    n_known = n_epochs = 0.0
    stopped_winner_at = None
    complete = []
    for record in sorted(ended, key=lambda r: r.number):
        n_known += record.n_steps
        # In a race the rule judges first folds.
        judged = record.first_fold if record.screening else record
        stopped = _run(judged, pruner, records)
        if stopped is not None:
            n_stopped += 1
            n_epochs += stopped.last_step * _share(record)
            if result.winner is not None and record.number == result.winner.number:
                stopped_winner_at = stopped.last_step
            continue
        n_epochs += record.n_steps
        if record.state is TrialState.PRUNED:
            n_unknown += 1
        elif record.best_report:
            complete.append(record)
    winner = winner_of(sorted(complete, key=lambda r: (-r.value, r.number)))
    loss = math.nan
    if winner is not None and result.winner is not None:
        loss = result.winner.value - winner.value
    return Replay(
        rule=rule,
        n_epochs=round(n_epochs),
        n_stopped=n_stopped,
        n_unknown=n_unknown,
        saved=1 - n_epochs / n_known if n_known else 0.0,
        stopped_winner_at=stopped_winner_at,
        winner=winner,
        loss=loss,
    )


def _share(record: TrialRecord) -> float:
    """Return what a judged step counts: one of a single fold is a share of one of all."""
    return 1 / len(record.screening[-1].fold_values) if record.screening else 1.0


def _run(record: TrialRecord, pruner: BasePruner, records: TrialRecords) -> TrialRecord | None:
    """Replay one trial among the earlier ones; return its record if it is stopped."""
    running = replace(record, state=TrialState.RUNNING, reports=(), reason="", cause=None)
    for i, report in enumerate(record.reports, start=1):
        running = replace(running, reports=record.reports[:i])
        records.store(running)
        if report.step >= (record.max_steps or record.last_step):
            break  # nothing is left to save
        if pruner.decide(running, records.peers_of(record.number)).stop:
            stopped = replace(running, state=TrialState.PRUNED)
            records.store(stopped)
            return stopped
    records.store(replace(running, state=record.state))
    return None


def choices(result: StudyResult) -> list[Choice]:
    """Return the winner by each rule that can be applied to what is known of a study."""
    ranked = result.top(len(result.records))
    rules = [rule for rule in CHOOSE if rule != "finalists" or result.finalists]
    found = [(rule, winner_of(ranked, rule, result.finalists)) for rule in rules]
    return [
        Choice(rule=rule, winner=winner, loss=ranked[0].value - winner.value)
        for rule, winner in found
        if winner is not None
    ]
