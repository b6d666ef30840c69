"""Names, values and errors from elsewhere are shown as they are: no program obeys them."""

import csv
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from hpo._format import printable, single_line
from hpo.storage.open import open_storage
from hpo.trackers.mlflow import plan

EVIL = "\x1b[45mred\x1b]0;title\x07\x9b2J\u202ex\r$\\foo$<script>"
RAW = ["\x1b[45m", "\x1b]0;", "\x07", "\x9b", "\u202e", "\r$"]

STUDY = f"""
from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier

from hpo import Study, StudyData

EVIL = {EVIL!r}


class Evil(SGDClassifier):
    def __init__(self, what="y"):
        super().__init__(random_state=0)
        self.what = what

    def fit(self, X, y):
        if self.what.startswith("="):
            raise ValueError("no " + EVIL)
        return super().fit(X, y)


X, y = make_classification(60, random_state=0)
study = Study(
    name="evil",
    estimator=Evil(),
    data=StudyData(X=X, y=y),
    search_space={{"what": ["x" + EVIL, "=" + EVIL, "-1", "y"]}},
    sampler="grid",
    n_trials=4,
    cv=2,
    refit=False,
    tracker="null",
)
"""


def on_a_terminal(*args: str) -> str:
    """Run a command on a pseudo-terminal, and return what it prints."""
    command = ["script", "-qec", shlex.join([sys.executable, "-m", "hpo.cli", *args]), "/dev/null"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return (done.stdout + done.stderr).decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 👩‍🔬\n\tx", "plain é 日本 👩‍🔬\n\tx"),
        ("a\r\nb", "a\nb"),
        ("\x1b[2J\x9b\x00\x7f", "\\x1b[2J\\x9b\\x00\\x7f"),
        ("\u202eabc\u2066\ud800", "\\u202eabc\\u2066\\ud800"),
    ],
)
def test_only_control_characters_become_escapes(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert single_line(text) == " ".join(shown.split())


def test_commands_print_nothing_that_a_terminal_obeys(tmp_path: Path, commands):
    def hpo(*args: str) -> str:
        return commands.run(*args, folder=tmp_path, code=None)

    (tmp_path / "s.py").write_text(STUDY)
    printed = [hpo("run", "s.py")]
    store = open_storage("journal:///hpo.journal")
    optuna.create_study(storage=store, study_name=f"other{EVIL}", direction="maximize")
    printed += [
        hpo("show", "evil", "--plots", "report"),
        on_a_terminal("show", "evil"),
        hpo("list"),
        hpo("show", f"nothing{EVIL}"),
        hpo("validate", "s.py"),
        hpo("sync", f"nothing{EVIL}"),
    ]
    for text in printed:
        assert "\\x1b[45mred" in text
        assert [raw for raw in RAW if raw in text] == []

    report = (tmp_path / "report/report.html").read_text()
    assert "\\x1b[45mred" in report
    assert [raw for raw in [*RAW, "<script>"] if raw in report] == []
    text = (tmp_path / "report/trials.csv").read_bytes().decode()
    assert [raw for raw in RAW if raw in text] == []
    values = {row["params_what"] for row in csv.DictReader(text.splitlines())}
    assert "y" in values
    assert "-1" in values  # a number is no formula
    assert [value for value in values if value.startswith("=")] == []
    assert [value for value in values if value.startswith("'=\\x1b[45m")]


def test_mlflow_gets_no_control_characters():
    assert plan._text(f"x\0{EVIL}") == f"x{printable(EVIL)}"
