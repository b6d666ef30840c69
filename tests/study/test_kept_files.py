"""What becomes of the files that callbacks of a study's trials write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo._scratch import _root, new_folder
from hpo.observer import BaseObserver
from hpo.study.kept_files import KeptFiles
from hpo.testing.pruners import scripted_record
from hpo.trial import TrialState

pytestmark = pytest.mark.slow

X, Y = load_iris(return_X_y=True)
X, Y = X.astype("float32")[::2], Y.astype("int64")[::2]


class Seeded(nn.Linear):
    """The same weights to begin with, wherever it is made."""

    def __init__(self):
        torch.manual_seed(3)
        super().__init__(4, 3)


class Fatal(Callback):
    """Ends the process, or raises, in the second epoch of a trial with that rate."""

    def __init__(self, rate, how):
        self.rate = rate
        self.how = how

    def on_epoch_end(self, net, **kwargs):
        if net.lr == self.rate and len(net.history) == 2:
            if self.how == "raise":
                raise ZeroDivisionError
            os.kill(os.getpid(), signal.SIGKILL)


def net(*callbacks):
    return NeuralNetClassifier(
        Seeded,
        criterion=nn.CrossEntropyLoss,
        max_epochs=3,
        batch_size=25,
        train_split=None,
        verbose=0,
        callbacks=[
            ("keep", Checkpoint("train_loss_best", dirname="kept", f_criterion=None)),
            *callbacks,
        ],
    )


def study(tmp_path, **settings):
    known = {
        "name": "files",
        "estimator": net(),
        "data": StudyData(X=X, y=Y, X_test=X, y_test=Y),
        "search_space": {"lr": [0.0001, 0.02, 0.002]},
        "scoring": "neg_log_loss",
        "sampler": "grid",
        "pruner": "nop",
        "n_trials": None,
        "cv": 2,
        "storage": f"journal:///{tmp_path}/hpo.journal",
        "tracker": "null",
        "analyses": (),
    }
    return Study(**{**known, **settings})


ONE_TRIAL = [f"fold_{i}/kept/{name}" for i in (0, 1) for name in ("history.json", "optimizer.pt")]
ONE_TRIAL = sorted([*ONE_TRIAL, "fold_0/kept/params.pt", "fold_1/kept/params.pt"])


def files_in(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return the user's current folder; what is kept lies in a cache of the test's own."""
    here = tmp_path / "user"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    return here


@pytest.fixture(autouse=True)
def no_litter():
    """Check that a study leaves nothing among the temporary files but what it keeps."""
    before = set(_root(os.getpid()).iterdir())
    yield
    left = [path for path in set(_root(os.getpid()).iterdir()) - before if any(path.rglob("*"))]
    kept = ("trial_", "out_of_fold")
    assert all(sub.name.startswith(kept) for path in left for sub in path.iterdir())


class Keeper(BaseObserver):
    """Remembers what it is given to keep."""

    keeps_artifacts = True

    def on_study_end(self, metrics, params, artifacts, *, state="complete"):
        self.names = [name for name in artifacts if name.startswith("files/")]


def test_the_winners_files_are_kept_and_the_refit_writes_where_the_user_says(
    tmp_path, folder, monkeypatch
):
    monkeypatch.setattr("hpo.study.artifacts._report", lambda *args: {})
    tracker = Keeper()
    result = run_study(study(tmp_path), observers=[tracker])
    number = result.best_record.number
    assert result.best_params == {"lr": 0.02}
    assert list(result.files) == [number]
    assert result.files[number].is_relative_to(tmp_path / "cache")
    assert files_in(result.files[number]) == ONE_TRIAL
    assert files_in(folder / "kept") == ["history.json", "optimizer.pt", "params.pt"]
    assert sorted(tracker.names) == [f"files/trial_{number}/{name}" for name in ONE_TRIAL]
    loaded = load_result("files", f"journal:///{tmp_path}/hpo.journal")
    assert loaded.files == result.files
    weights = [
        torch.load(result.files[number] / f"fold_{i}/kept/params.pt")["weight"] for i in (0, 1)
    ]
    refitted = torch.load(folder / "kept" / "params.pt")["weight"]
    assert not torch.equal(*weights)
    assert not any(torch.equal(refitted, weight) for weight in weights)


def test_a_better_trial_of_a_later_run_takes_the_place(tmp_path):
    settings = {"sampler": "random", "search_space": {"lr": [0.0001, 0.02, 0.002]}, "name": "more"}
    one = run_study(study(tmp_path, n_trials=1, enqueue=[{"lr": 0.0001}], **settings))
    assert list(one.files) == [0]
    two = run_study(study(tmp_path, n_trials=2, enqueue=[{"lr": 0.0001}, {"lr": 0.02}], **settings))
    assert list(two.files) == [1]
    assert not one.files[0].exists()
    again = run_study(
        study(
            tmp_path, n_trials=3, enqueue=[{"lr": 0.0001}, {"lr": 0.02}, {"lr": 0.002}], **settings
        )
    )
    assert again.files == two.files
    assert files_in(again.files[1]) == ONE_TRIAL


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_all_are_kept_if_asked_for(executor, tmp_path):
    pruner = "median:n_startup_trials=1,n_warmup_steps=0"
    result = run_study(
        study(
            tmp_path,
            keep="all",
            pruner=pruner,
            executor=executor,
            n_jobs=2 if executor == "process" else None,
            search_space={"lr": [0.02, 0.0001, 0.002]},
        )
    )
    assert result.n_pruned > 0 or executor == "process"
    assert list(result.files) == [0, 1, 2]
    assert all(files_in(path) == ONE_TRIAL for path in result.files.values())


@pytest.mark.parametrize("executor", ["process", "fused"])
def test_wherever_trials_are_trained(executor, tmp_path, folder):
    here = run_study(study(tmp_path))
    result = run_study(study(tmp_path, name="elsewhere", executor=executor, n_jobs=2))
    scores = {tuple(r.trial.params.items()): r.reports[-1].fold_values for r in here.records}
    for record in result.records:
        assert record.reports[-1].fold_values == scores[tuple(record.trial.params.items())]
    (number,) = result.files
    assert result.records[number].trial.params == {"lr": 0.02}
    assert files_in(result.files[number]) == ONE_TRIAL
    assert sorted(path.name for path in folder.iterdir()) == ["kept"]


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_what_failed_leaves_nothing(how, tmp_path):
    settings = {"executor": "process", "n_jobs": 1} if how == "kill" else {}
    result = run_study(
        study(tmp_path, estimator=net(("fatal", Fatal(0.02, how))), refit=False, **settings)
    )
    assert (result.n_failed, result.n_complete) == (1, 2)
    assert list(result.files) == [result.best_record.number]


def test_a_search_keeps_them_too(tmp_path, folder):
    def worst(table):
        return int(np.argmax(table["rank_test_score"]))

    space = {"lr": [0.0001, 0.02, 0.002]}
    known = {"sampler": "grid", "pruner": "nop", "n_trials": None, "cv": 2}
    known["scoring"] = "neg_log_loss"
    for settings, expected in (
        ({}, [1]),
        ({"refit": worst}, [0]),
        ({"keep": "all", "refit": False}, [0, 1, 2]),
    ):
        search = HPOSearchCV(net(), space, **{**known, **settings}).fit(X, Y)
        assert list(search.result_.files) == expected
        assert all(files_in(path) == ONE_TRIAL for path in search.result_.files.values())
    with pytest.raises(ValueError, match="'keep' parameter of HPOSearchCV must be a str among"):
        HPOSearchCV(net(), space, keep="none").fit(X, Y)


def test_without_a_refit_the_users_folder_is_not_touched(tmp_path, folder):
    run_study(study(tmp_path, refit=False))
    run_study(study(tmp_path).smoke())
    assert list(folder.iterdir()) == []
    run_study(study(tmp_path, name="analysed", analyses=["ensemble:k=2"], refit=True))
    weights = torch.load(folder / "kept" / "params.pt")["weight"]
    run_study(study(tmp_path, name="plain", analyses=()))
    assert torch.equal(weights, torch.load(folder / "kept" / "params.pt")["weight"])


def test_of_two_drivers_each_leaves_the_others_files_alone(tmp_path):
    mine, others = KeptFiles("key", "winner"), KeptFiles("key", "winner")
    for kept, number, value in ((mine, 0, 0.5), (others, 1, 0.6), (mine, 2, 0.4)):
        path = kept.home / f"trial_{number}" / "fold_0" / "log.csv"
        path.parent.mkdir(parents=True)
        path.touch()
        kept.on_trial_end(scripted_record(number, [value], TrialState.COMPLETE))
    assert list(mine.finalize({0, 2}, 0)) == [0]
    assert list(others.finalize({0, 1}, 1)) == [1]
    assert [path.name for path in (tmp_path / "cache" / "files" / "key").iterdir()] == ["trial_1"]
    assert mine.close() == others.close() == ""


def test_a_cache_that_cannot_be_written_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "file"))
    result = run_study(study(tmp_path, refit=False))
    assert result.files == {}
    assert any("could not be kept" in note for note in result.notes)


DYING = """
import os, signal, sys
from hpo._scratch import new_folder
folder = new_folder()
(folder / "left.txt").touch()
print(folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_nothing_for_long(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", DYING], env=env, capture_output=True, text=True, check=False
    )
    left = Path(done.stdout.strip())
    assert (left / "left.txt").exists()
    looks = "from hpo._scratch import new_folder; print(new_folder())"
    again = subprocess.run(
        [sys.executable, "-c", looks], env=env, capture_output=True, text=True, check=True
    )
    assert not left.exists()
    assert not Path(again.stdout.strip()).exists()  # it went with its process
    assert list(tmp_path.glob("hpo-files-*")) == []


def test_a_living_process_keeps_its_own(tmp_path):
    mine = new_folder()
    env = {**os.environ, "TMPDIR": str(mine.parents[1])}
    looks = "from hpo._scratch import new_folder; new_folder()"
    subprocess.run([sys.executable, "-c", looks], env=env, check=True)
    assert mine.is_dir()
