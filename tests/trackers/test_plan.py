import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag

from hpo.storage.study_facts import StudyRecord
from hpo.trackers import TrialChange
from hpo.trackers.mlflow.plan import _key, study_plan, trial_plan
from hpo.trial import Cause, Report, Trial, TrialRecord, TrialState

REPORTS = tuple(Report(3, s, s / 10, (s / 10,), seconds=0.5, time=2.0 + s) for s in (1, 2))
RECORD = TrialRecord(Trial(3, {"lr": 0.1}, seed=7), reports=REPORTS, started=1.5)


def plan_of(record, n_written=0):
    return trial_plan(TrialChange(record, "mark", n_written))


def ended(state=TrialState.COMPLETE, **changes):
    return replace(RECORD, state=state, ended=9.0, **changes)


@given(st.text(max_size=400))
def test_mlflow_takes_every_name(name):
    key = _key(name)
    _validate_metric_name(key)
    _validate_param(key, "")
    _validate_tag(key, "")


@given(st.sampled_from(["score", "module__dropout", "net__optimizer__lr", "train_f1", "a/b.c-d"]))
def test_sound_names_stay_as_they_are(name):
    assert _key(name) == name


def test_a_trial_is_the_same_however_often_it_is_written():
    """MLflow takes a metric once for each key, step, time and value."""
    whole = plan_of(ended())
    assert (whole.status, whole.start, whole.end, whole.mark) == ("FINISHED", 1500, 9000, "mark")
    while_running = [*plan_of(replace(RECORD, reports=REPORTS[:1])).metrics]
    while_running += plan_of(RECORD, n_written=1).metrics
    assert while_running == [m for m in whole.metrics if not m[0].startswith("best_")]
    assert {time for _, _, time, _ in while_running} == {3000, 4000}


def test_reports_without_a_time_have_one_that_stays():
    """Storages of hpo 0.3 and before hold none."""
    record = replace(RECORD, reports=tuple(replace(r, time=0.0) for r in REPORTS))
    times = [time for key, _, time, _ in plan_of(record).metrics if key == "score"]
    assert times == [2000, 2500]
    assert [t for k, _, t, _ in plan_of(record, 1).metrics if k == "score"] == [2500]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("running", "RUNNING"),
        ("complete", "FINISHED"),
        ("pruned", "KILLED"),
        ("failed", "FAILED"),
        ("interrupted", "KILLED"),
    ],
)
def test_states(state, status):
    plan = plan_of(ended(TrialState(state), reason="why", cause=Cause.STOPPED))
    assert plan.status == status
    assert (plan.end is None) == (state == "running")
    tags = {"number": "3", "seed": "7", "state": state, "reason": "why", "cause": "stopped"}
    assert plan.tags == tags


def test_names_of_metrics():
    metrics = {"f1": (0.5, 1.0), "train_score": (1, 1), "train_loss": (math.nan, 1), "none": ()}
    metrics |= {"param_lr": (0.1, 0.1), "weight_norm": (2.0, 3.0)}
    report = Report(3, 2, 0.25, (0.0, 0.5), metrics, seconds=3.0, recorded=("weight_norm",))
    plan = plan_of(replace(RECORD, reports=(report,)))
    values = {key: value for key, value, _, _ in plan.metrics}
    assert {step for *_, step in plan.metrics} == {2}
    assert math.isnan(values.pop("train_loss"))
    assert math.isnan(values.pop("score_none"))
    assert values == {
        "score": 0.25,
        "score_fold_0": 0.0,
        "score_fold_1": 0.5,
        "score_f1": 0.75,
        "train_score": 1.0,
        "param_lr": 0.1,
        "weight_norm": 2.5,
        "seconds": 3.0,
    }


def test_how_a_trial_was_trained_is_a_tag():
    tags = plan_of(ended(trained_by="process", trained_by_reason="it is odd")).tags
    assert (tags["trained_by"], tags["trained_by_reason"]) == ("process", "it is odd")
    assert "trained_by_reason" not in plan_of(ended(trained_by="process")).tags


def test_a_study_that_runs_and_one_that_has_ended():
    results = {"best_lr": 0.1, "trained_by": "24 fused (eager), 6 process"}
    study = StudyRecord("s", "k", {"seed": 0}, started=1.0, metrics={"n": 3.0}, results=results)
    running = study_plan(replace(study, state="running"))
    assert (running.status, running.start, running.end) == ("RUNNING", 1000, None)
    assert (running.params_once, running.metrics) == ({"seed": "0"}, [])
    plan = study_plan(replace(study, ended=2.0, state="interrupted"))
    assert (plan.status, plan.end, plan.tags["state"]) == ("KILLED", 2000, "interrupted")
    assert plan.tags["trained_by"] == "24 fused (eager), 6 process"
    assert plan.params_once == {"seed": "0", "best_lr": "0.1"}  # `trained_by` may change
    assert plan.metrics == [("n", 3.0, 2000, 0)]


def test_artifacts_stay_inside_the_run():
    files = {"../../x": Path("1"), "/a/b": Path("2"), "": Path("3")}
    plan = study_plan(StudyRecord("s", "k", ended=1.0, files=files))
    assert plan.files == {"x": Path("1"), "a/b": Path("2"), "artifact": Path("3")}
