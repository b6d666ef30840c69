"""Many trials in one transaction: all of them or none, and at last each of them once."""

import math
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from hpo.storage.study_facts import StudyRecord
from hpo.trackers.mlflow import runs
from hpo.trackers.mlflow.api import MlflowApi
from hpo.trackers.mlflow.experiments import open_experiment
from hpo.trackers.mlflow.plan import RunPlan
from hpo.trackers.mlflow.runs import RunWriter
from hpo.trackers.mlflow.transaction import one_transaction

pytestmark = pytest.mark.slow

N_TRIALS = 8


def trial(number, **changes):
    plan = RunPlan(number, 1000, "1 complete", params={"lr": "0.1"}, tags={"state": "complete"})
    plan.metrics = [("score", value, 2000, step) for step, value in enumerate((0.5, math.nan))]
    plan.metrics += [("loss", 1.0, 2000, 0)]
    plan.status, plan.end = "FINISHED", 3000
    for name, value in changes.items():
        setattr(plan, name, value)
    return plan


def experiment(client):
    return open_experiment(client, StudyRecord("study", "key"))


def trials():
    return [trial(number) for number in range(N_TRIALS)]


class Client:
    """A client that fails, or does something else, when it ends a run for the n-th time."""

    def __init__(self, client, n=None, act=None):
        self._client, self._n, self._act = client, n, act

    def __getattr__(self, name):
        return getattr(self._client, name)

    def set_terminated(self, *args):
        self._client.set_terminated(*args)
        if self._n is not None:
            self._n -= 1
            if self._n == 0:
                self._act()


@pytest.fixture
def new_writer(store):
    """Returns a writer and counts its transactions; what it notes is in ``notes``."""

    def new_writer(n=None, act=None, shared=False):
        client = MlflowClient(store)
        together = one_transaction(client)
        counts = SimpleNamespace(n_transactions=0, notes=[])

        def counted():
            counts.n_transactions += 1
            return together()

        api = MlflowApi(Client(client, n, act), Metric, Param, RunTag, counted)
        writer = RunWriter(
            api,
            experiment(client),
            "study",
            "key",
            1000,
            note=counts.notes.append,
            failures={},
            shared=shared,
        )
        return writer, counts

    return new_writer


def assert_all_once(found):
    runs = found.trials("study")
    assert list(runs) == list(range(N_TRIALS))
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert run.info.end_time == 3000
        assert run.data.params == {"lr": "0.1"}
        assert run.data.tags["state"] == "complete"
        assert found.history(run, "score") == [(0, 0.5), (1, "nan")]
        assert found.history(run, "loss") == [(0, 1.0)]


def test_trials_share_a_transaction(new_writer, store, read, monkeypatch):
    monkeypatch.setattr(runs, "TRANSACTION_SECONDS", 60.0)
    seen = []
    path = store.removeprefix("sqlite:///")

    def look():
        other = sqlite3.connect(path, timeout=0.0)
        seen.extend(other.execute("select count(*) from runs").fetchone())
        other.close()

    writer, counts = new_writer(N_TRIALS, look)
    look()
    writer.write_all(trials())
    assert counts.n_transactions == 1
    assert seen[0] == seen[1], "another process saw a trial of a transaction that had not ended"
    assert_all_once(read(store))


def test_a_transaction_ends_in_time(new_writer, store, read, monkeypatch):
    monkeypatch.setattr(runs, "TRANSACTION_SECONDS", -1.0)
    writer, counts = new_writer()
    writer.write_all(trials())
    assert counts.n_transactions == N_TRIALS
    assert_all_once(read(store))


def test_a_transaction_that_fails_is_written_one_by_one(new_writer, store, read):
    def fail():
        raise ConnectionError("the store is away for a moment")

    writer, counts = new_writer(4, fail)
    writer.write_all(trials())
    assert counts.n_transactions == 1
    assert counts.notes == []
    assert_all_once(read(store))


def test_what_fails_for_good_is_raised(new_writer, monkeypatch):
    writer, _ = new_writer()

    def fail(*_, **__):
        raise ConnectionError("the store is away")

    monkeypatch.setattr(writer._client, "log_batch", fail, raising=False)
    with pytest.raises(ConnectionError):
        writer.write_all(trials())


def test_writing_twice_comes_to_the_same(new_writer, store, read):
    new_writer()[0].write_all(trials())
    again, counts = new_writer()
    longer = trials()
    for plan in longer:
        # One value that is new among those that are there.
        plan.metrics.append(("late", 2.0, 2000, 0))
    again.write_all(longer)
    assert counts.n_transactions >= 1
    assert again._together is not None, "values that are there already made a transaction fail"
    found = read(store)
    assert_all_once(found)
    assert [found.history(run, "late") for run in found.trials("study").values()] == [
        [(0, 2.0)]
    ] * N_TRIALS


def test_a_refusal_takes_back_no_more_than_itself(new_writer, store, read):
    writer, counts = new_writer()
    writer.write_all([trial(0)])
    changed = trial(0, params={"lr": "7", "new": "1"})
    writer.write_all([changed, *trials()[1:]])
    assert writer._together is not None
    (note,) = counts.notes
    assert "'lr'" in note
    runs = read(store).trials("study")
    assert list(runs) == list(range(N_TRIALS))
    assert runs[0].data.params == {"lr": "0.1", "new": "1"}


def test_what_is_no_small_trial_stands_alone(new_writer, store, read, monkeypatch):
    monkeypatch.setattr(runs, "TRANSACTION_SECONDS", 60.0)
    writer, counts = new_writer()
    plans = trials()
    plans[3].texts = {"error.txt": "no"}
    plans.insert(5, RunPlan(None, 1000, "mark", params_once={"seed": "0"}))
    writer.write_all(plans)
    assert counts.n_transactions == 3  # trials 0-2, 4, and 5-7
    found = read(store)
    assert_all_once(found)
    assert found.text(found.trials("study")[3], "error.txt") == "no"
    assert found.parent("study").data.params == {"seed": "0"}


def test_no_transaction_while_others_write_runs_of_the_study(new_writer, store, read):
    writer, counts = new_writer(shared=True)
    writer.write_all(trials())
    assert counts.n_transactions == 0
    assert_all_once(read(store))


KILLED = """
import os, sys
from pathlib import Path
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
sys.path.insert(0, sys.argv[2])
import test_transaction as here
from hpo.trackers.mlflow import runs
from hpo.trackers.mlflow.api import MlflowApi
from hpo.trackers.mlflow.transaction import one_transaction
client = MlflowClient(sys.argv[1])
dying = here.Client(client, int(sys.argv[3]), lambda: os._exit(9))
api = MlflowApi(dying, Metric, Param, RunTag, one_transaction(client))
runs.TRANSACTION_SECONDS = 60.0
writer = runs.RunWriter(api, here.experiment(client), "study", "key", 1000, note=print, failures={})
writer.write_all(here.trials())
"""


def test_killed_in_the_midst_of_a_transaction(new_writer, store, read, tmp_path):
    command = [sys.executable, "-c", KILLED, store, Path(__file__).parent, "5"]
    assert subprocess.run(command, check=False, cwd=tmp_path).returncode == 9
    assert read(store).trials("study") == {}
    new_writer()[0].write_all(trials())
    assert_all_once(read(store))


def test_the_installed_mlflow_has_what_a_transaction_needs(store):
    client = MlflowClient(store)
    own = client._tracking_client.store.ManagedSessionMaker
    together = one_transaction(client)
    assert together is not None
    n_sessions = 0
    with together():
        joined = client._tracking_client.store.ManagedSessionMaker

        def counted(*args, **kwargs):
            nonlocal n_sessions
            n_sessions += 1
            return joined(*args, **kwargs)

        client._tracking_client.store.ManagedSessionMaker = counted
        client.get_experiment("0")
    assert n_sessions == 1, "MLflow no longer asks its store's ManagedSessionMaker for sessions"
    assert client._tracking_client.store.ManagedSessionMaker is own


def test_nothing_is_locked_before_the_store_asks_for_a_session(store):
    """A store that found its sessions elsewhere would write as ever, not wait for us."""
    with one_transaction(MlflowClient(store))():
        other = sqlite3.connect(store.removeprefix("sqlite:///"), timeout=0.0)
        with other:
            other.execute("insert into experiment_tags values ('a', 'b', 0)")
        other.close()


def test_an_exception_leaves_nothing_and_the_store_as_it_was(store, read):
    client = MlflowClient(store)
    own = client._tracking_client.store.ManagedSessionMaker

    def half():
        with one_transaction(client)():
            client.create_experiment("gone")
            raise KeyError("half way")

    with pytest.raises(KeyError):
        half()
    assert client._tracking_client.store.ManagedSessionMaker is own
    assert client.get_experiment_by_name("gone") is None
    client.create_experiment("there")
    assert read(store).client.get_experiment_by_name("there") is not None


@pytest.mark.parametrize(
    "client",
    [
        object(),
        SimpleNamespace(_tracking_client=SimpleNamespace(store=object())),
        SimpleNamespace(
            _tracking_client=SimpleNamespace(
                store=SimpleNamespace(engine=SimpleNamespace(name="sqlite"))
            )
        ),
        SimpleNamespace(
            _tracking_client=SimpleNamespace(
                store=SimpleNamespace(
                    engine=SimpleNamespace(name="postgresql"), ManagedSessionMaker=dict
                )
            )
        ),
    ],
)
def test_other_stores_have_none(client):
    assert one_transaction(client) is None


def test_a_server_has_none():
    assert one_transaction(MlflowClient("http://127.0.0.1:1")) is None


def test_a_store_without_a_transaction_is_written_one_by_one(store, read):
    client = MlflowClient(store)
    api = MlflowApi(client, Metric, Param, RunTag)
    writer = RunWriter(api, experiment(client), "study", "key", 1000, note=print, failures={})
    writer.write_all(trials())
    assert_all_once(read(store))
