"""The README is one page that convinces; tests/docs runs its examples, as those of every page."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.testing.pruners import PrunerConformance

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text()
VENV = "python3 -m venv .venv && .venv/bin/pip install -e "
COMMANDS = [
    f"{VENV}. && .venv/bin/hpo run studies/digits_mlp.py",
    f'{VENV}".[test]" && .venv/bin/python -m pytest -n 2 --dist loadfile',
]
PICTURE_BYTES = 150_000


def section(text, title):
    """Return what stands under a heading of the second level."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[
        1
    ]


def test_it_is_one_page():
    assert 120 <= len(README.splitlines()) <= 160


def test_the_order_is_that_of_a_reader():
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "Two commands",
        "Ten lines of Python",
        "The command line",
        "Why it is different",
        "What it searches",
        "Where to read on",
        "License",
    ]


def test_what_it_is_takes_two_sentences():
    told = README.split("\n\n")[1]
    assert len(re.findall(r"\.(?=\s|$)", told)) == 2


def test_a_picture_comes_first():
    before = README[: README.index("## ")]
    (path,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", before)
    picture = ROOT / path
    assert 0 < picture.stat().st_size < PICTURE_BYTES


def test_the_commands_are_two_and_stand_alone_on_their_lines():
    assert re.findall(r"^python3 -m venv .*$", README, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("number", [1, 2])
def test_ci_runs_them_as_they_stand_there(number):
    reader = ROOT / ".ci" / "readme.py"
    told = subprocess.run(
        [sys.executable, reader, "command", str(number)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert told.stdout.strip() == COMMANDS[number - 1]
    assert f"readme.py command {number})" in (ROOT / ".ci" / "run").read_text()


def measured():
    """Return title, heading and figures of each row of measurements."""
    table = section(README, "Why it is different")
    rows = re.findall(
        r"^\| \[(.*?)\]\(docs/benchmarks\.md#([\w-]+)\).*?\|(.*)\|$", table, re.MULTILINE
    )
    return [(title, anchor, re.findall(r"\d[\d,.]*\d|\d", cells)) for title, anchor, cells in rows]


def test_there_are_five_measurements_and_what_is_missed():
    assert len(measured()) == 5
    assert "Not every aim is met" in section(README, "Why it is different")


@pytest.mark.parametrize(("title", "anchor", "figures"), measured())
def test_a_measurement_stands_in_the_benchmarks(title, anchor, figures):
    titles = re.findall(r"^## (.*)$", BENCHMARKS, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-"): t for t in titles}
    told = section(BENCHMARKS, slugs[anchor])
    assert figures
    assert [figure for figure in figures if figure not in told] == []


@pytest.mark.parametrize("part", ["Question", "Command", "missed"])
def test_every_benchmark_says(part):
    sections = re.split(r"^## ", BENCHMARKS, flags=re.MULTILINE)[2:-1]
    lacking = [text.splitlines()[0] for text in sections if not re.search(rf"\*\*.*{part}", text)]
    assert lacking == []


class TestThePrunerInOneFile(PrunerConformance):
    """The example of docs/extending.md is a pruner like those of the package."""

    @pytest.fixture
    def pruner(self, tmp_path, monkeypatch):
        page = (ROOT / "docs" / "extending.md").read_text()
        (example,) = re.findall(r"```python\n(# studies/rules.py\n.*?)```", page, re.DOTALL)
        (tmp_path / "rules.py").write_text(example)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "rules", raising=False)
        return importlib.import_module("rules").PlateauPruner()
