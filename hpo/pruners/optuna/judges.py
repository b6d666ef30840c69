"""Ask an Optuna pruner about records: through a private study that mirrors them, or over folds."""

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
}
# These judge anew at each call. Others leave marks on the trials (the rungs of successive
# halving), so they must see every report once and in its turn.
_MEMORYLESS = {
    optuna.pruners.MedianPruner,
    optuna.pruners.NopPruner,
    optuna.pruners.PatientPruner,
    optuna.pruners.PercentilePruner,
    optuna.pruners.ThresholdPruner,
}

Judge = Callable[[TrialRecord, Sequence[TrialRecord]], bool]


def make_judge(pruner: optuna.pruners.BasePruner, study_name: str) -> Judge:
    """Return what answers whether to stop a trial, given its record and its peers.

    Raises
    ------
    ValueError
        If a Wilcoxon pruner is wrapped: it compares folds, its wrapper steps.
    """
    if isinstance(pruner, optuna.pruners.WilcoxonPruner):
        return _FoldsJudge(pruner, study_name)
    if any(isinstance(part, optuna.pruners.WilcoxonPruner) for part in _parts(pruner)):
        raise ValueError("WilcoxonPruner compares folds, so no pruner of steps can wrap it.")
    return _MirrorJudge(pruner, study_name)


def _parts(pruner: optuna.pruners.BasePruner) -> Iterator[optuna.pruners.BasePruner]:
    """Yield a pruner and those that it wraps."""
    yield pruner
    for value in vars(pruner).values():
        if isinstance(value, optuna.pruners.BasePruner):
            yield from _parts(value)


def _new_study(
    pruner: optuna.pruners.BasePruner, study_name: str
) -> tuple[optuna.study.Study, InMemoryStorage, int]:
    """Return an empty study in memory, its storage and its id there; the user's log has no line."""
    storage = InMemoryStorage()
    logger = logging.getLogger(InMemoryStorage.__module__)
    logger.addFilter(_drop)
    try:
        study_id = storage.create_new_study([StudyDirection.MAXIMIZE], study_name)
    finally:
        logger.removeFilter(_drop)
    sampler = optuna.samplers.RandomSampler()  # never asked
    study = optuna.study.Study(study_name, storage, sampler=sampler, pruner=pruner)
    return study, storage, study_id


def _drop(entry: logging.LogRecord) -> bool:
    return False


class _MirrorJudge:
    """Keeps an Optuna study equal to the records; only what is new is added at a decision.

    What is new of the peers is added first, in the order of their numbers, since the report
    to judge has come after it. A pruner with a memory judges each report once, when it is
    added, and that answer stays. If the records are no continuation of those seen before,
    everything is replayed from an empty study.
    """

    def __init__(self, pruner: optuna.pruners.BasePruner, study_name: str) -> None:
        self._pristine = pruner
        self._study_name = study_name
        self._remembers = any(type(part) not in _MEMORYLESS for part in _parts(pruner))
        self._clear()

    def _clear(self) -> None:
        fresh = copy.deepcopy(self._pristine)
        self._study, self._storage, self._study_id = _new_study(fresh, self._study_name)
        self._ids: list[int] = []
        self._seen: dict[int, TrialRecord] = {}
        self._verdicts: dict[int, bool] = {}

    def __call__(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> bool:
        if record.state is not TrialState.RUNNING:  # it is judged as it ran
            record = replace(record, state=TrialState.RUNNING)
        if not self._continue(record, peers):
            self._clear()
            self._continue(record, peers)
        if self._remembers:
            return self._verdicts[record.number]
        return self._ask(record.number)

    def _continue(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> bool:
        """Add what is new; return False, and add nothing, if it is no continuation."""
        seen = self._seen
        changed = [peer for peer in peers if seen.get(peer.trial.number) is not peer]
        n_kept = len(peers) - len(changed)
        changed.append(record)
        n_kept += sum(item.number in seen for item in changed)
        if n_kept != len(seen):
            return False
        if not all(_continues(seen[item.number], item) for item in changed if item.number in seen):
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
            if self._remembers:
                self._verdicts[number] = self._ask(number)
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

    def _ask(self, number: int) -> bool:
        trial = self._storage.get_trial(self._ids[number])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, at slices of nan only
            return bool(self._study.pruner.prune(self._study, trial))


def _continues(before: TrialRecord, now: TrialRecord) -> bool:
    """Whether ``now`` is what became of ``before``."""
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
    """Gives a Wilcoxon pruner the folds of two trials as its instances."""

    def __init__(self, pruner: optuna.pruners.WilcoxonPruner, study_name: str) -> None:
        self._pruner = pruner
        self._study_name = study_name
        self._value = RecordCache(_value)

    def __call__(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> bool:
        complete = [peer for peer in peers if peer.state is TrialState.COMPLETE]
        best = max(complete, key=lambda peer: (self._value(peer), -peer.number), default=None)
        if best is None:
            return False
        own = record.reports[-1]
        done = [report for report in best.reports if report.step <= own.step]
        if not done or not (_usable(own) and _usable(done[-1])):
            return False
        study, _, _ = _new_study(self._pruner, self._study_name)
        study.add_trial(_folds_trial(done[-1], optuna.trial.TrialState.COMPLETE))
        return self._pruner.prune(study, _folds_trial(own, optuna.trial.TrialState.RUNNING))


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
