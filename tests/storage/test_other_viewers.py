"""What other tools see of a study: Optuna's dashboard shows names, steps and user attributes."""

from dataclasses import replace

import optuna
import pytest

from hpo.space import SearchSpace
from hpo.storage.copying import copy_trials
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import FIRST_STEP
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, TrialRecord, TrialState

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})


@pytest.fixture
def url(tmp_path):
    return f"journal:///{tmp_path}/s.log"


def run_one(store, state=TrialState.COMPLETE, values=(0.2, 0.3), reason=""):
    trial = store.ask()
    reports = tuple(Report(trial.number, i, v, (v,)) for i, v in enumerate(values, start=1))
    for report in reports:
        store.report(report)
    record = TrialRecord(trial, state, reports, reason, max_steps=3, started=1.0, ended=2.0)
    store.tell(record)
    return record


def of_optuna(store):
    return store.study.get_trials(deepcopy=False)


def make_older(store):
    """Make a study one of version 0.3, whose intermediate values begin at 0."""
    store.set_attr(FIRST_STEP, 0)
    return TrialStore(store.name, SPACE, store.url)


def test_steps_count_from_1(url):
    store = TrialStore("s", SPACE, url)
    run_one(store)
    assert of_optuna(store)[0].intermediate_values == {1: 0.2, 2: 0.3}


def test_an_older_study_goes_on_as_it_began(url):
    store = make_older(TrialStore("s", SPACE, url))
    run_one(store)
    again = TrialStore("s", SPACE, url)
    run_one(again)
    assert [t.intermediate_values for t in of_optuna(again)] == [{0: 0.2, 1: 0.3}] * 2
    for record in (*StoredStudy("s", url).records(), *StoredStudy("s", url).outlines()):
        assert [report.step for report in record.reports] in ([1, 2], [2])


@pytest.mark.parametrize("older", [False, True])
def test_an_outline_has_the_steps_of_the_record(url, older):
    store = TrialStore("s", SPACE, url)
    store = make_older(store) if older else store
    run_one(store, values=(0.2, 0.9, 0.3))
    (outline,), (whole,) = store.outlines(), store.records()
    assert [report.step for report in outline.reports] == [2, 3]
    assert outline.best_report.step == whole.best_report.step == 2


def test_copied_and_added_trials_have_the_steps_of_their_new_study(url):
    old, new = make_older(TrialStore("old", SPACE, url)), TrialStore("new", SPACE, url)
    record = run_one(old, TrialState.PRUNED, reason="worse")
    copy_trials(old, new, dict)
    other = replace(record.trial, params={"x": 0.125})
    new.add([replace(record, trial=other, state=TrialState.COMPLETE, reason="")], "elsewhere")
    assert [t.intermediate_values for t in of_optuna(new)] == [{1: 0.2, 2: 0.3}] * 2
    assert of_optuna(new)[0].user_attrs["reason"] == "worse"


def test_a_study_of_another_program_counts_from_0(url):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="s", storage=TrialStore("t", SPACE, url)._backend)
    trial = study.ask()
    trial.report(0.5, 0)
    study.tell(trial, 0.5)
    (record,) = StoredStudy("s", url).records()
    assert [report.step for report in record.reports] == [1]


def test_the_reason_is_short_and_without_passwords(url):
    store = TrialStore("s", SPACE, url)
    run_one(store)
    long = "below\nthe median of mysql://me:secret@host/db " + "x" * 500
    run_one(store, TrialState.PRUNED, reason=long)
    run_one(store, TrialState.FAILED, (), reason="ValueError: no")
    complete, pruned, failed = (trial.user_attrs for trial in of_optuna(store))
    assert "reason" not in complete
    assert failed["reason"] == "ValueError: no"
    assert pruned["reason"].startswith("below the median of mysql://me:***@host/db xxx")
    assert len(pruned["reason"]) == 120
    assert store.records()[1].reason == long, "the whole of it is kept elsewhere"


def test_score_and_costs_have_names(url):
    store = TrialStore("s", SPACE, url, costs=("seconds",))
    store.name_metrics(["accuracy", "seconds"])
    again = TrialStore("s", SPACE, url, costs=("seconds",))
    assert again.study.metric_names == ["accuracy", "seconds"]
