"""What hpo imports is what pyproject.toml declares, there and nowhere else."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
TOOLS = {"docs", "test"}
"""Extras of the project's own tests and pages: no module of hpo imports them."""

NOT_IMPORTED = "imported by "
"""How the comment of a dependency begins that another package imports, and not hpo."""


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements} - {"hpo-torch"}


CORE = names(PROJECT["dependencies"])
EXTRAS = {
    extra: names(requirements)
    for extra, requirements in PROJECT["optional-dependencies"].items()
    if extra not in TOOLS
}


def comments():
    """Return the comment beside each dependency, by its canonical name."""
    found = re.findall(r'^ +"([\w.-]+)[^"]*", +# (.*)$', PYPROJECT, re.MULTILINE)
    return {canonicalize_name(name): comment for name, comment in found}


COMMENTS = comments()
DISTRIBUTIONS = packages_distributions()


def distributions_of(module):
    """Return the distributions that an imported name may come from."""
    top = module.split(".")[0]
    known = DISTRIBUTIONS.get(top, [])
    if top == "umap":  # not installed with the tests
        known = ["umap-learn"]
    if top == "wandb":  # nor is it
        known = ["wandb"]
    if top == "ruamel":
        known = ["ruamel.yaml"]
    if top == "mlflow":  # mlflow-skinny holds files of the same package
        known = ["mlflow"]
    return {canonicalize_name(name) for name in known}


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [node.module]
    return []


@cache
def imports_of(path):
    """Return ``(module, at_import)`` for each third-party import of a file.

    ``at_import``: whether it runs when the file is imported, and not in a function.
    """
    tree = ast.parse(path.read_text())
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    later = {id(inner) for function in functions for inner in ast.walk(function)}
    own = {*sys.stdlib_module_names, "hpo"}
    return [
        (module, id(node) not in later)
        for node in ast.walk(tree)
        for module in imported(node)
        if module.split(".")[0] not in own
    ]


def undeclared(core, extras, files):
    """Return a line for each import that is not declared where it stands."""
    lines = []
    for path in files:
        where = path.relative_to(ROOT)
        for module, at_import in imports_of(path):
            owners = distributions_of(module)
            if owners & core:
                continue
            optional = owners & set().union(*extras.values())
            if not optional:
                lines.append(f"{where} imports {module}, which nothing declares")
            elif not any(is_place(where, COMMENTS[name]) for name in optional):
                lines.append(f"{where} imports {module}, and the comment of {optional} has it not")
            elif at_import and where.parts[1] != "testing":
                lines.append(f"{where} imports {module} of an extra when it is imported")
    return lines


def is_place(where, comment):
    """Return whether a comment names the file or a folder that it is in."""
    return any(where == place or place in where.parents for place in places(comment))


def places(comment):
    return [Path(text) for text in re.findall(r"hpo/[\w/.]*\w", comment)]


FILES = sorted(ROOT.glob("hpo/**/*.py"))


def test_every_import_is_declared():
    assert undeclared(CORE, EXTRAS, FILES) == []


@pytest.mark.parametrize("name", ["psutil", "scipy", "torch"])
def test_an_import_that_is_not_declared_is_found(name):
    assert any(name in line for line in undeclared(CORE - {name}, EXTRAS, FILES))


def test_an_import_that_only_an_extra_declares_is_found():
    extras = {**EXTRAS, "lora": EXTRAS["lora"] | {"psutil"}}
    found = undeclared(CORE - {"psutil"}, extras, FILES)
    assert any(line.startswith("hpo/executors/_memory.py imports psutil of") for line in found)


@pytest.mark.parametrize("name", sorted(CORE.union(*EXTRAS.values())))
def test_every_dependency_is_used_where_its_comment_says(name):
    comment = COMMENTS[name]
    assert places(comment), "the comment names no file"
    for place in places(comment):
        assert (ROOT / place).exists(), f"{place} does not exist"
        if comment.startswith(NOT_IMPORTED):
            continue
        files = [p for p in FILES if is_place(p.relative_to(ROOT), str(place))]
        modules = [module for path in files for module, _ in imports_of(path)]
        assert any(name in distributions_of(module) for module in modules), f"not in {place}"


@pytest.mark.parametrize("text", PROJECT["dependencies"])
def test_an_upper_bound_has_its_reason(text):
    if "<" in text:
        assert "bound: " in COMMENTS[canonicalize_name(Requirement(text).name)]


@pytest.mark.slow
def test_without_the_extras_each_door_says_what_to_install():
    """Import every module, and knock on every door, where no extra is installed."""
    code = """
import importlib, pkgutil, sys
for name in ('transformers', 'tokenizers', 'safetensors', 'peft', 'bitsandbytes', 'umap',
             'psycopg', 'pytest'):
    sys.modules[name] = None
import hpo
from hpo.exceptions import MissingExtraError
for module in pkgutil.walk_packages(hpo.__path__, 'hpo.'):
    if not module.name.startswith('hpo.testing') and not module.name.endswith('__main__'):
        importlib.import_module(module.name)
from hpo.data.text import load_text
from hpo.nets import CausalLMNet
for door in (lambda: importlib.import_module('hpo.testing'),
             lambda: load_text(__import__('pathlib').Path('pyproject.toml'), 'model'),
             lambda: CausalLMNet(module__model='model').initialize()):
    try:
        door()
    except MissingExtraError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 3
    assert all("pip install 'hpo-torch[" in line for line in lines)
