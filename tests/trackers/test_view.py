"""Addresses of studies in MLflow's pages, the views of their trials, and their descriptions."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from hpo.storage.study_facts import StudyRecord, end_session
from hpo.testing.trackers import INFO, add_trial, follow, new_store
from hpo.trackers.mlflow import MlflowTracker, RunIds, study_url, trials_url
from hpo.trackers.mlflow.note import study_note
from hpo.trackers.mlflow.view import filtered_views, saved_view
from hpo.trial import TrialState


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(**changes):
    fields = {
        "name": "digits",
        "key": "abc",
        "params": {"scoring": "accuracy", "n_folds": 5, "estimator": "Net"},
        "texts": {"digits.py": '"""Asks which net reads best.\n\nMore."""'},
        "metrics": {
            "best_score": 0.95964,
            "best_score_se": 0.0036,
            "corrected_score": 0.9546,
            "corrected_score_low": 0.9407,
            "corrected_score_high": 0.9658,
            "test_score": 0.9556,
            "n_complete": 6.0,
            "n_pruned": 6.0,
            "n_failed": 0.0,
            "epochs_saved_fraction": 0.44,
        },
        "results": {"best_trial": 9, "best_lr": 0.010197, "best_name": "a|b"},
        "searched": ("lr", "name"),
        "started": 2.0,
        "storage": "journal:////tmp/hpo.journal",
    }
    return StudyRecord(**{**fields, **changes})


def test_addresses_lead_to_the_pages_of_machine_learning():
    ids = RunIds("1", "run", "hpo-abc")
    for url, path in [
        (trials_url("http://host:5000/", ids), "/experiments/1/runs"),
        (study_url("http://host:5000", ids), "/experiments/1/runs/run"),
    ]:
        assert url.startswith("http://host:5000/#/")
        page = urlsplit(url.partition("#")[2])
        assert page.path == path
        assert parse_qs(page.query)["workflowType"] == ["machine_learning"]
    assert trials_url("", ids).endswith("&viewStateShareKey=hpo-abc")
    assert "orderByKey=metrics.%60best_score%60" in trials_url("", RunIds("1", "run"))
    assert "secret" not in trials_url("http://me:secret@host", ids)


def test_a_view_has_the_columns_of_its_study():
    key, text = saved_view(record())
    assert key == "mlflow.sharedViewState.hpo-abc"
    view = json.loads(text)
    assert (view["name"], view["createdAt"]) == ("digits: best trials first", 2000)
    state = json.loads(view["state"])
    assert state["orderByKey"] == "metrics.`best_score`"
    assert state["orderByAsc"] is False
    assert state["selectedColumns"][0] == "metrics.`best_score`"
    assert state["selectedColumns"][-2:] == ["params.`lr`", "params.`name`"]
    _, text = saved_view(record(searched=tuple("p" * 200 + str(i) for i in range(50))))
    assert len(text) < 5000


def test_views_of_several_studies_are_filtered():
    first, second = saved_view(record()), saved_view(record(key="def"))
    assert filtered_views(dict([first])) == dict([first])
    views = filtered_views({**dict([first, second]), "mlflow.note.content": "x"})
    states = [json.loads(json.loads(text)["state"]) for text in views.values()]
    assert [state["searchFilter"] for state in states] == [
        "tags.`hpo.study_key` = 'abc'",
        "tags.`hpo.study_key` = 'def'",
    ]
    assert filtered_views(views) == views


def test_a_description_says_what_was_asked_and_found():
    note = study_note(record(), "#/trial/{}".format, "#/trials")
    first, question = note.split("\n\n")[:2]
    assert question == "Asks which net reads best."
    winner, params, pruning = first.split("  \n")  # which MLflow shows before one unfolds the rest
    assert winner.startswith("**Winner: [trial 9](#/trial/9)**: accuracy 0.9596")
    assert params == "lr 0.0102, name a/b"
    assert pruning == "Pruning 6 trials saved 44% of the epochs."
    assert "accuracy 0.9596 ± 0.0036 in cross-validation, 0.9556 on the held-out test" in note
    assert "| corrected for the choice | 0.9546 (95 %: 0.9407 to 0.9658) |" in note
    assert "| trials | 12: 6 complete, 6 pruned |" in note
    assert "| pruning saved | 44% of the epochs |" in note
    assert "| `lr` | `0.0102` |" in note
    assert "| `name` | `a/b` |" in note
    assert "hpo run digits.py --storage journal:////tmp/hpo.journal" in note
    assert "export-model" not in note  # it has no model


def test_a_description_without_a_winner_or_a_file():
    texts = {"broken.py": "def"}
    note = study_note(record(state="running", results={}, metrics={}, texts=texts), str, "#/trials")
    assert note.startswith("Which parameters of `Net` give the best `accuracy`?")
    assert "The study is running: [its trials so far, best first](#/trials)" in note
    note = study_note(record(state="failed", results={}, metrics={}, storage=""), str, "#/trials")
    assert "The study is failed, and no trial has a score that counts." in note
    assert "```" not in note


def test_studies_of_a_name_share_an_experiment(store, read, folder):
    for name in ("digits", "digits@2"):
        (folder / name).mkdir()
        kept = new_store(folder / name, name)
        add_trial(kept)
        end_session(kept, {}, {}, {}, "complete")
        assert follow(MlflowTracker(store), kept).complete
    found = read(store)
    assert found.client.get_experiment_by_name("digits@2") is None
    experiment = found.client.get_experiment_by_name("digits")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    views = [key for key in experiment.tags if key.startswith("mlflow.sharedViewState.")]
    assert len(views) == 2
    parents = [r for r in found.runs("digits") if "mlflow.parentRunId" not in r.data.tags]
    assert {run.info.run_name for run in parents} == {"digits", "digits@2"}


def test_the_winner_has_a_tag_and_the_users_description_stays(store, read, folder):
    kept = new_store(folder)
    add_trial(kept, (0.25,))
    add_trial(kept, (0.5,), TrialState.PRUNED)
    for winner in (0, 2):
        end_session(kept, {"best_score": 0.5}, {"best_trial": winner}, {}, "complete")
        assert follow(MlflowTracker(store), kept).complete
        found = read(store)
        tagged = [n for n, r in found.trials(INFO.name).items() if "winner" in r.data.tags]
        assert tagged == [winner]
        parent = found.parent(INFO.name)
        run_id = found.trials(INFO.name)[winner].info.run_id
        assert f"[trial {winner}](#/experiments/" in parent.data.tags["mlflow.note.content"]
        assert run_id in parent.data.tags["mlflow.note.content"]
        assert parent.data.tags["best_trial"] == f"{winner}"
        add_trial(kept, (0.75,))
    found.client.set_tag(parent.info.run_id, "mlflow.note.content", "My own words.")
    end_session(kept, {"best_score": 0.75}, {"best_trial": 3}, {}, "complete")
    assert follow(MlflowTracker(store), kept).complete
    assert read(store).parent(INFO.name).data.tags["mlflow.note.content"] == "My own words."


def test_the_score_has_the_name_of_its_scorer_too(store, read, folder):
    from dataclasses import replace

    info = replace(
        INFO,
        params={**INFO.params, "scoring": "accuracy"},
        data={
            "name": "digits",
            "digest": "d" * 20,
            "n_samples": 4,
            "shape": [4, 2],
            "columns": [],
            "source": "",
        },
    )
    kept = new_store(folder, INFO.name, info)
    add_trial(kept, (0.25, 0.5))
    end_session(kept, {}, {}, {}, "complete")
    for _ in range(2):
        assert follow(MlflowTracker(store), kept).complete
    found = read(store)
    trial = found.trials(INFO.name)[0]
    assert (
        found.history(trial, "accuracy") == found.history(trial, "score") == [(1, 0.25), (2, 0.5)]
    )
    (given,) = found.parent(INFO.name).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("digits", "d" * 20)
    assert json.loads(given.dataset.profile)["shape"] == [4, 2]
