"""Lint, types, layers and the promises of the package as a whole."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import hpo

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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_types():
    run("-m", "mypy")


def test_layers():
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    run("-c", code)


STANDS_ON = {"hpo.executors.auto": "hpo.executors.fused"}
"""The one plugin that is another one with a choice more."""


def test_siblings_do_not_import_each_other():
    graph = grimp.build_graph("hpo")
    for package in PLUGINS:
        plugins = {
            module
            for module in graph.find_children(f"hpo.{package}")
            if not module.rpartition(".")[2].startswith("_") and not module.endswith(".base")
        }
        for plugin in plugins:
            for module in {plugin, *graph.find_descendants(plugin)}:
                imported = graph.find_modules_directly_imported_by(module)
                owners = {".".join(name.split(".")[:3]) for name in imported}
                assert not plugins & owners - {plugin, STANDS_ON.get(plugin)}


def private_owner(module):
    """Return the package in which a module is private; None if it is public."""
    parts = module.split(".")
    private = [i for i, part in enumerate(parts) if part.startswith("_")]
    return ".".join(parts[: private[0]]) if private else None


def test_no_package_reaches_into_another_s_private_modules():
    graph = grimp.build_graph("hpo")
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            owner = private_owner(imported)
            assert owner is None or module == owner or module.startswith(f"{owner}."), (
                f"{module} imports {imported}, which is private to {owner}: export it there"
            )


SCHEMA = "import numpy.typing, pydantic; pydantic.create_model('Model', n=(int, 1))"
STORAGE = f"{SCHEMA}; import optuna"
TRAINING = f"{STORAGE}; import greenlet, skorch.helper, sklearn.pipeline, sklearn.multioutput"
LEANS_ON = {
    "HPOSearchCV": TRAINING,
    "HpoError": "",
    "SearchSpace": "import numpy, optuna.distributions",
    "Study": SCHEMA,
    "StudyData": "import numpy",
    "StudyResult": "import numpy",
    "__version__": "",
    "load_result": STORAGE,
    "run_study": TRAINING,
}
"""What each public name may load: the packages that these statements load, and hpo."""

LARGE = {"pandas", "scipy", "sklearn", "skorch", "torch"}
"""Packages of which no further part may be loaded either (torch._dynamo, scipy.stats)."""


RUNTIME = ("_sysconfig", "_cython_", "cython_runtime")
"""What the interpreter and compiled modules keep of their own."""


def loaded_by(statement, after):
    """Return what a process loads by ``statement`` of packages that ``after`` has not loaded."""
    code = f"import sys; {after}\nbefore = set(sys.modules)\n{statement}\n"
    code += "print(*before); print(*set(sys.modules) - before)"
    before, new = map(str.split, run("-c", code).splitlines())
    known = {*(module.partition(".")[0] for module in before), *sys.stdlib_module_names} - LARGE
    return {m for m in new if m.partition(".")[0] not in known and not m.startswith(RUNTIME)}


@pytest.mark.parametrize("name", hpo.__all__)
def test_a_public_name_loads_no_more_than_it_leans_on(name):
    loaded = loaded_by(f"from hpo import {name}", LEANS_ON[name])
    assert {module.partition(".")[0] for module in loaded} == {"hpo"}


def test_importing_hpo_is_light():
    """No library at all, nor any part of hpo but what finds the others."""
    assert loaded_by("import hpo", "") == {"hpo", "hpo._lazy"}


LAZY = [path for path in ROOT.glob("hpo/**/__init__.py") if "lazy(" in path.read_text()]


def test_all_that_is_loaded_late_is_loaded_by_one_helper():
    users = [path for path in ROOT.glob("hpo/**/*.py") if "\ndef __getattr__" in path.read_text()]
    assert not users
    assert len(LAZY) > 3


@pytest.mark.parametrize("path", LAZY, ids=lambda p: p.parent.name)
def test_type_checkers_see_what_is_loaded_late(path):
    """The names under TYPE_CHECKING are those that are loaded late, from the same modules."""
    tree = ast.parse(path.read_text())
    (branch,) = [node for node in tree.body if isinstance(node, ast.If)]
    package = ".".join(path.parent.relative_to(ROOT).parts)
    declared = {
        alias.name: node.module.removeprefix(package)
        for node in branch.body
        for alias in node.names
    }
    (homes,) = [ast.literal_eval(node) for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    assert declared == homes
    module = importlib.import_module(package)
    assert set(homes) <= {*module.__all__} & {*dir(module)}
    for name in homes:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


SCRIPT = """
import hpo.modules
from hpo import Study, StudyResult, run_study
from hpo import Studdy  # E: Module "hpo" has no attribute "Studdy"; maybe "Study"?
run_study("digits")  # E: Argument 1 to "run_study" has incompatible type "str"; expected "Study"
Study.smoke().smok()  # E: "Study" has no attribute "smok"; maybe "smoke"?
StudyResult.to_frame(1)  # E: Argument 1 to "to_frame" of "StudyResult" has incompatible type "int"
hpo.modules.MPL  # E: Module has no attribute "MPL"
hpo.modules.MLP(n_feature=3)  # E: Unexpected keyword argument "n_feature" for "MLP"
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_user_s_own_code_is_type_checked(tmp_path):
    """A mistyped name or argument is an error: nothing public is Any for being loaded late."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    mypy = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(path)]
    done = subprocess.run(mypy, check=False, cwd=ROOT, capture_output=True, text=True)
    told = re.findall(r"script\.py:(\d+): error: (.*)", done.stdout)
    for number, line in enumerate(SCRIPT.splitlines(), start=1):
        found = [text for where, text in told if int(where) == number]
        expected = line.partition("# E: ")[2]
        assert any(text.startswith(expected) for text in found) if expected else not found, told


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
