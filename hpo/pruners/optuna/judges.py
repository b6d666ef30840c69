"""Apply an Optuna pruner to trial records: in a private study that mirrors them, or to folds."""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from hpo.pruners._cache import RecordCache
from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["make_judge"]

_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
    TrialState.INTERRUPTED: optuna.trial.TrialState.FAIL,
}
# These pruners have no state. Others store state in the trials (the rungs of successive halving),
# so they must see each report exactly once and in order.
_MEMORYLESS = {
    optuna.pruners.MedianPruner,
    optuna.pruners.NopPruner,
    optuna.pruners.PatientPruner,
    optuna.pruners.PercentilePruner,
    optuna.pruners.ThresholdPruner,
}

Judge = Callable[[TrialRecord, Sequence[TrialRecord]], bool]


def make_judge(pruner: optuna.pruners.BasePruner, study_name: str) -> Judge:
    """Return a function that decides whether to stop a trial, given its record and its peers.

    Raises
    ------
    ValueError
        If a Wilcoxon pruner is wrapped: it compares folds, but its wrapper compares steps.
    """
    if isinstance(pruner, optuna.pruners.WilcoxonPruner):
        return _FoldsJudge(pruner, study_name)
    if any(isinstance(part, optuna.pruners.WilcoxonPruner) for part in _parts(pruner)):
        raise ValueError("WilcoxonPruner compares folds, so no pruner of steps can wrap it.")
    return _MirrorJudge(pruner, study_name)


def _parts(pruner: optuna.pruners.BasePruner) -> Iterator[optuna.pruners.BasePruner]:
    """Yield a pruner and the pruners that it wraps."""
    yield pruner
    for value in vars(pruner).values():
        if isinstance(value, optuna.pruners.BasePruner):
            yield from _parts(value)


def _new_study(
    pruner: optuna.pruners.BasePruner, study_name: str
) -> tuple[optuna.study.Study, InMemoryStorage, int]:
    """Return an empty in-memory study, its storage and its id, without logging its creation."""
    storage = InMemoryStorage()
    logger = logging.getLogger(InMemoryStorage.__module__)
    logger.addFilter(_drop)
    try:
        study_id = storage.create_new_study([StudyDirection.MAXIMIZE], study_name)
    finally:
        logger.removeFilter(_drop)
    sampler = optuna.samplers.RandomSampler()  # never used
    study = optuna.study.Study(study_name, storage, sampler=sampler, pruner=pruner)
    return study, storage, study_id


def _drop(entry: logging.LogRecord) -> bool:
    return False


class _MirrorJudge:
    """Mirrors the records in an Optuna study; each decision adds only what is new.

    New reports of the peers are added first, in the order of their numbers, since the report to
    decide on came after them. A pruner with state decides on each report once, when it is added,
    and the decision is remembered. If the records do not continue those seen before, everything
    is replayed from an empty study.
    """

    def __init__(self, pruner: optuna.pruners.BasePruner, study_name: str) -> None:
        self._pristine = pruner
        self._study_name = study_name
        self._is_stateful = any(type(part) not in _MEMORYLESS for part in _parts(pruner))
        self._clear()

    def _clear(self) -> None:
        fresh = copy.deepcopy(self._pristine)
        self._study, self._storage, self._study_id = _new_study(fresh, self._study_name)
        self._ids: list[int] = []
        self._seen: dict[int, TrialRecord] = {}
        self._decisions: dict[int, bool] = {}

    def __call__(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> bool:
        if record.state is not TrialState.RUNNING:  # decide as if it were still running
            record = replace(record, state=TrialState.RUNNING)
        if not self._continue(record, peers):
            self._clear()
            self._continue(record, peers)
        if self._is_stateful:
            return self._decisions[record.number]
        return self._should_prune(record.number)

    def _continue(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> bool:
        """Add what is new; if the records are no continuation, add nothing and return False."""
        previous = self._seen
        changed = [peer for peer in peers if previous.get(peer.trial.number) is not peer]
        n_matched = len(peers) - len(changed)
        changed.append(record)
        n_matched += sum(item.number in previous for item in changed)
        if n_matched != len(previous):
            return False
        if not all(
            _continues(previous[item.number], item) for item in changed if item.number in previous
        ):
            return False
        for item in (*sorted(changed[:-1], key=lambda item: item.number), record):
            self._add(item)
        return True

    def _add(self, record: TrialRecord) -> None:
        number = record.number
        while len(self._ids) <= number:  # Optuna numbers trials in the order of their creation
            self._ids.append(self._storage.create_new_trial(self._study_id))
        before = self._seen.get(number)
        for report in record.reports[len(before.reports) if before else 0 :]:
            self._storage.set_trial_intermediate_value(
                self._ids[number], report.step - 1, report.value
            )
            if self._is_stateful:
                self._decisions[number] = self._should_prune(number)
        running = before is None or before.state is TrialState.RUNNING
        if running and record.state is not TrialState.RUNNING:
            self._finish(record)
        self._seen[number] = record

    def _finish(self, record: TrialRecord) -> None:
        values = None
        if record.state is TrialState.COMPLETE:
            values = [record.value if math.isfinite(record.value) else -math.inf]
        self._storage.set_trial_state_values(
            self._ids[record.number], _STATES[record.state], values
        )

    def _should_prune(self, number: int) -> bool:
        trial = self._storage.get_trial(self._ids[number])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, for all-nan slices
            return bool(self._study.pruner.prune(self._study, trial))


def _continues(before: TrialRecord, now: TrialRecord) -> bool:
    """Return whether ``now`` can be a later state of ``before``."""
    if before.state is not TrialState.RUNNING and (
        now.state is not before.state or len(now.reports) != len(before.reports)
    ):
        return False
    return len(before.reports) <= len(now.reports) and all(
        old is new or _same(old, new) for old, new in zip(before.reports, now.reports, strict=False)
    )


def _same(old: Report, new: Report) -> bool:
    both_nan = math.isnan(old.value) and math.isnan(new.value)
    return old.step == new.step and (old.value == new.value or both_nan)


class _FoldsJudge:
    """Applies a Wilcoxon pruner to the fold scores of two trials."""

    def __init__(self, pruner: optuna.pruners.WilcoxonPruner, study_name: str) -> None:
        self._pruner = pruner
        self._study_name = study_name
        self._value = RecordCache(_value)

    def __call__(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> bool:
        complete = [peer for peer in peers if peer.state is TrialState.COMPLETE]
        best = max(complete, key=lambda peer: (self._value(peer), -peer.number), default=None)
        if best is None:
            return False
        last = record.reports[-1]
        comparable = [report for report in best.reports if report.step <= last.step]
        if not comparable or not (_usable(last) and _usable(comparable[-1])):
            return False
        study, _, _ = _new_study(self._pruner, self._study_name)
        study.add_trial(_folds_trial(comparable[-1], optuna.trial.TrialState.COMPLETE))
        return self._pruner.prune(study, _folds_trial(last, optuna.trial.TrialState.RUNNING))


def _value(record: TrialRecord) -> float:
    return record.value if math.isfinite(record.value) else -math.inf


def _usable(report: Report) -> bool:
    return bool(report.fold_values) and all(map(math.isfinite, report.fold_values))


def _folds_trial(report: Report, state: optuna.trial.TrialState) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        value=report.value if state.is_finished() else None,
        intermediate_values=dict(enumerate(report.fold_values)),
    )
