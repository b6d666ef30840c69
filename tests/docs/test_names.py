"""What the pages name exists: options, plugins, parameters, modules and files."""

import ast
import importlib
import inspect
import re
from itertools import chain
from pathlib import Path

import typer.main

import hpo.data
import hpo.modules
from hpo import HPOSearchCV, Study
from hpo._discovery import check_options, find, names, parse_spec
from hpo.analyses import BaseAnalysis
from hpo.backends.base import BaseBackend
from hpo.cli import app
from hpo.cli._study_options import read_options
from hpo.exceptions import PluginError
from hpo.executors import BaseExecutor
from hpo.pruners import BasePruner
from hpo.samplers.base import BaseSamplerFactory, make_sampler
from hpo.trackers import BaseTracker

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands
PACKAGES = {
    "pruner": ("hpo.pruners", BasePruner),
    "executor": ("hpo.executors", BaseExecutor),
    "backend": ("hpo.backends", BaseBackend),
    "tracker": ("hpo.trackers", BaseTracker),
    "analysis": ("hpo.analyses", BaseAnalysis),
    "sampler": ("hpo.samplers", BaseSamplerFactory),
}
LISTED = {kind: names(package) for kind, (package, _) in PACKAGES.items()} | {
    "command": list(COMMANDS),
}
"""What a table whose first column has that heading lists, all of it."""

FIGURES = {"docs/benchmarks.md", "docs/search.md"}
"""Pages whose tables are of those that were measured."""

OF_OTHERS = {"--no-deps", "--resolution", "--signal", "--gres"}
"""Options of pip, uv and SLURM."""

NO_MODULES = {"hpo.journal", "hpo.journal.files", "hpo.journal.snapshot"}
"""Files whose names look like modules."""

LITERAL_CALLS = {
    "Study": Study.model_fields,
    "HPOSearchCV": inspect.signature(HPOSearchCV).parameters,
}


def flags_of(command):
    return set(chain(*((*param.opts, *param.secondary_opts) for param in command.params)))


def own_flags(path):
    options = read_options(path, ())
    return set(chain(*(option.flags for option in options.options))) if options else set()


RUN = {flag for flag in flags_of(COMMANDS["run"]) if flag.startswith("--")}
FLAGS = {
    *chain(*map(flags_of, COMMANDS.values())),
    *chain(*map(own_flags, (ROOT / "studies").glob("*.py"))),
    *OF_OTHERS,
    *flags_of(typer.main.get_command(app)),
}
SOURCES = "".join(path.read_text() for path in (ROOT / "tests" / "benchmarks").glob("**/*.py"))


def is_flag(flag):
    """Return whether a command, a study, pip, uv or a benchmark knows an option."""
    name = flag.removeprefix("--").replace("-", "_")
    return flag in FLAGS or f'"{flag}"' in SOURCES or re.search(rf"\b{name}=", SOURCES)


def test_options_exist(page):
    named = re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(page.code))
    assert [flag for flag in named if not is_flag(flag)] == []


def test_tables_list_what_the_packages_have(page):
    for table in page.tables:
        kind = table.header[0]
        if kind not in LISTED or page.name in FIGURES:
            continue
        named = [re.sub(r"^hpo ", "", code).split()[0] for code in table.code()]
        assert sorted(named) == sorted(LISTED[kind])


def test_the_table_of_options_has_all_of_hpo_run(pages):
    (table,) = [t for t in pages["docs/command_line.md"].tables if t.header[0] == "option"]
    assert {code.split()[0] for code in table.code()} == RUN - {"--help"}


def test_loaders_are_all_listed(pages):
    tables = [table for table in pages["docs/data.md"].tables if table.header[0] == "loader"]
    listed = [code for table in tables for code in table.code()]
    assert sorted(listed) == sorted(n for n in hpo.data.__all__ if n.startswith("load_"))


def test_techniques_have_the_parameters_that_are_named(pages):
    (table,) = [t for t in pages["docs/techniques.md"].tables if t.header[0] == "technique"]
    for row in table.rows:
        pieces = [found(code) for code in codes(row[1]) if "." in code]
        modules = [getattr(hpo.modules, code) for code in codes(row[1]) if "." not in code]
        if hpo.modules in pieces:
            pieces = modules
        known = set(chain(*(inspect.signature(piece.__init__).parameters for piece in pieces)))
        named = {code.rpartition("__")[2] for code in codes(row[2])}
        assert not pieces or named <= known, row[0].content


def codes(cell):
    return [child.content for child in cell.children if child.type == "code_inline"]


def test_plugins_are_named_with_options_that_they_have(page):
    for text in page.code:
        for spec in re.findall(r"[a-z_]+:[a-z_]+=[^\s\"`;]+", text):
            name, options = parse_spec(spec.rstrip(").,"))
            kinds = [kind for kind in PACKAGES if name in LISTED[kind]]
            refused = [told for kind in kinds if (told := refusal(kind, spec, name, options))]
            assert not kinds or len(refused) < len(kinds), refused


def refusal(kind, spec, name, options):
    """Return why no plugin of a kind takes the options; empty if one does."""
    try:
        if name == "ray" and kind == "sampler":  # the algorithm's package may not be installed
            return "" if "algorithm" in options else "Ray's sampler needs an algorithm."
        if kind == "sampler":
            make_sampler(spec.rstrip(").,"), 0, parallel=False)
        else:
            check_options(name, find(PACKAGES[kind][0], name, PACKAGES[kind][1]), options)
    except PluginError as error:
        return str(error)
    return ""


def test_calls_have_arguments_that_exist(page):
    for text in page.code:
        called = re.fullmatch(r"(Study|HPOSearchCV)\((.*)\)", text)
        if called is None:
            continue
        call = ast.parse(text.replace("...", "None").replace("…", "None"), mode="eval").body
        given = {keyword.arg for keyword in call.keywords}
        assert given <= set(LITERAL_CALLS[called[1]]), text


def test_modules_and_files_exist(page):
    for text in page.code:
        if text in NO_MODULES or page.name == "docs/reference/mlflow.md":
            continue
        if re.fullmatch(r"(hpo|skorch)(\.\w+)+", text):
            found(text)
        elif re.fullmatch(r"(load|find)_\w+", text) and text != "load_result":
            assert text in hpo.data.__all__
        elif re.fullmatch(r"(studies|search_spaces|tests|docs)/[\w/.]+\.\w+", text):
            named = text.replace("NAME", "digits_mlp")
            assert (ROOT / named).exists() or "test_digits_mlp" in named, text


def found(dotted):
    """Return the object of a dotted path."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            item = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            item = getattr(item, name)
        return item
    raise ModuleNotFoundError(dotted)
