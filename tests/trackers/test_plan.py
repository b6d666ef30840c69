import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag

from hpo.observer import StudyInfo
from hpo.trackers.mlflow import events
from hpo.trackers.mlflow.plan import _key, plan_runs
from hpo.trial import Report, Trial, TrialRecord, TrialState

RECORD = TrialRecord(Trial(3, {"lr": 0.1}, seed=7), started=1.5)


def life(state=TrialState.COMPLETE, n_steps=2, **changes):
    reports = [Report(3, step, step / 10, (step / 10,)) for step in range(1, n_steps + 1)]
    return [
        events.trial_started(RECORD),
        *map(events.trial_reported, reports),
        events.trial_ended(replace(RECORD, state=state, ended=9.0, **changes)),
    ]


@given(st.text(max_size=400))
def test_mlflow_takes_every_name(name):
    key = _key(name)
    _validate_metric_name(key)
    _validate_param(key, "")
    _validate_tag(key, "")


@given(st.sampled_from(["score", "module__dropout", "net__optimizer__lr", "train_f1", "a/b.c-d"]))
def test_sound_names_stay_as_they_are(name):
    assert _key(name) == name


def test_a_trial_is_one_plan_wherever_it_is_cut():
    events = life()
    (whole,) = plan_runs(events)
    for cut in range(1, len(events)):
        (first,), (second,) = plan_runs(events[:cut]), plan_runs(events[cut:])
        assert first.metrics + second.metrics == whole.metrics
        assert first.params | second.params == whole.params
        assert first.tags | second.tags == whole.tags
        assert (second.status, second.end) == (whole.status, whole.end) == ("FINISHED", 9000)
        assert first.status is None


@pytest.mark.parametrize(
    ("state", "status"),
    [("complete", "FINISHED"), ("pruned", "KILLED"), ("failed", "FAILED")],
)
def test_states(state, status):
    (plan,) = plan_runs(life(TrialState(state), reason="why"))
    assert plan.status == status
    assert plan.start == 1500
    assert plan.tags == {"number": "3", "seed": "7", "state": state, "reason": "why"}


def test_names_of_metrics():
    metrics = {"f1": (0.5, 1.0), "train_score": (1, 1), "train_loss": (math.nan, 1), "none": ()}
    metrics |= {"param_lr": (0.1, 0.1), "weight_norm": (2.0, 3.0)}
    report = Report(3, 2, 0.25, (0.0, 0.5), metrics, seconds=3.0, recorded=("weight_norm",))
    (plan,) = plan_runs([events.trial_reported(report)])
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


def test_what_a_dead_driver_left_open_is_closed():
    start = events.study_started(StudyInfo("s", "k"))
    open_trial = [start, *life()[:2]]
    trial, study = events.loose_ends(open_trial)
    assert (trial["number"], trial["state"]) == (3, "interrupted")
    assert trial["cause"] == "driver_died"
    assert (study["kind"], study["state"]) == ("study_ended", "interrupted")
    assert events.loose_ends(open_trial, study_too=False) == [trial]
    end = events.study_ended({}, {}, {}, "complete")
    assert events.loose_ends([start, *life(), end]) == []
    assert len(events.loose_ends([start, *life(), end, start])) == 1


def test_how_a_trial_was_trained_is_a_tag():
    record = TrialRecord(
        Trial(3, {}, 1), TrialState.COMPLETE, trained_by="process", trained_by_reason="it is odd"
    )
    (plan,) = plan_runs([events.trial_ended(record)])
    assert plan.tags["trained_by"] == "process"
    assert plan.tags["trained_by_reason"] == "it is odd"
    (plan,) = plan_runs([events.trial_ended(replace(record, trained_by_reason=""))])
    assert plan.tags["trained_by"] == "process"
    assert "trained_by_reason" not in plan.tags
    told = {"best_lr": 0.1, "trained_by": "24 fused (eager), 6 process"}
    (plan,) = plan_runs([events.study_ended({}, told, {}, "complete")])
    assert plan.tags["trained_by"] == "24 fused (eager), 6 process"
    assert plan.params_once == {"best_lr": "0.1"}  # a param could not change when it goes on


def test_artifacts_stay_inside_the_run():
    end = events.study_ended({}, {}, {"../../x": "1", "/a/b": "2", "": "3"}, "complete")
    (plan,) = plan_runs([end])
    assert plan.files == {"x": "1", "a/b": "2", "artifact": "3"}
