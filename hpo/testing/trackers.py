"""The conformance tests of trackers.

A third party's test inherits `TrackerConformance` and supplies the fixture ``tracker``::

    class TestMyTracker(TrackerConformance):
        @pytest.fixture
        def tracker(self):
            return MyTracker()
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.observer import StudyInfo
from hpo.trackers import BaseTracker
from hpo.trial import Report, Trial, TrialRecord, TrialState

__all__ = ["TrackerConformance", "tell_study", "tell_trial"]

INFO = StudyInfo(
    name="conformance",
    key="conformance-key",
    params={"n_trials": 3, "seed": 0, "pruner": None},
    tags={"git_commit": "0" * 40},
    artifacts={"study.py": "study = Study(...)\n"},
)


def tell_trial(
    tracker: BaseTracker,
    number: int,
    values: tuple[float, ...] = (0.5, 0.75),
    state: TrialState = TrialState.COMPLETE,
    *,
    reason: str = "",
    error: str | None = None,
    trained_by: tuple[str, str] = ("serial", ""),
) -> TrialRecord:
    """Tell a trial's life, one report for each of ``values``; return its last record.

    With ``state`` RUNNING its end is not told.
    """
    trial = Trial(number, {"lr": 0.1 / (number + 1), "optimizer": "torch.optim.SGD"}, seed=number)
    how, why = trained_by
    record = TrialRecord(trial, started=time.time())
    tracker.on_trial_start(record)
    record = replace(record, trained_by=how, trained_by_reason=why)
    tracker.trial_trained_by(record)
    for step, value in enumerate(values, start=1):
        metrics = {"f1_macro": (value, value), "train_loss": (1.0, 3.0)}
        report = Report(number, step, value, (value, value), metrics, seconds=0.25)
        record = replace(record, reports=(*record.reports, report))
        tracker.on_report(record, report)
    if state is not TrialState.RUNNING:
        record = replace(record, state=state, reason=reason, error=error, ended=time.time())
        tracker.on_trial_end(record)
    return record


def tell_study(tracker: BaseTracker, info: StudyInfo = INFO, n_trials: int = 3) -> None:
    """Tell a study of complete trials from its start to its end."""
    tracker.on_study_start(info)
    for number in range(n_trials):
        tell_trial(tracker, number)
    tracker.on_study_end({"best_score": 0.75, "n_trials": n_trials}, {"best_lr": 0.1}, {})


class TrackerConformance:
    """What holds for every tracker: it takes whatever happens, and never raises."""

    @pytest.fixture
    def tracker(self) -> BaseTracker:
        """Return a new tracker; the subclass supplies it."""
        raise NotImplementedError("Define the fixture `tracker` in the subclass.")

    def test_whole_study(self, tracker: BaseTracker, tmp_path: Path) -> None:
        """A study's life in order; nothing is left to say at its end."""
        report = tmp_path / "report.html"
        report.write_text("<html>")
        tracker.on_study_start(INFO)
        tell_trial(tracker, 0)
        tell_trial(tracker, 1, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
        tell_trial(tracker, 2, (), TrialState.FAILED, reason="ValueError: no", error="Traceback")
        tracker.on_study_end({"best_score": 0.75}, {"best_lr": 0.1}, {"report.html": report})
        assert tracker.close() == ""

    def test_values_that_are_no_numbers(self, tracker: BaseTracker) -> None:
        """NaN and infinite scores are taken."""
        tracker.on_study_start(INFO)
        tell_trial(tracker, 0, (math.nan, math.inf, -math.inf))
        tracker.on_study_end({"best_score": math.nan}, {}, {}, state="failed")
        assert isinstance(tracker.close(0.5), str)

    def test_study_goes_on(self, tracker: BaseTracker) -> None:
        """A trial may end that an earlier process began, and the study may start again."""
        tracker.on_study_start(INFO)
        trial = Trial(7, {"lr": 0.1}, seed=7)
        reason = "interrupted: the process died"
        tracker.on_trial_end(TrialRecord(trial, TrialState.FAILED, reason=reason))
        tracker.on_study_end({}, {}, {}, state="interrupted")
        tell_study(tracker)
        assert isinstance(tracker.close(0.5), str)

    def test_nothing_happened(self, tracker: BaseTracker) -> None:
        """A tracker that heard nothing closes, and closes again."""
        assert tracker.close() == ""
        assert tracker.close() == ""

    def test_hooks_out_of_order(self, tracker: BaseTracker, tmp_path: Path) -> None:
        """Trials before the study, a missing artifact and hooks after the end do not raise."""
        tell_trial(tracker, 0)
        tracker.on_study_end({}, {}, {})
        tracker.on_study_start(INFO)
        tracker.on_study_end({}, {}, {"report.html": tmp_path / "missing.html"})
        tell_trial(tracker, 1)
        assert isinstance(tracker.close(0.5), str)
        tell_trial(tracker, 2)
        assert isinstance(tracker.close(0.5), str)

    def test_odd_values(self, tracker: BaseTracker) -> None:
        """Parameters, texts and names of any kind are taken."""
        params = {"a" * 300: "x" * 10_000, "kind[0]": (1, 2), "../up": object(), "": None}
        tracker.on_study_start(StudyInfo("Küche/\N{SNOWMAN}", "key's", params, {"x": "\ud800\0"}))
        trial = Trial(0, params, seed=0)
        tracker.on_trial_start(TrialRecord(trial))
        tracker.on_trial_end(
            TrialRecord(trial, TrialState.FAILED, reason="r" * 10_000, error="\ud800" * 10_000)
        )
        assert isinstance(tracker.close(0.5), str)

    def test_returns_at_once(self, tracker: BaseTracker) -> None:
        """A trial of 20 steps costs the driver less than 10 ms."""
        tracker.on_study_start(INFO)
        tell_trial(tracker, 0)
        seconds = []
        for number in range(1, 21):
            began = time.perf_counter()
            tell_trial(tracker, number, (0.5,) * 20)
            seconds.append(time.perf_counter() - began)
        # The median: other work on the machine may hold up one or the other.
        assert sorted(seconds)[10] < 0.01
        tracker.close(0.0)
