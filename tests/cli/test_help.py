"""What ``--help`` and ``--version`` say, and that they say it without loading anything heavy."""

import ast
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer

import hpo
from hpo._discovery import build, names
from hpo.backends.base import BaseBackend
from hpo.cli import app
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]

PACKAGES = {
    "--sampler": "hpo.samplers",
    "--pruner": "hpo.pruners",
    "--backend": "hpo.backends",
    "--executor": "hpo.executors",
    "--tracker": "hpo.trackers",
    "--analysis": "hpo.analyses",
}
PANELS = {
    "Options": "--smoke --json --quiet --verbose --help",
    "Budget": "--n-trials --timeout --trial-timeout --max-total-epochs --epochs --eval-every",
    "Search": (
        "--repeats --nested --select --choose --folds --scoring --sampler --pruner --seed "
        "--add-trials"
    ),
    "Execution": "--backend --executor --n-jobs --n-threads --device",
    "Execution with --backend ray": "--ray-address --cpus-per-trial --gpus-per-trial",
    "Data": "--data",
    "Storage and tracking": (
        "--storage --tracking-uri --tracker --register --analysis --keep --checkpoint-every "
        "--resume --extend --accept-code --retry-failed"
    ),
}
ROOT: Any = typer.main.get_command(app)
COMMANDS = ["", *ROOT.commands]
HEAVY = {"torch", "optuna", "sklearn", "skorch", "numpy", "scipy", "pandas", "mlflow", "ray"}


def _command(name: str) -> Any:
    return ROOT.commands[name] if name else ROOT


def _option(flag: str) -> Any:
    return next(param for param in _command("run").params if flag in param.opts)


def _panels(out: str) -> dict[str, list[str]]:
    """Return the flags of each panel, by its title."""
    found: dict[str, list[str]] = defaultdict(list)
    title = ""
    for line in out.splitlines():
        if line.startswith("╭"):
            title = line.strip("╭─╮ ")
        elif row := re.match(r"│ [* ]? {0,4}(--[\w-]+)", line):
            found[title].append(row[1])
    return found


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_options_of_a_run_stand_in_panels(
    hpo_command: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = hpo_command("run", "--help")
    assert code == 0
    assert _panels(out) == {title: flags.split() for title, flags in PANELS.items()}
    assert max(map(len, out.splitlines())) <= int(columns)


def test_a_study_has_a_panel_of_its_own(hpo_command: Run) -> None:
    Path("x.py").write_text('"""Two things to choose."""\n\ndef study(a: int, b: str = ""): ...\n')
    panels = _panels(hpo_command("run", "x.py", "--help")[1])
    assert panels.pop("Two things to choose") == ["--a", "--b"]
    assert panels == {title: flags.split() for title, flags in PANELS.items()}


@pytest.mark.parametrize("flag", PACKAGES)
def test_what_an_option_may_name_is_what_is_there(flag: str) -> None:
    *others, last = names(PACKAGES[flag])
    assert f"{', '.join(others)} or {last}" in _option(flag).help


ONE_MORE = """
import sys
from importlib import import_module
from pathlib import Path

for package in {packages}:
    folder = Path.cwd() / package
    folder.mkdir()
    (folder / f"new_{{package.rpartition('.')[2]}}.py").write_text("raise RuntimeError")
    import_module(package).__path__.append(str(folder))

from hpo.cli import main

main(["run", "--help"])
"""


def test_one_new_file_is_in_the_help() -> None:
    packages = list(PACKAGES.values())
    done = subprocess.run(
        [sys.executable, "-c", ONE_MORE.format(packages=packages)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for package in packages:
        assert f"new_{package.rpartition('.')[2]}" in done.stdout


@pytest.mark.parametrize("flag", ["--sampler", "--pruner", "--backend"])
def test_the_options_that_a_help_shows_are_right(flag: str) -> None:
    (spec,) = re.findall(r"options: (\S+)\.$", _option(flag).help)
    if flag == "--sampler":
        make_sampler(spec, 0, parallel=False)
    else:
        build(PACKAGES[flag], spec, BasePruner if flag == "--pruner" else BaseBackend)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_commands_that_can_be_typed(
    hpo_command: Run, repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = hpo_command(*([name] if name else []), "--help")
    assert code == 0
    shown = [line.strip() for line in out.strip().splitlines()]
    told = _command(name).epilog.splitlines()[1:]
    assert shown[-len(told) :] == told  # each on one line
    monkeypatch.chdir(repository)
    for line in told:
        program, command, *args = shlex.split(line, comments=True)
        assert program == "hpo"
        assert command == (name or command)
        context = ROOT.make_context("hpo", [command, *args])
        with suppress(typer.Exit):  # of --help
            _command(command).make_context(command, args, parent=context)


def test_the_version_is_that_of_the_package(hpo_command: Run, repository: Path) -> None:
    code, out, _ = hpo_command("--version")
    assert (code, out) == (0, f"hpo {hpo.__version__}\n")
    literals = [
        ast.literal_eval(node.value)
        for node in ast.parse((repository / "hpo" / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert literals == [hpo.__version__]  # what a build reads without importing it


def _loaded(*args: str) -> set[str]:
    """Return what a process has loaded at the end of a command; it must go well."""
    code = f"""
import sys
from hpo.cli import main
try:
    main({list(args)})
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stdout.partition("loaded:")[2].split()}


@pytest.mark.parametrize("args", [["--version"], *([name, "--help"] for name in COMMANDS if name)])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    assert not HEAVY & _loaded(*args)


def test_studies_are_listed_and_shown_without_what_trains_and_draws(
    hpo_command: Run, write_study: Write
) -> None:
    assert hpo_command("run", write_study(), "--n-trials", "2")[0] == 0
    unused = {"torch", "skorch", "sklearn", "scipy", "matplotlib", "pandas", "mlflow", "ray"}
    for args in (["list"], ["show", "tiny"]):
        assert not unused & _loaded(*args)
