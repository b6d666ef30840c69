"""Parts of a user's own, from a file beside the study, far from the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpo import load_result

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

STUDY = """
from sklearn.linear_model import SGDClassifier
from sklearn.datasets import make_classification

from hpo import Study, StudyData

X, y = make_classification(150, random_state=0)
study = Study(
    name="own",
    estimator=SGDClassifier(random_state=0),
    data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:]),
    search_space={"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}},
    scoring="accuracy",
    cv=3,
    epochs=6,
    n_trials=6,
    tracker="null",
    @more@
)
"""
BY_NAME = {
    "--pruner": "parts:PlateauPruner:patience=2",
    "--sampler": "parts:OwnSampler",
    "--executor": "parts:OneStepExecutor:n=3",
    "--backend": "parts:SequentialBackend",
    "--tracker": "parts:CSVTracker:path=rows.csv",
    "--analysis": "parts:ClassCounts",
}
AS_OBJECTS = """
    pruner=parts.PlateauPruner(2),
    sampler=parts.OwnSampler(seed=3),
    executor=partial(parts.OneStepExecutor, n=3),
    backend=parts.SequentialBackend(),
    analyses=[parts.ClassCounts()],
""".strip()


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the parts and no study yet."""
    shutil.copy(HERE / "parts.py", tmp_path)
    return tmp_path


@pytest.fixture
def hpo(commands, folder):
    """Return a function that runs a command of hpo in the folder, and returns what it writes."""

    def run(*args, fails=False):
        command = commands.start(*args, folder=folder)
        assert (command.wait() != 0) == fails, command.text
        return command.text

    return run


def run(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_kind_of_part_by_name_on_the_command_line(folder, hpo):
    (folder / "study.py").write_text(STUDY.replace("@more@", ""))
    flags = [text for pair in BY_NAME.items() for text in pair]
    told = hpo("run", "study.py", *flags)
    assert "Predicted classes" in told
    ends = [row for row in (folder / "rows.csv").read_text().splitlines() if ",," in row]
    assert len(ends) == 6
    shown = hpo("show", "own")
    result = load_result("own", f"journal:///{folder}/hpo.journal")
    reasons = {record.reason for record in result.records}
    assert "no better score for 2 steps" in reasons
    assert "Predicted classes" in shown
    (folder / "parts.py").rename(folder / "moved.py")
    assert "parts:ClassCounts cannot be imported here" in hpo("show", "own")


def test_every_kind_of_part_as_an_object(folder, hpo):
    imports = "from functools import partial\n\nimport parts\n"
    (folder / "study.py").write_text(imports + STUDY.replace("@more@", AS_OBJECTS))
    told = hpo("run", "study.py")
    assert "Predicted classes" in told
    script = (
        "from study import study\nfrom hpo import run_study\nrun_study(study.replace(name='b'))"
    )
    (folder / "script.py").write_text(script)
    run(folder, "script")


def test_a_search_takes_them_too(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    from sklearn.datasets import make_classification
    from sklearn.linear_model import SGDClassifier

    from hpo import HPOSearchCV

    X, y = make_classification(100, random_state=0)
    space = {"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}}
    search = HPOSearchCV(
        SGDClassifier(random_state=0),
        space,
        n_trials=4,
        cv=2,
        epochs=5,
        pruner="parts:PlateauPruner:patience=2",
        sampler="parts:OwnSampler",
        executor="parts:OneStepExecutor",
        backend="parts:SequentialBackend",
    )
    assert len(search.fit(X, y).cv_results_["params"]) == 4
    sys.modules.pop("parts")


@pytest.mark.timeout(600)
def test_the_conformance_suites_run_over_them(folder):
    shutil.copy(HERE / "conformance.py", folder / "test_parts.py")
    run(folder, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_parts.py")


@pytest.mark.parametrize("flag", ["--pruner", "--sampler", "--executor", "--backend", "--tracker"])
def test_a_class_that_is_not_there_is_told_before_anything_is_made(folder, hpo, flag):
    (folder / "study.py").write_text(STUDY.replace("@more@", ""))
    told = hpo("run", "study.py", flag, "parts:Nothing", fails=True)
    assert "parts has no class 'Nothing'" in told
    assert not (folder / "hpo.journal").exists()
