"""The conformance tests of trackers, and studies in a storage for them to follow.

A third party's test inherits `TrackerConformance` and supplies two fixtures::

    class TestMyTracker(TrackerConformance):
        @pytest.fixture
        def make_tracker(self):
            return lambda folder: MyTracker(folder / "target")

        @pytest.fixture
        def read_target(self):
            return lambda folder: {number: [(step, score), ...], ...}
"""

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo.observer import StudyInfo
from hpo.space import SearchSpace
from hpo.storage.stored_study import StoredStudy
from hpo.storage.study_facts import StudyRecord, begin_session, end_session
from hpo.storage.trial_store import TrialStore
from hpo.trackers import BaseTracker, Order, Outcome, TrialChange, Written, catch_up, follow_once
from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["INFO", "TrackerConformance", "add_trial", "follow", "new_store", "order_for"]

SPACE = {
    "lr": {"type": "float", "low": 0.001, "high": 1.0},
    "optimizer": ["torch.optim.SGD", "torch.optim.Adam"],
}
INFO = StudyInfo(
    name="conformance",
    key="",  # the storage's
    params={"n_trials": 3, "seed": 0, "pruner": None},
    tags={"git_commit": "0" * 40},
    artifacts={"study.py": "study = Study(...)\n"},
)

Steps = list[tuple[int, float | None]]


def new_store(folder: Path, name: str = INFO.name, info: StudyInfo = INFO) -> TrialStore:
    """Return a study in a storage in ``folder``, which a driver in this process has begun."""
    store = TrialStore(name, SearchSpace.load(SPACE), f"journal:///{folder / 'study.log'}")
    begin_session(store, info)
    return store


def add_trial(
    store: TrialStore,
    values: Sequence[float] = (0.5, 0.75),
    state: TrialState = TrialState.COMPLETE,
    *,
    reason: str = "",
    error: str | None = None,
) -> TrialRecord:
    """Run a scripted trial with one report for each of ``values``; it may remain running."""
    trial = store.ask()
    record = TrialRecord(trial, started=time.time(), trained_by="serial")
    store.begin(record)
    for step, value in enumerate(values, start=1):
        metrics = {"f1_macro": (value, value), "train_loss": (1.0, 3.0)}
        report = Report(
            trial.number, step, value, (value, value), metrics, seconds=0.25, time=time.time()
        )
        record = replace(record, reports=(*record.reports, report))
        store.report(report)
    if state is not TrialState.RUNNING:
        record = replace(record, state=state, reason=reason, error=error, ended=time.time())
        store.tell(record)
    return record


def order_for(tracker: BaseTracker, store: TrialStore) -> Order:
    """Return the order to follow a study with a tracker."""
    return Order.make(tracker, store.name, store.key, str(store.url))


def follow(tracker: BaseTracker, store: TrialStore) -> Outcome:
    """Make the tracker's target agree with the study, in this process."""
    return follow_once(order_for(tracker, store), tracker)


class _Killed(BaseException):
    """Ends a follower in this process as a signal would end its own."""


class _Fragile(BaseTracker):
    """A tracker that fails at its n-th write, before or after it.

    Parameters
    ----------
    inner : BaseTracker
    n : int
    error : BaseException
    after : bool
        Whether it writes before it fails.
    """

    def __init__(self, inner: BaseTracker, n: int, error: BaseException, *, after: bool) -> None:
        self.inner, self.n, self.error, self.after = inner, n, error, after

    @property
    def target(self) -> str:
        """The target of the inner tracker."""
        return self.inner.target

    def open(self, study: StudyRecord) -> Written:
        """Open the inner tracker."""
        return self.inner.open(study)

    def write_study(self, study: StudyRecord) -> None:
        """Write the study."""
        self._write(lambda: self.inner.write_study(study))

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write one trial after the other, so that it can fail between them."""
        for change in changes:
            self._write(lambda change=change: self.inner.write_trials([change]))  # type: ignore[misc]

    def close(self) -> None:
        """Close the inner tracker."""
        self.inner.close()

    def _write(self, write: Callable[[], None]) -> None:
        self.n -= 1
        if self.n == 0 and not self.after:
            raise self.error
        write()
        if self.n == 0:
            raise self.error


class TrackerConformance:
    """What holds for every tracker: its target ends as the storage is, whatever happens."""

    @pytest.fixture
    def make_tracker(self) -> Callable[[Path], BaseTracker]:
        """Return a function that makes a tracker whose target is in a folder."""
        raise NotImplementedError("Define the fixture `make_tracker` in the subclass.")

    @pytest.fixture
    def read_target(self) -> Callable[[Path], Mapping[int, Sequence[tuple[int, float]]]]:
        """Return a function that reads the target: number of a trial to its steps and scores."""
        raise NotImplementedError("Define the fixture `read_target` in the subclass.")

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return the folder of the target."""
        folder = tmp_path / "target"
        folder.mkdir()
        monkeypatch.chdir(tmp_path)  # a tracker may change it
        monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
        return folder

    @pytest.fixture
    def store(self, tmp_path: Path) -> TrialStore:
        """Return a study that has begun and has three finished trials."""
        store = new_store(tmp_path)
        add_trial(store)
        add_trial(store, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
        add_trial(store, (), TrialState.FAILED, reason="ValueError: no", error="Traceback")
        return store

    def test_whole_study_and_once_more(
        self,
        make_tracker: Callable[[Path], BaseTracker],
        read_target: Callable[[Path], Any],
        folder: Path,
        store: TrialStore,
    ) -> None:
        """All of it is in the target; a second follower finds it there."""
        _end(store, folder)
        first = follow(make_tracker(folder), store)
        assert (first.trials, first.reports, first.complete) == (3, 3, True)
        assert _cleaned(read_target(folder)) == _stored(store)
        second = follow(make_tracker(folder), store)
        assert (second.trials, second.complete) == (0, True)
        assert _cleaned(read_target(folder)) == _stored(store)

    def test_study_that_goes_on(
        self,
        make_tracker: Callable[[Path], BaseTracker],
        read_target: Callable[[Path], Any],
        folder: Path,
        store: TrialStore,
    ) -> None:
        """Followed while it runs, at its end, and when it has gone on after that."""
        running = add_trial(store, (0.5,), TrialState.RUNNING)
        follow(make_tracker(folder), store)
        store.tell(replace(running, state=TrialState.COMPLETE, ended=time.time()))
        _end(store, folder)
        assert follow(make_tracker(folder), store).complete
        assert _cleaned(read_target(folder)) == _stored(store)
        begin_session(store, INFO)
        add_trial(store, (0.75, 0.875, 1.0))
        _end(store, folder)
        assert follow(make_tracker(folder), store).trials == 1
        assert _cleaned(read_target(folder)) == _stored(store)

    @pytest.mark.parametrize("when", [(1, False), (1, True), (3, False), (3, True)])
    def test_killed_and_started_again(
        self,
        make_tracker: Callable[[Path], BaseTracker],
        read_target: Callable[[Path], Any],
        folder: Path,
        store: TrialStore,
        when: tuple[int, bool],
    ) -> None:
        """A follower that dies between two writes loses nothing and doubles nothing."""
        _end(store, folder)
        n, after = when
        with pytest.raises(_Killed):
            follow(_Fragile(make_tracker(folder), n, _Killed(), after=after), store)
        assert follow(make_tracker(folder), store).complete
        assert _cleaned(read_target(folder)) == _stored(store)

    def test_an_error_is_retried(
        self,
        make_tracker: Callable[[Path], BaseTracker],
        read_target: Callable[[Path], Any],
        folder: Path,
        store: TrialStore,
    ) -> None:
        """What raises is written at the next attempt."""
        _end(store, folder)
        fragile = _Fragile(make_tracker(folder), 2, OSError("no answer"), after=False)
        assert follow(fragile, store).complete
        assert _cleaned(read_target(folder)) == _stored(store)

    def test_emptied_target(
        self,
        make_tracker: Callable[[Path], BaseTracker],
        read_target: Callable[[Path], Any],
        folder: Path,
        store: TrialStore,
    ) -> None:
        """A process of its own fills a target, and fills it again after it was emptied."""
        _end(store, folder)
        order = order_for(make_tracker(folder), store)
        assert catch_up(order).trials == 3
        shutil.rmtree(folder)
        folder.mkdir()
        assert catch_up(order).trials == 3
        assert _cleaned(read_target(folder)) == _stored(store)

    def test_odd_values(
        self,
        make_tracker: Callable[[Path], BaseTracker],
        read_target: Callable[[Path], Any],
        folder: Path,
        tmp_path: Path,
    ) -> None:
        """Numbers that are none, names and texts of any kind are taken."""
        params = {"a" * 300: "x" * 10_000, "kind[0]": (1, 2), "../up": object(), "": None}
        info = StudyInfo("Küche/\N{SNOWMAN}", "", params, {"x": "\ud800\0"}, {"../a": "\ud800"})
        store = new_store(tmp_path, info.name, info)
        add_trial(store, (math.inf, math.nan, 0.5))
        add_trial(store, (), TrialState.FAILED, reason="r" * 10_000, error="\ud800" * 10_000)
        end_session(store, {"best_score": math.nan}, {"best_": "\0"}, {}, "failed")
        assert follow(make_tracker(folder), store).complete
        assert _cleaned(read_target(folder)) == _stored(store)


def _end(store: TrialStore, folder: Path) -> None:
    """End the driver's session of a study, with a report."""
    report = folder / "report.html"
    report.write_text("<html>")
    metrics = {"best_score": 0.75, "n_trials": 3.0}
    end_session(store, metrics, {"best_lr": 0.1}, {"report.html": report}, "complete")


def _stored(store: TrialStore) -> dict[int, Steps]:
    """Return the steps and scores of all trials as the storage has them."""
    reader = StoredStudy(store.name, store.url)
    return _cleaned({r.number: [(s.step, s.value) for s in r.reports] for r in reader.records()})


def _cleaned(target: Mapping[int, Sequence[tuple[int, float]]]) -> dict[int, Steps]:
    """Return what `read_target` has returned, with values that can be compared.

    None stands for nan, and the greatest float for infinity, which databases do not have.
    """
    most = sys.float_info.max
    return {
        number: [(s, None if math.isnan(v) else min(max(v, -most), most)) for s, v in steps]
        for number, steps in sorted(target.items())
    }
