"""How each trial was trained is kept, and told wherever a study is shown."""

import io

import pytest
from rich.console import Console
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo import Study, StudyData, load_result, run_study
from hpo._trained_by import format_reasons
from hpo.cli._command import Command
from hpo.cli._show import show_study
from hpo.cli._summary import RunSummary
from hpo.display.displays import PlainDisplay
from hpo.review import write_report
from hpo.testing.backends import Recorder

X, y = load_iris(return_X_y=True)
WHY = "the net has the callback 'own' (OwnCallback), which the fused loop does not call"


class OwnCallback(Callback):
    """A callback that no batch of nets can have."""


class Heard(Recorder):
    """What the trackers are told at the end."""

    def trial_trained_by(self, record):
        self.heard.append((record.trained_by, record.number))

    def on_study_end(self, metrics, params, artifacts, *, state="complete"):
        self.params = params


@pytest.fixture
def study(tmp_path):
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=2,
        verbose=0,
    )
    return Study(
        name="linear",
        estimator=net,
        data=StudyData(X=X.astype("float32"), y=y),
        search_space={"lr": {"type": "float", "low": 0.01, "high": 0.1}},
        scoring="accuracy",
        cv=2,
        n_trials=3,
        sampler="random",
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
        refit=False,
    )


@pytest.mark.parametrize(
    ("executor", "how"),
    [
        ("serial", "serial"),
        ("fused:compile=false", "fused (eager)"),
        ("fused:compile=false,precision=bfloat16", "fused (eager, bfloat16)"),
    ],
)
def test_it_is_kept(study, executor, how):
    heard = Heard()
    result = run_study(study.replace(executor=executor), observers=[heard])
    assert result.trained_by == {how: 3}
    assert [entry for entry in heard.heard if entry[0] == how] == [(how, i) for i in range(3)]
    assert heard.params["trained_by"] == f"3 {how}"
    kept = load_result("linear", study.storage)
    assert [(r.trained_by, r.trained_by_reason) for r in kept.records] == [(how, "")] * 3
    worker = "this process" if executor == "serial" else "batch"
    assert [r.worker.partition(",")[0] for r in kept.records] == [worker] * 3  # and its GPU


def test_a_refusal_is_told_everywhere(study, tmp_path, monkeypatch, capsys):
    """The line while it runs, the note at the end, ``hpo show``, the report."""
    net = study.estimator.set_params(callbacks=[("own", OwnCallback())])
    study = study.replace(estimator=net, executor="fused")
    stream = io.StringIO()
    display = PlainDisplay(stream)
    result = run_study(study, observers=[display])
    lines = stream.getvalue().splitlines()
    told = [line for line in lines if WHY in line]
    assert told == [f"trial 0 is trained by a worker process, because {WHY}"]
    assert lines.index(told[0]) < min(i for i, line in enumerate(lines) if "complete" in line)
    assert {r.trained_by_reason for r in result.records} == {WHY}
    assert {r.worker.partition(",")[0] for r in result.records} <= {"process 1", "process 2"}
    assert format_reasons(result.records) == [f"3 process, because {WHY}"]

    closing = io.StringIO()
    console = Console(file=closing, width=300)
    RunSummary(study, result, display.progress).print_summary(
        console, Command(("hpo",), ("run", "linear.py")), ""
    )
    said = closing.getvalue()
    assert "trained        3 process\n" in said
    assert said.count(WHY) == 1

    monkeypatch.setenv("COLUMNS", "300")
    show_study("linear", study.storage, None)
    shown = capsys.readouterr().out
    assert "3 process\n" in shown
    assert f"3 process, because {WHY}" in shown
    report = write_report(result, tmp_path)["report.html"]
    assert "3 process" in report.read_text()
