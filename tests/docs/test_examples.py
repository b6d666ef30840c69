"""Every command and every example of the pages works as it stands there.

Blocks of a page run from top to bottom in one folder, as a reader would run them. A command that
would train for minutes runs at its smallest (``--smoke``), the study of all pages with two epochs
and three trials; a page's own study of few trials runs as it is. A command that needs a cluster, a
model or a browser is read by the command line, which knows each of its options.
"""

import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpo import SearchSpace
from hpo.cli import app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SMALL_BUDGET = 3
"""Trials that a command may name and is run with."""

ELSEWHERE = {"--ray-address", "--gpus-per-trial"}
"""Options that need a machine other than this one."""

PLACEHOLDER = re.compile(r"^[A-Z][A-Z_]+(\.py)?$")
NAMED = dict.fromkeys(("STUDY.py", "FILE", "studies/NAME.py"), "studies/digits_mlp.py")
"""Files that stand for placeholders where a command is only read."""


@pytest.fixture
def workspace(tmp_path, monkeypatch, empty_store):
    """Work in a folder that ``hpo init`` has filled, with nothing of the user's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    for name in ("mlflow.db", "elsewhere.db"):  # which the pages name
        shutil.copy(empty_store, tmp_path / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    # Drawn again by `hpo show --plots`; nobody looks at what goes to MLflow here.
    monkeypatch.setattr("hpo.study.artifacts._report", lambda *args, **kwargs: {})
    assert told_by("init")[0] == 0
    file = tmp_path / "studies" / "digits_mlp.py"  # which the pages train
    text = file.read_text()
    assert "max_epochs=20" in text
    file.write_text(text.replace("max_epochs=20", "max_epochs=2"))
    return tmp_path


@pytest.fixture
def file_of_a_page(workspace, monkeypatch):
    """Return a function that writes a file that a page shows, for hpo to find there."""

    def write(path, text):
        file = workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if path.startswith("hpo/"):
            package = importlib.import_module(".".join(Path(path).parent.parts))
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])

    return write


def told_by(*args):
    """Return the exit code and the output of a command of hpo."""
    result = CliRunner().invoke(app, args, prog_name="hpo", catch_exceptions=False)
    return result.exit_code, result.output


def understood(args):
    """Check that the command line knows a command and all of its options."""
    args = [NAMED.get(word, word) for word in args if not word.startswith("[")]
    if args[0] == "run" and all(word.startswith("-") for word in args[1:2]):
        args.insert(1, NAMED["STUDY.py"])
    code, output = told_by(*args, "--help")
    assert code == 0, f"hpo {shlex.join(args)}: {output}"


def is_small_study(name):
    """Return whether a study is one that a page shows, with few trials."""
    file = Path(name)
    if file.parts[:-1] or not file.exists():
        return False
    budget = re.search(r"n_trials=(\d+)", file.read_text())
    return budget is not None and int(budget[1]) <= 3 * SMALL_BUDGET


def as_it_is_run(args):
    """Return the arguments with which a command is run here; None if it is only read."""
    if args[0] == "ui" or ELSEWHERE & set(args) or any(map(PLACEHOLDER.match, args)):
        return None
    algorithm = re.search(r"ray:algorithm=(\w+)", shlex.join(args))
    if algorithm and find_spec(algorithm[1]) is None:
        return None
    if args[0] != "run" or {"--help", "--smoke"} & set(args):
        return args
    return as_it_is_trained(args)


def as_it_is_trained(args):
    """Return the arguments with which a study is run here."""
    if args == ["run", "studies/digits_mlp.py"]:  # of which a page goes on to show something
        return [*args, "--n-trials", str(SMALL_BUDGET)]
    if is_small_study(args[1]):
        return args
    if "scheduler=" in shlex.join(args):  # which waits for longer than the epoch of --smoke
        return [*args, "--n-trials", "1", "--epochs", "3", "--tracker", "null"]
    if "--n-trials" not in args:
        return [*args, "--smoke"]
    at = args.index("--n-trials")
    small = int(args[at + 1]) <= SMALL_BUDGET
    return args if small else [*args[:at], *args[at + 2 :], "--smoke"]


def run_hpo(args):
    understood([word for word in args if word != "--help"])
    runnable = as_it_is_run(args)
    if runnable is not None:
        code, output = told_by(*runnable)
        assert code == 0, f"hpo {shlex.join(runnable)}: {output}"


def known_script(args):
    """Check that a script of this repository exists and has the options it is given."""
    script = ROOT / args[0]
    source = script.read_text()
    shared = (ROOT / "tests" / "benchmarks" / "_bench.py").read_text()
    for flag in (word for word in args[1:] if word.startswith("-")):
        name = flag.lstrip("-").replace("-", "_")
        told = f'"{flag}"' in source or re.search(rf"\b{name}=", source)
        assert told or f'"{flag}"' in shared, f"{args[0]} has no option {flag}"


def known_packages(args):
    """Check that ``pip install`` names extras that there are."""
    for extras in re.findall(r"\[([\w,]+)\]", shlex.join(args)):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    named = [word for word in args if word.startswith("hpo")]
    assert all(re.match(r"[\w-]+", word)[0] == PROJECT["name"] for word in named)


def check(words, *, run):
    """Run a command, or look at it where it is not to be run here."""
    program = words[0].rpartition("/")[2]
    if program == "hpo":
        run_hpo(words[1:]) if run else understood(words[1:])
    elif program == "python" and words[1].endswith(".py"):
        known_script(words[1:])
    elif program == "pip":
        known_packages(words[1:])
    else:
        # tests/test_readme.py knows these two, and .ci/run runs them word for word.
        assert words[:4] == ["python3", "-m", "venv", ".venv"], shlex.join(words)


def check_script(text):
    """Check a script that a scheduler runs: its syntax, and the command of hpo in it."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    lines = text.replace("\\\n", " ").splitlines()
    (command,) = [line for line in lines if line.startswith("exec hpo ")]
    understood(shlex.split(command)[2:])


def run_python(text, names, page):
    exec(compile(text, page.name, "exec"), names)


@pytest.mark.slow
def test_the_examples_of_a_page_run(page, request, file_of_a_page):
    if page.name in {"docs/ray.md", "docs/howto/from_ray_tune.md"}:
        request.getfixturevalue("local_ray")
    names = {"__name__": "page"}
    for block in page.blocks:
        if block.language == "python" and block.text.startswith("# needs "):
            compile(block.text, page.name, "exec")  # a GPU, a cluster or a network
        elif block.language == "python" and (path := re.match(r"# ([\w/]+\.py)\n", block.text)):
            file_of_a_page(path[1], block.text)
        elif block.language == "python":
            run_python(block.text, names, page)
        elif block.language == "yaml":
            assert len(SearchSpace.loads(block.text))
        elif block.language == "bash":
            for line in block.text.splitlines():
                check(shlex.split(line, comments=True), run=True)
        elif block.language == "slurm":
            check_script(block.text)
        else:
            assert block.language in {"", "diff", "text", "toml"}
    if page.name == "README.md":
        assert names["search"].best_score_ > 0.9
        assert names["search"].result_.n_trials == 20


@pytest.fixture(scope="module")
def local_ray():
    """Be connected to a private Ray on this machine, which the commands then use."""
    from hpo.backends.ray.cluster import connected

    with connected(None):
        yield


def test_the_commands_in_the_text_are_understood(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for text in page.code:
        if re.match(r"(hpo|pip|python) [\w-]", text) and "COMMAND" not in text:
            check(shlex.split(text), run=False)
