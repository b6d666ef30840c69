"""What callbacks write in Ray's workers, whose current folder is another one, maybe elsewhere."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, LoadInitState
from torch import nn

from hpo import HPOSearchCV
from hpo.study.kept_files import KeptFiles
from hpo.training import folders

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

X, Y = load_iris(return_X_y=True)
X, Y = X.astype("float32")[::2], Y.astype("int64")[::2]
NO_FOLDER = Path("/no/such/folder/here")


def net(**settings):
    def linear():
        torch.manual_seed(3)
        return nn.Linear(4, 3)

    checkpoint = Checkpoint("train_loss_best", load_best=True, dirname="kept")
    known = {
        "criterion": nn.CrossEntropyLoss,
        "max_epochs": 2,
        "train_split": None,
        "verbose": 0,
        "callbacks": [("keep", checkpoint), ("load", LoadInitState(checkpoint))],
    }
    return NeuralNetClassifier(linear, **{**known, **settings})


@pytest.mark.parametrize("far", [False, True])
def test_each_fold_has_files_of_its_own_and_the_winners_arrive(far, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net(lr=0.02).fit(X, Y)  # what the search starts from
    before = {path: path.read_bytes() for path in Path("kept").iterdir()}
    settings = {"sampler": "grid", "pruner": "nop", "n_trials": None, "cv": 2, "refit": False}
    space = {"lr": [0.0001, 0.02, 0.001]}
    here = HPOSearchCV(net(), space, **settings).fit(X, Y).result_
    if far:
        monkeypatch.setattr(KeptFiles, "begin", _on_another_machine(KeptFiles.begin))
        monkeypatch.setattr("hpo.backends.ray.driver.trial_folder", _here(tmp_path))
    found = HPOSearchCV(net(), space, backend="ray:max_concurrent=2", **settings).fit(X, Y).result_
    scores = {r.trial.params["lr"]: [x.fold_values for x in r.reports] for r in here.records}
    for record in found.records:
        assert [x.fold_values for x in record.reports] == scores[record.trial.params["lr"]]
    if far:
        folders = [tmp_path / "arrived" / f"trial_{number}" for number in range(3)]
    else:
        assert list(found.files) == [found.best_record.number]
        folders = list(found.files.values())
    for folder in folders:
        assert len([path for path in folder.rglob("fold_*/kept/*") if path.is_file()]) == 8
    assert {path: path.read_bytes() for path in Path("kept").iterdir()} == before


def _on_another_machine(begin):
    """Return what has trials told of a folder that is not on this machine."""

    def begun(self, records):
        begin(self, records)
        self.home = NO_FOLDER

    return begun


def _here(tmp_path):
    def trial_folder(home, number):
        assert home == NO_FOLDER
        return folders.trial_folder(tmp_path / "arrived", number)

    return trial_folder
