"""A real tracking server, on loopback: dead at first, then up."""

import json
import math
import shutil
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from _mlflow_server import MlflowServer
from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier

from hpo.cli._ui import serve
from hpo.storage.study_facts import StudyRecord, end_session
from hpo.study.model_files import write_model
from hpo.testing.trackers import INFO, add_trial, follow, new_store
from hpo.trackers import Following, TrialChange, all_orders, catch_up, pages_of
from hpo.trackers.mlflow import MlflowTracker, RunIds, parent_run, study_url
from hpo.trial import Report, Trial, TrialRecord, TrialState

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(empty_store, tmp_path_factory):
    database = tmp_path_factory.mktemp("server") / "mlflow.db"
    shutil.copy(empty_store, database)
    server = MlflowServer(database)
    yield server
    server.stop()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("cache")
def test_dead_then_up(server, read, tmp_path):
    kept = new_store(tmp_path)
    following = Following(MlflowTracker(server.uri), kept)
    following.start()
    for values in ((0.5, math.nan, math.inf, 0.5), (0.75,)):
        add_trial(kept, values)
    add_trial(kept, (), TrialState.FAILED, reason="no", error="Traceback")
    end_session(kept, {"best_score": 0.75}, {}, {}, "interrupted")
    message = following.finish(timeout=1000)  # it gives up by itself, long before
    assert f"has not reached {server.uri}: " in message
    assert "`hpo sync` sends it" in message
    (order,) = all_orders()
    assert order.key == kept.key

    server.start()
    outcome = catch_up(order)
    assert (outcome.trials, outcome.reports, outcome.complete) == (3, 5, True)
    assert list(all_orders()) == []
    found = read(server.uri)
    trials = found.trials(INFO.name)
    assert [t.info.status for t in trials.values()] == ["FINISHED", "FINISHED", "FAILED"]
    largest = 1.7976931348623157e308  # what MLflow's databases make of infinity
    steps = [(1, 0.5), (2, "nan"), (3, largest), (4, 0.5)]
    assert found.history(trials[0], "score") == steps
    assert found.text(trials[2], "error.txt") == "Traceback"
    assert found.artifacts(found.parent(INFO.name)) == ["study.py"]
    assert found.parent(INFO.name).info.status == "KILLED"


def test_a_race_between_machines_leaves_one_run(server, read, tmp_path):
    """Both have looked before either of them makes the run."""
    server.start()
    study = StudyRecord("race", "race", drivers=frozenset({"elsewhere/1/a"}), state="running")
    record = TrialRecord(Trial(0, {"lr": 0.1}, 0), TrialState.COMPLETE, started=1.0, ended=2.0)
    record = replace(record, reports=(Report(0, 1, 0.5, time=1.5), Report(0, 2, 0.75, time=1.8)))
    change = TrialChange(record, "2 complete")
    machines = [MlflowTracker(server.uri), MlflowTracker(server.uri)]
    for machine in machines:
        assert machine.open(study).trials == {}
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(machine.write_trials, [change]) for machine in machines]
    for machine, future in zip(machines, done, strict=True):
        if future.exception() is not None:  # its run was deleted: it starts anew
            written = machine.open(study).trials
            assert list(written) == [0]
            machine.write_trials([change])
        assert machine.open(study).trials == {0: change.mark}
    found = read(server.uri)
    assert found.history(found.trials("race")[0], "score") == [(1, 0.5), (2, 0.75)]


def test_the_interface_is_up(server, read):
    server.start()
    url = study_url(server.uri, RunIds("1", "abc"))
    assert url == f"{server.uri}/#/experiments/1/runs/abc?workflowType=machine_learning"
    with urllib.request.urlopen(server.uri, timeout=5) as page:
        assert "MLflow" in page.read().decode()


@pytest.mark.usefixtures("cache")
def test_a_server_has_the_model_and_the_address_of_the_trials(server, read, tmp_path, capsys):
    server.start()
    kept = new_store(tmp_path, "told")
    add_trial(kept)
    X, y = make_classification(random_state=0)
    (tmp_path / "model").mkdir()
    files = write_model(SGDClassifier().fit(X, y), X[:5], 0, tmp_path / "model")
    end_session(kept, {"best_score": 0.75}, {"best_trial": 0}, files, "complete")
    for _ in range(2):
        assert follow(MlflowTracker(server.uri, register="told"), kept).complete
    client = read(server.uri).client
    (version,) = client.search_model_versions("name = 'told'")
    assert version.source.startswith("models:/m-")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert (model.name, model.tags["best_trial"]) == ("winner", "0")
    names = {item.path for item in client.list_logged_model_artifacts(model.model_id)}
    assert {"MLmodel", "requirements.txt", "input_example.json", "code", "data"} <= names

    (page,) = pages_of(kept.name, kept.key)
    experiment = read(server.uri).client.get_experiment_by_name("told")
    assert page.startswith(f"{server.uri}/#/experiments/{experiment.experiment_id}/runs?")
    assert page.endswith(f"&viewStateShareKey=hpo-{kept.key}")
    assert f"mlflow.sharedViewState.hpo-{kept.key}" in experiment.tags
    assert parent_run(server.uri, kept.key).view == f"hpo-{kept.key}"
    assert pages_of(kept.name, "another") == []
    assert serve(server.uri, 5000, "told", str(kept.url)) == 0
    trials, study = capsys.readouterr().out.splitlines()[-2:]
    assert trials.split() == ["trials", page]
    assert study.split()[0] == "study"
    assert f"/runs/{parent_run(server.uri, kept.key).run_id}?" in study
    assert serve(server.uri, 5000, "told", str(kept.url), as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trials_page"] == page
    assert told["study_page"] == study.split()[1]
