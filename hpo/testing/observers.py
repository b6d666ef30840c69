"""The conformance tests of observers, and scripted studies to tell them.

A test inherits `ObserverConformance` and supplies the fixture ``observer``::

    class TestMyObserver(ObserverConformance):
        @pytest.fixture
        def observer(self):
            return MyObserver()
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.observer import BaseObserver, StudyInfo
from hpo.trial import Report, Trial, TrialRecord, TrialState

__all__ = ["ObserverConformance", "tell_study", "tell_trial"]

INFO = StudyInfo(
    name="conformance",
    key="conformance-key",
    params={"n_trials": 3, "seed": 0, "pruner": None},
    tags={"git_commit": "0" * 40},
    artifacts={"study.py": "study = Study(...)\n"},
)


def tell_trial(
    observer: BaseObserver,
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
    observer.on_trial_start(record)
    record = replace(record, trained_by=how, trained_by_reason=why)
    observer.trial_trained_by(record)
    for step, value in enumerate(values, start=1):
        metrics = {"f1_macro": (value, value), "train_loss": (1.0, 3.0)}
        report = Report(number, step, value, (value, value), metrics, seconds=0.25)
        record = replace(record, reports=(*record.reports, report))
        observer.on_report(record, report)
    if state is not TrialState.RUNNING:
        record = replace(record, state=state, reason=reason, error=error, ended=time.time())
        observer.on_trial_end(record)
    return record


def tell_study(observer: BaseObserver, info: StudyInfo = INFO, n_trials: int = 3) -> None:
    """Tell a study of complete trials from its start to its end."""
    observer.on_study_start(info)
    for number in range(n_trials):
        tell_trial(observer, number)
    observer.on_study_end({"best_score": 0.75, "n_trials": n_trials}, {"best_lr": 0.1}, {})


class ObserverConformance:
    """What holds for every observer: it takes whatever happens, and never raises."""

    @pytest.fixture
    def observer(self) -> BaseObserver:
        """Return a new observer; the subclass supplies it."""
        raise NotImplementedError("Define the fixture `observer` in the subclass.")

    def test_whole_study(self, observer: BaseObserver, tmp_path: Path) -> None:
        """A study's life in order; nothing is left to say at its end."""
        report = tmp_path / "report.html"
        report.write_text("<html>")
        observer.on_study_start(INFO)
        tell_trial(observer, 0)
        tell_trial(observer, 1, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
        tell_trial(observer, 2, (), TrialState.FAILED, reason="ValueError: no", error="Traceback")
        observer.on_study_end({"best_score": 0.75}, {"best_lr": 0.1}, {"report.html": report})
        assert observer.close() == ""

    def test_values_that_are_no_numbers(self, observer: BaseObserver) -> None:
        """NaN and infinite scores are taken."""
        observer.on_study_start(INFO)
        tell_trial(observer, 0, (math.nan, math.inf, -math.inf))
        observer.on_study_end({"best_score": math.nan}, {}, {}, state="failed")
        assert isinstance(observer.close(0.5), str)

    def test_study_goes_on(self, observer: BaseObserver) -> None:
        """A trial may end that an earlier process began, and the study may start again."""
        observer.on_study_start(INFO)
        trial = Trial(7, {"lr": 0.1}, seed=7)
        reason = "interrupted: the process died"
        observer.on_trial_end(TrialRecord(trial, TrialState.FAILED, reason=reason))
        observer.on_study_end({}, {}, {}, state="interrupted")
        tell_study(observer)
        assert isinstance(observer.close(0.5), str)

    def test_nothing_happened(self, observer: BaseObserver) -> None:
        """A observer that heard nothing closes, and closes again."""
        assert observer.close() == ""
        assert observer.close() == ""

    def test_hooks_out_of_order(self, observer: BaseObserver, tmp_path: Path) -> None:
        """Trials before the study, a missing artifact and hooks after the end do not raise."""
        tell_trial(observer, 0)
        observer.on_study_end({}, {}, {})
        observer.on_study_start(INFO)
        observer.on_study_end({}, {}, {"report.html": tmp_path / "missing.html"})
        tell_trial(observer, 1)
        assert isinstance(observer.close(0.5), str)
        tell_trial(observer, 2)
        assert isinstance(observer.close(0.5), str)

    def test_odd_values(self, observer: BaseObserver) -> None:
        """Parameters, texts and names of any kind are taken."""
        params = {"a" * 300: "x" * 10_000, "kind[0]": (1, 2), "../up": object(), "": None}
        observer.on_study_start(StudyInfo("Küche/\N{SNOWMAN}", "key's", params, {"x": "\ud800\0"}))
        trial = Trial(0, params, seed=0)
        observer.on_trial_start(TrialRecord(trial))
        observer.on_trial_end(
            TrialRecord(trial, TrialState.FAILED, reason="r" * 10_000, error="\ud800" * 10_000)
        )
        assert isinstance(observer.close(0.5), str)

    def test_returns_at_once(self, observer: BaseObserver) -> None:
        """A trial of 20 steps costs the driver less than 10 ms."""
        observer.on_study_start(INFO)
        tell_trial(observer, 0)
        seconds = []
        for number in range(1, 21):
            began = time.perf_counter()
            tell_trial(observer, number, (0.5,) * 20)
            seconds.append(time.perf_counter() - began)
        # The median: other work on the machine may hold up one or the other.
        assert sorted(seconds)[10] < 0.01
        observer.close(0.0)
