"""What the command line does about faults: told before anything is created, tried again after."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

STUDY = """
from pathlib import Path

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo import Study, StudyData

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 3)).astype(Path("rows").read_text())
y = (X[:, 0] > 0).astype("int64")


class Net(nn.Linear):
    def forward(self, X):
        if len(X) < 32 and Path("bug").exists():
            raise ArithmeticError("few")
        return super().forward(X)


study = Study(
    name="net",
    estimator=NeuralNetClassifier(
        Net, module__in_features=3, module__out_features=2, criterion=nn.CrossEntropyLoss,
        max_epochs=2, batch_size=32, iterator_train__drop_last=True, train_split=None, verbose=0,
    ),
    data=StudyData(X=X, y=y),
    search_space={"lr": {"type": "float", "low": 0.01, "high": 0.1}},
    scoring=["accuracy", "roc_auc"],
    metric="roc_auc",
    cv=[(range(64), range(64, 90)), (range(26, 90), range(26))],
    n_trials=4,
    pruner="nop",
    tracker="null",
)
"""


@pytest.fixture
def file(own_folder: Path) -> str:
    path = own_folder / "net.py"
    path.write_text(STUDY)
    (own_folder / "rows").write_text("float32")
    return str(path)


@pytest.mark.parametrize("command", ["validate", "run"])
def test_data_that_the_net_cannot_take_are_told_of_and_nothing_is_created(
    hpo_command: Run,
    file: str,
    own_folder: Path,
    command: str,
) -> None:
    (own_folder / "rows").write_text("float64")
    code, _, err = hpo_command(command, file)
    assert code == 2
    assert err.startswith("error: NeuralNetClassifier cannot learn from these data")
    assert "X.astype('float32')" in err
    assert "Traceback" not in err
    assert not list(own_folder.glob("*.db*"))


def test_validate_tells_that_a_batch_was_tried(hpo_command: Run, file: str) -> None:
    code, out, _ = hpo_command("validate", file)
    assert code == 0
    assert "a batch of each fold was trained on and scored" in out


def test_failed_trials_are_tried_again_by_the_command_that_is_printed(
    hpo_command: Run, file: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.study.search.rehearse", lambda *args, **kwargs: [])
    bug = own_folder / "bug"
    bug.touch()  # which validation parts of 26 rows meet
    code, out, err = hpo_command("run", file)
    assert code == 1
    assert "All the 3 trials failed. 3 failed with: ArithmeticError: few" in err
    assert "--retry-failed" in err
    bug.unlink()
    code, out, err = hpo_command("run", file, "--n-trials", "4")
    assert err == ""
    assert "4 trials: 1 complete, 3 failed" in out
    (again,) = [line for line in out.splitlines() if "--retry-failed" in line]
    assert "Try the 3 failed trials again, once mended, with" in out
    code, out, _ = hpo_command(*shlex.split(again)[1:])
    assert code == 0
    assert "4 trials: 4 complete (and 3 interrupted)" in out
    assert "--retry-failed" not in out
    code, out, _ = hpo_command(*shlex.split(again)[1:])
    assert "complete already" in out


def test_the_scorer_can_be_chosen(hpo_command: Run, file: str) -> None:
    code, out, _ = hpo_command("run", file, "--scoring", "balanced_accuracy")
    assert code == 0
    assert "balanced_accuracy, 2 folds" in out
    code, _, err = hpo_command("run", file, "--scoring", "acuracy", "--fresh")
    assert code == 2
    assert "'acuracy'" in err
    code, _, err = hpo_command("run", file)
    assert code == 2
    assert "scoring: 'balanced_accuracy' -> ['accuracy', 'roc_auc']" in err
