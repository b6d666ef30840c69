"""``hpo run`` and ``hpo show`` say where the files are that callbacks of trials wrote."""

from collections.abc import Callable
from pathlib import Path

from hpo.study import load_result

STUDY = """
import numpy as np
import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import TrainEndCheckpoint

from hpo import Study, StudyData

X = np.linspace(0, 1, 30, dtype="float32").reshape(-1, 1)
study = Study(
    name="written",
    estimator=NeuralNetRegressor(
        torch.nn.Linear,
        module__in_features=1,
        module__out_features=1,
        max_epochs=1,
        train_split=None,
        verbose=0,
        callbacks=[TrainEndCheckpoint(dirname="mine", f_optimizer=None)],
    ),
    data=StudyData(X=X, y=2 * X),
    search_space={"lr": [0.1, 0.2]},
    scoring="neg_mean_squared_error",
    sampler="grid",
    n_trials=None,
    cv=2,
    tracker="null",
)
"""


def test_the_folders_of_the_trials_are_told(
    hpo_command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    Path("written.py").write_text(STUDY)
    code, out, _ = hpo_command("run", "written.py")
    assert code == 0
    result = load_result("written", "journal:///hpo.journal")
    (number,) = result.files
    folder = str(result.files[number])
    told = f"files of trial {number} in"
    assert told in out
    assert folder in out.replace("\n", "").replace(" ", "")
    assert folder in hpo_command("show", "written")[1].replace("\n", "").replace(" ", "")
    assert (tmp_path / "mine" / "train_end_params.pt").exists()
    code, out, _ = hpo_command("run", "written.py", "--fresh", "--keep=all")
    assert code == 0
    assert "files of trial 0 in" in out
    assert "files of trial 1 in" in out
    assert len(load_result("written", "journal:///hpo.journal").files) == 2
    assert len(load_result("written@1", "journal:///hpo.journal").files) == 1
    code, _, told = hpo_command("run", "written.py", "--keep=none")
    assert (code, "Study's 'keep'" in told) == (2, True)
    code, out, _ = hpo_command("run", "written.py", "--smoke")
    assert code == 0
    assert "files of trial" not in out
