"""The durable book of a study."""

import json
import math
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from hpo.exceptions import StorageError
from hpo.space import SearchSpace
from hpo.storage.open import open_storage
from hpo.storage.records import _unpack
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import study_names
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, TrialRecord, TrialState

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}, "k": [1, 2, 3]})


def storages(tmp_path):
    return {
        "memory": None,
        "sqlite": f"sqlite:///{tmp_path}/s.db",
        "journal": f"journal:///{tmp_path}/s.log",
    }


@pytest.fixture(params=["memory", "sqlite", "journal"])
def url(request, tmp_path):
    return storages(tmp_path)[request.param]


def run_one(store, state=TrialState.COMPLETE, values=(0.1, math.nan, 0.5), **kwargs):
    trial = store.ask()
    reports = tuple(
        Report(
            trial.number,
            i,
            v,
            (v, v / 3),
            {"train_loss": (0.1, v)},
            0.25,
            (i, i),
            (0.5, 0.5),
            ("train_loss",),
        )
        for i, v in enumerate(values, start=1)
    )
    for report in reports:
        store.report(report)
    record = TrialRecord(trial, state, reports, max_steps=3, started=1.5, ended=2.5, **kwargs)
    store.tell(record)
    return record


def text(record):
    return repr(record)  # nan equals nan as text


def test_records_come_back_as_they_were(url):
    store = TrialStore("s", SPACE, url, seed=4)
    told = [
        run_one(store),
        run_one(store, TrialState.PRUNED, reason="epoch 3: worse"),
        run_one(store, TrialState.PRUNED, (math.nan,), reason="diverged"),
        run_one(store, TrialState.FAILED, (), reason="ValueError: no", error="Traceback ..."),
    ]
    assert list(map(text, store.records())) == list(map(text, told))
    if url is not None:
        again = TrialStore("s", SPACE, url, seed=4)
        assert list(map(text, again.records())) == list(map(text, told))
        assert again.key == store.key


def test_reports_of_older_studies_are_read():
    """Kept in this order, and without the names of recorded figures."""
    kept = [2, 0.5, [0.4, 0.6], {"f1": [0.1, 0.2]}, 0.25, [1.0, 1.0], [0.5, 0.5]]
    assert _unpack(3, kept) == Report(
        3, 2, 0.5, (0.4, 0.6), {"f1": (0.1, 0.2)}, 0.25, (1.0, 1.0), (0.5, 0.5)
    )


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_running_trial_can_be_read_by_anyone(kind, tmp_path):
    """All of it, after each report: scores of the folds, metrics, times, how it is trained."""
    url = storages(tmp_path)[kind]
    store = TrialStore("s", SPACE, url, seed=4)
    trial = store.ask()
    other = StoredStudy("s", url)
    record = TrialRecord(trial, max_steps=3, started=1.5)
    store.begin(record)
    for step in (1, 2):
        fold_values, metrics = (0.25, math.nan), {"train_loss": (0.5, 0.1)}
        report = Report(trial.number, step, math.nan, fold_values, metrics, 0.25, (1, 1), (0, 0))
        store.report(report)
        record = replace(record, reports=(*record.reports, report))
        (read,) = other.records(running=True)
        assert text(read) == text(record)  # its seed too, which the reader cannot derive
    store.begin(replace(record, trained_by="process"))
    assert other.records(running=True)[0].trained_by == "process"
    assert other.records() == []


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_other_tools_are_shown_no_long_attributes(kind, tmp_path):
    store = TrialStore("s", SPACE, storages(tmp_path)[kind])
    store.set_attr("fingerprint", {"x": "y" * 1000})
    run_one(store)
    study = optuna.load_study(study_name="s", storage=open_storage(storages(tmp_path)[kind]))
    assert study.user_attrs == {}
    assert study.trials[0].user_attrs == {}


def older_study(url, n=2):
    """Make a study as version 0.2 stored it: all of a record in one user attribute."""
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    study.set_user_attr("hpo:space", SPACE.to_yaml())
    study.set_user_attr("hpo:key", "older")
    study.set_user_attr("hpo:fingerprint", {"a": 1})
    for number in range(n):
        trial = study.ask(SPACE.distributions)
        trial.set_user_attr("hpo:owner", "elsewhere/1/x")
        trial.report(0.25, 0)
        reports = [[1, 0.25, [0.0, 0.5], {"f1": [0.1, 0.2]}, 0.5, [1.0, 1.0], [0.5, 0.5]]]
        packed = {"state": "complete", "reason": "", "error": None, "max_steps": 1}
        trial.set_user_attr(
            "hpo:record", {**packed, "started": 1.0, "ended": 2.0, "reports": reports}
        )
        if number == 0:
            study.tell(trial, 0.25)
        else:
            trial.set_user_attr(
                "hpo:record", {**packed, "reason": "interrupted: Ctrl-C", "reports": reports}
            )
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study.trials


def test_a_study_of_version_0_2_is_read_and_gone_on_with(tmp_path):
    url = storages(tmp_path)["sqlite"]
    trials = older_study(url)
    store = TrialStore("s", SPACE, url)
    first, second = store.records()
    report = Report(0, 1, 0.25, (0.0, 0.5), {"f1": (0.1, 0.2)}, 0.5, (1.0, 1.0), (0.5, 0.5))
    assert first.reports == (report,)
    assert first.trial.params == trials[0].params
    assert (first.started, first.ended, first.trained_by) == (1.0, 2.0, "")
    assert (second.interrupted, second.reason) == (True, "Ctrl-C")
    assert store.key == "older"
    assert store.get_attr("fingerprint") == {"a": 1}
    store.set_attr("fingerprint", {"a": 2})
    assert StoredStudy("s", url).get_attr("fingerprint") == {"a": 2}
    run_one(store)
    assert [r.number for r in TrialStore("s", SPACE, url).records()] == [0, 1, 2]


def test_optuna_sees_the_same_states_and_steps(tmp_path):
    url = storages(tmp_path)["sqlite"]
    store = TrialStore("s", SPACE, url)
    run_one(store)
    run_one(store, TrialState.PRUNED, (0.2, 0.3), reason="worse")
    run_one(store, TrialState.FAILED, (), reason="no")
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert trials[0].value == 0.5
    assert sorted(trials[1].intermediate_values.items()) == [(1, 0.2), (2, 0.3)]


def test_enqueued_points_come_first_and_once(url):
    store = TrialStore("s", SPACE, url)
    store.enqueue([{"x": 0.5, "k": 2}, {"x": 0.25}])
    assert store.ask().params == {"x": 0.5, "k": 2}
    assert store.ask().params["x"] == 0.25
    store.enqueue([{"x": 0.5, "k": 2}])
    assert store.ask().params["x"] != 0.5


def test_a_finite_set_of_points_is_exhausted(url):
    store = TrialStore("s", SPACE, url)
    store.set_grid([{"x": 0.0, "k": 1}, {"x": 1.0, "k": 1}])
    assert not store.exhausted
    run_one(store)
    run_one(store)
    assert store.exhausted


DYING = """
    import os, sys
    from hpo.storage.trial_store import TrialStore
    from hpo.space import SearchSpace
    from hpo.trial import Report
    space = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}, "k": [1, 2, 3]})
    store = TrialStore("s", space, sys.argv[1])
    trial = store.ask()
    store.report(Report(trial.number, 1, 0.75, (0.75,)))
    print(trial.params["x"], flush=True)
    os._exit(9)
"""


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_trials_of_a_driver_that_died_are_closed_and_tried_again(kind, tmp_path, commands):
    url = storages(tmp_path)[kind]
    done = commands.python(DYING, url, folder=tmp_path)
    assert done.returncode == 9, done.stderr
    store = TrialStore("s", SPACE, url)
    (closed,) = store.fail_stale_trials()
    assert closed.interrupted
    assert closed.reason == "the process that ran it is gone"
    assert [r.value for r in closed.reports] == [0.75]
    assert store.fail_stale_trials() == []
    assert store.ask().params["x"] == float(done.stdout)
    assert [r.number for r in store.records()] == [0]


LATE = """
    import os, sys
    from hpo.storage.trial_store import TrialStore
    from hpo.space import SearchSpace
    from hpo.trial import Report, TrialRecord, TrialState
    space = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}, "k": [1, 2, 3]})
    store = TrialStore("s", space, sys.argv[1])
    trial = store.ask()
    report = Report(trial.number, 1, 0.75, (0.75,))
    store.report(report)
    store.study.tell = lambda *args, **kwargs: os._exit(9)
    reason = "" if sys.argv[2] == "complete" else "out of memory: tried to allocate 9 GiB"
    store.tell(
        TrialRecord(trial, TrialState(sys.argv[2]), (report,), reason, started=1.0, ended=2.0)
    )
"""


@pytest.mark.parametrize("state", ["complete", "pruned"])
def test_a_trial_that_ended_when_its_driver_died_is_closed_as_it_ended(state, tmp_path, commands):
    url = storages(tmp_path)["sqlite"]
    done = commands.python(LATE, url, state, folder=tmp_path)
    assert done.returncode == 9, done.stderr
    store = TrialStore("s", SPACE, url)
    assert store.records() == []
    (before,) = store.records(running=True)
    assert before.state == state
    (closed,) = store.fail_stale_trials()
    assert closed == before
    assert store.records() == [before]
    assert [r.value for r in closed.reports] == [0.75]
    assert store.fail_stale_trials() == []
    assert store.ask().number == 1  # nothing is tried again


def test_running_trials_of_a_live_driver_are_left_alone(tmp_path):
    url = storages(tmp_path)["sqlite"]
    one, two = TrialStore("s", SPACE, url), TrialStore("s", SPACE, url)
    trial = one.ask()
    owner = f"{os.uname().nodename}/{os.getppid()}/x"  # some other process that is alive
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute(
            "update trial_system_attributes set value_json=? where key='hpo:owner'",
            [json.dumps(owner)],
        )
    assert two.fail_stale_trials() == []
    assert two.sync_other_workers([]) == ([], 1)
    one.tell(TrialRecord(trial, TrialState.PRUNED, (), "x"))
    finished, running = two.sync_other_workers([])
    assert [r.number for r in finished] == [0]
    assert running == 0
    assert two.sync_other_workers([0]) == ([], 0)


def test_a_study_that_is_not_there(tmp_path):
    url = storages(tmp_path)["sqlite"]
    TrialStore("digits", SPACE, url)
    assert study_names(url) == ["digits"]
    with pytest.raises(StorageError, match=r"There is no study 'digit' in .* It has: digits\."):
        StoredStudy("digit", url)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "s.db").write_text("this is no database, it only looks like a file" * 100)
    with pytest.raises(StorageError, match="something else or damaged: move it away"):
        TrialStore("s", SPACE, f"sqlite:///{tmp_path}/s.db")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match="folder does not exist"):
        TrialStore("s", SPACE, f"sqlite:///{tmp_path}/nowhere/s.db")


def test_a_directory(tmp_path):
    with pytest.raises(StorageError, match="is a directory"):
        TrialStore("s", SPACE, f"sqlite:///{tmp_path}")


def test_a_password_is_not_shown():
    with pytest.raises(StorageError) as caught:
        TrialStore("s", SPACE, "postgresql+nosuch://me:secret@host/db")
    assert "secret" not in str(caught.value)
    assert "me:***@host/db" in str(caught.value)


def test_a_study_of_another_program_that_minimizes(tmp_path):
    url = storages(tmp_path)["sqlite"]
    optuna.create_study(study_name="s", storage=url)
    with pytest.raises(StorageError, match="has the objectives minimize, and this one maximize"):
        TrialStore("s", SPACE, url)


def test_a_url_without_a_driver():
    with pytest.raises(StorageError, match="cannot be used"):
        TrialStore("s", SPACE, "nosuchdb://host/db")


def test_a_locked_database(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/s.db"
    TrialStore("s", SPACE, url)
    monkeypatch.setattr("hpo.storage.open.LOCK_SECONDS", 0.1)
    store = TrialStore("s", SPACE, url)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("begin exclusive")
    with pytest.raises(StorageError, match="Another process holds it"):
        store.ask()
    other.execute("rollback")
    other.close()
    assert store.ask().number == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    store = TrialStore("s", SPACE, url)
    with store._study._storage._backend.engine.connect() as connection:
        raw = connection.connection.driver_connection
        pages = raw.execute("pragma page_count").fetchone()[0]
        raw.execute(f"pragma max_page_count={pages}")
    with pytest.raises(StorageError, match="The disk is full: free some space"):
        fill(store)


def fill(store):
    for i in range(200):
        store.set_attr(f"x{i}", "y" * 1000)
