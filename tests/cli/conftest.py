from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpo.cli import app

STUDY = """
import time
from pathlib import Path

from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier

from hpo import Study, StudyData

X, y = make_classification(150, random_state=0)


class Patient(SGDClassifier):
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        if @seconds@:
            Path("training").touch()
            time.sleep(@seconds@)
        return super().partial_fit(X, y, classes=classes, sample_weight=sample_weight)


study = Study(
    name="tiny",
    estimator=Patient(random_state=0),
    data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:]),
    search_space={"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}},
    scoring="accuracy",
    cv=3,
    epochs=3,
    n_trials=6,
    pruner="median:n_startup_trials=2",
    baseline=False,
    tracker="null",
)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder, where storages and stores come to lie."""
    monkeypatch.chdir(tmp_path)
    for name in ("HPO_STORAGE", "MLFLOW_TRACKING_URI", "HPO_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the report that nobody keeps is most of a tiny study's time."""
    if "tracked" not in request.node.name:
        monkeypatch.setattr("hpo.study.artifacts._report", lambda *args: {})


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a study file, with changes, and returns its name."""

    def write(changes: dict[str, str] | None = None, seconds: float = 0.0) -> str:
        text = STUDY.replace("@seconds@", str(seconds))
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "tiny.py").write_text(text)
        return "tiny.py"

    return write


@pytest.fixture
def hpo_command() -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command and returns its exit code, output and errors."""

    def call(*args: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, args, prog_name="hpo", catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    return call
