"""The storage of plain SQL is Optuna's own, by Optuna's own tests of storages."""

from contextlib import suppress

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage, get_storage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState, create_trial

from hpo.storage._rdb import SQLStorage
from hpo.storage._rdb_finished import insert_finished
from hpo.storage.open import open_storage


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


class TestSQLStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, url):
        return get_storage(open_storage(url))


def test_optuna_reads_what_is_written(url):
    """And the other way round: trials of every state, with odd numbers among the values."""
    space = {
        "x": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
        "k": optuna.distributions.CategoricalDistribution(("a", None, 3)),
    }
    for storage in (SQLStorage(url), RDBStorage(url)):
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        for value in (0.5, float("inf"), float("-inf"), float("nan")):
            trial = study.ask(space)
            trial.set_user_attr("note", {"a": [1, None]})
            trial.report(value, 0)
            trial.report(1.0, 1)
            storage.set_trial_intermediate_value(trial._trial_id, 1, value)
            if value == 0.5:
                study.tell(trial, value)
        study.enqueue_trial({"x": 0.1})
    ours, theirs = (
        optuna.load_study(storage=storage(url), study_name="s").trials
        for storage in (SQLStorage, RDBStorage)
    )
    assert repr(ours) == repr(theirs)
    assert len(ours) == 9  # the second driver took the waiting one of the first
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        SQLStorage(url).set_trial_user_attr(ours[0]._trial_id, "late", 1)
    with pytest.raises(ValueError, match="distribution"):
        SQLStorage(url).set_trial_param(
            ours[1]._trial_id, "x", 1.0, optuna.distributions.IntDistribution(0, 1)
        )


def test_own_trials_that_have_ended_are_known_as_others_read_them(url):
    storage = get_storage(SQLStorage(url))
    study = optuna.create_study(storage=storage, study_name="s", directions=["minimize"] * 2)
    space = {"k": optuna.distributions.CategoricalDistribution(("a", None, 3))}
    for values in ([0.5, float("inf")], None, [1.0, 2.0]):
        trial = study.ask(space)
        trial.set_user_attr("note", {"a": (1, None)})
        trial.set_constraint("memory", 1.0)
        storage.set_trial_intermediate_value(trial._trial_id, 3, float("nan"))
        study.tell(trial, values, state=None if values else TrialState.PRUNED)
    theirs = optuna.load_study(storage=RDBStorage(url), study_name="s")
    assert repr(study.trials) == repr(theirs.trials)
    assert not storage._backend._cached_trials  # they were handed over


def test_what_is_written_together_is_there_when_the_block_ends(url):
    storage = SQLStorage(url)
    study = optuna.create_study(storage=storage, study_name="s")
    asked = study.ask()

    def seen_by_another():
        return optuna.load_study(storage=RDBStorage(url), study_name="s").trials[0]

    with storage.together():
        asked.suggest_float("x", 0.0, 1.0)
        asked.set_user_attr("first", 1)
        storage.set_intermediate_values(asked._trial_id, {0: 0.5})
        assert not seen_by_another().params
        assert study.trials[0].params == asked.params
        assert study.trials[0].user_attrs == {"first": 1}
    assert seen_by_another().params == asked.params
    with suppress(ZeroDivisionError), storage.together():
        asked.set_user_attr("second", 2)
        _ = 1 / 0
    assert seen_by_another().user_attrs == {"first": 1, "second": 2}
    with storage.together():
        asked.set_user_attr("third", 3)
        asked.set_user_attr("third", 4)  # in place of what waits
        study.tell(asked, 1.0)
        ended = seen_by_another()
        assert (ended.user_attrs["third"], ended.value) == (4, 1.0)


def test_of_two_who_end_a_trial_the_first_has_it(url):
    study = optuna.create_study(storage=SQLStorage(url), study_name="s")
    asked = study.ask()
    optuna.load_study(storage=SQLStorage(url), study_name="s").tell(0, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.tell(asked, 2.0)
    assert [trial.value for trial in study.trials] == [1.0]


def test_trials_of_several_drivers_are_numbered_in_turn(url):
    studies = [
        optuna.create_study(storage=storage(url), study_name="s", load_if_exists=True)
        for storage in (SQLStorage, SQLStorage, RDBStorage)
    ]
    assert [study.ask().number for study in studies * 2] == list(range(6))


def test_who_cannot_begin_a_trial_tries_again_as_optuna_does(url, monkeypatch):
    def deadlock(*_):
        raise sqlalchemy.exc.OperationalError("INSERT", {}, Exception("deadlock detected"))

    monkeypatch.setattr(SQLStorage, "_begin", deadlock)
    study = optuna.create_study(storage=SQLStorage(url))
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
    assert study.tell(trial, 1.0).number == 0


def _ended(x, state=TrialState.COMPLETE, **facts):
    params = {"x": x, "kind": "b"}
    distributions = {
        "x": optuna.distributions.FloatDistribution(-1.0, 1.0),
        "kind": optuna.distributions.CategoricalDistribution(["a", "b"]),
    }
    return create_trial(state=state, params=params, distributions=distributions, **facts)


def test_finished_trials_are_written_as_optuna_writes_them(url):
    steps = {0: 0.5, 1: float("nan"), 2: float("inf")}
    trials = [
        _ended(0.5, value=0.25, intermediate_values=steps, user_attrs={"a": [1, {"b": None}]}),
        _ended(-0.5, value=float("inf")),
        _ended(0.1, TrialState.PRUNED, intermediate_values=steps, constraints={"memory": 1.0}),
        _ended(0.2, TrialState.FAIL),
    ]
    theirs = optuna.create_study(storage=url, study_name="theirs")
    ours = optuna.create_study(storage=url, study_name="ours")
    before = _ended(0.0, value=1.0)
    for study in (theirs, ours):
        study.add_trial(before)
    theirs.add_trials(trials)
    insert_finished(open_storage(url), ours._study_id, trials)
    read = [optuna.load_study(storage=url, study_name=name).trials for name in ("theirs", "ours")]
    told = [[_told(trial) for trial in found] for found in read]
    assert told[0] == told[1]
    assert [trial.number for trial in read[1]] == [0, 1, 2, 3, 4]


def _told(trial):
    return repr(
        [
            (trial.number, trial.state, trial.values, trial.params, trial.distributions),
            (trial.user_attrs, trial.system_attrs, trial.intermediate_values),
            (trial.datetime_start, trial.datetime_complete),
        ]
    )


def test_of_finished_trials_all_are_written_or_none(url):
    study = optuna.create_study(storage=url)
    trials = [_ended(0.5, value=0.25), _ended(0.1, value=0.5, user_attrs={"a": object})]
    with pytest.raises(TypeError):
        insert_finished(open_storage(url), study._study_id, trials)
    assert optuna.load_study(storage=url, study_name=study.study_name).trials == []
