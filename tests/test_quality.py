"""Lint, types, layers and the promises of the package as a whole."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = ["analyses", "backends", "executors", "pruners", "samplers", "trackers"]


def run(*command):
    done = subprocess.run(
        [sys.executable, *command], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_lint():
    run("-m", "ruff", "check", ".")


def test_format():
    run("-m", "ruff", "format", "--check", ".")


@pytest.mark.timeout(600)
def test_types():
    run("-m", "mypy")


def test_layers():
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    run("-c", code)


def test_siblings_do_not_import_each_other():
    graph = grimp.build_graph("hpo")
    for package in PLUGINS:
        public = {
            module
            for module in graph.find_children(f"hpo.{package}")
            if not module.rpartition(".")[2].startswith("_")
        }
        for module in public:
            assert not public & graph.find_modules_directly_imported_by(module)


def test_importing_hpo_is_light():
    """No torch, ray, mlflow or peft, and under 0.3 s by the interpreter's own clock."""
    code = (
        "import sys, hpo; print([m for m in ('torch','ray','mlflow','peft') if m in sys.modules])"
    )
    assert run("-c", code).strip() == "[]"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import hpo"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.endswith("| hpo")]
    assert int(line.split("|")[1]) < 300_000  # microseconds


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("hpo/**/*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_all_is_exact(path):
    """``__all__`` names every public class and function of a module; ruff keeps it sorted."""
    tree = ast.parse(path.read_text())
    exported = {
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for name in ast.literal_eval(node.value)
    }
    if path.name == "__main__.py":
        return
    kinds = (ast.ClassDef, ast.FunctionDef)
    defined = {n.name for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")}
    assert defined <= exported


def test_the_readme_and_ci_run_the_same_command():
    command = 'pip install -e ".[test]" && .venv/bin/python -m pytest'
    assert command in (ROOT / "README.md").read_text()
    assert command in (ROOT / ".ci" / "run").read_text()
