"""`run_study` shows its progress in a terminal and in a notebook, and nowhere else."""

import io
import sys
from types import ModuleType

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier

from hpo import Study, StudyData, run_study
from hpo.display.choose import display_for
from hpo.display.displays import LiveDisplay, PlainDisplay
from hpo.display.notebook import NotebookDisplay
from hpo.exceptions import StudyError
from hpo.testing.observers import ObserverConformance, tell_study

X, y = load_iris(return_X_y=True)


@pytest.fixture
def study():
    return Study(
        name="linear",
        estimator=SGDClassifier(random_state=0),
        data=StudyData(X=X, y=y),
        search_space={"alpha": [1e-4, 1e-2]},
        cv=2,
        epochs=2,
        storage=None,
        pruner="nop",
        tracker="null",
        refit=False,
    )


@pytest.fixture
def notebook(monkeypatch):
    """Return the pictures that a notebook is shown, in their order."""
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(picture._repr_html_())

    def display(picture, *, display_id):
        assert display_id is True
        shown.append(picture._repr_html_())
        return Handle()

    class ZMQInteractiveShell:
        pass

    fake = ModuleType("IPython")
    fake.get_ipython = ZMQInteractiveShell
    fake.display = ModuleType("IPython.display")
    fake.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", fake)
    return shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestNotebookDisplayIsAnObserver(ObserverConformance):
    @pytest.fixture
    def observer(self, notebook):
        return NotebookDisplay()


def test_nothing_is_printed_where_nobody_looks(study, capfd):
    run_study(study)
    assert capfd.readouterr() == ("", "")


def test_lines_and_epochs_on_request(study, capsys):
    run_study(study, progress="lines")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("linear, 2 trials: ")
    assert [line.split()[1] for line in lines[1:]] == ["0", "1"]
    run_study(study, verbose=2)
    assert "trial 1, epoch 2 of 2: " in capsys.readouterr().out
    run_study(study, progress="lines", verbose=0)
    assert capsys.readouterr().out == ""


def test_a_terminal_has_the_live_display(study, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert isinstance(display_for("auto"), LiveDisplay)
    assert display_for("auto", 0) is None
    result = run_study(study)
    text = sys.stdout.getvalue()
    assert result.n_complete == 2
    assert text.endswith("\x1b[?25h") or "\x1b[?25h" in text


def test_a_notebook_has_one_output_that_is_updated(study, notebook, capsys):
    run_study(study)
    assert capsys.readouterr().out == ""
    assert "2 of 2 trials" in notebook[-1]
    assert "the study is complete" in notebook[-1]
    assert notebook[-1].startswith("<pre")
    n = len(notebook)
    run_study(study, verbose=0)
    assert len(notebook) == n


def test_what_comes_from_elsewhere_is_text_in_a_notebook(study, notebook):
    name = "a <script> & more"
    display = NotebookDisplay()
    tell_study(display)
    info = display._info
    object.__setattr__(info, "name", name)
    display._show(now=True)
    assert "<script>" not in notebook[-1]
    assert "&lt;script&gt;" in notebook[-1]


def test_without_a_terminal_live_is_lines(capsys):
    assert isinstance(display_for("live"), PlainDisplay)
    assert display_for("none") is None
    assert display_for("auto") is None


def test_a_wrong_name_is_told_before_anything(study):
    with pytest.raises(StudyError, match="progress must be one of 'auto', 'live', 'lines', 'none'"):
        run_study(study, progress="yes")
