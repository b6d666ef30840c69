"""Writes the pages of the reference that follow from the code: ``python docs/make_reference.py``.

They are kept in the repository, so that they can be read there, and are compared with the code by
``tests/docs/test_reference.py``.
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import typer.main
from public_names import REMARKS, kind_of, public_names, summary

from hpo import exceptions
from hpo.cli import app

REFERENCE = Path(__file__).parent / "reference"

REMEDIES = {
    "HpoError": ("anything below", "catch it to catch all of them"),
    "SpaceError": ("a search space", "`hpo validate FILE` tells all mistakes with their lines"),
    "StudyError": ("a study or its file", "`hpo validate FILE`"),
    "DataError": ("data, folds, scorer", "make shapes, labels, groups and scorer fit each other"),
    "PluginError": ("a name or an option of a plugin", "the message lists those that there are"),
    "StorageError": ("the storage, a file", "look at the address, the rights and the free space"),
    "ExecutorError": ("worker processes", "try `--executor serial`, which shows the error itself"),
    "RefitError": ("the refit of the winner", "its `result` has all trials; mend, and run again"),
    "MissingExtraError": ("an optional package", "run the command that the message has"),
    "NoCompletedTrialError": ("a search without a winner", "`hpo show NAME` groups the failures"),
}
"""Where each error comes from, and what to do."""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


def pages() -> dict[str, str]:
    """Return the texts of the pages by their file names."""
    return {"cli_options.md": options(), "python.md": names(), "errors.md": errors()}


def options() -> str:
    """Return the page of all options, as the commands themselves have them."""
    command: Any = typer.main.get_command(app)
    lines = ["# Every option", "", "Made from the commands; `hpo COMMAND --help` shows the same."]
    lines += ["What they do is told in [the command line](../command_line.md)."]
    for name, sub in sorted(command.commands.items()):
        about = " ".join((sub.help or "").split("\n\n")[0].split())
        lines += [
            "",
            f"## hpo {name}",
            "",
            _plain(about),
            "",
            "| option | what it sets |",
            "|---|---|",
        ]
        lines += [_option(param) for param in sub.params if not getattr(param, "hidden", False)]
    return "\n".join(lines) + "\n"


def _option(param: Any) -> str:
    flags = [*param.opts, *param.secondary_opts] if param.param_type_name == "option" else []
    told = ", ".join(f"`{flag}`" for flag in flags) or f"`{(param.metavar or param.name).upper()}`"
    return f"| {told} | {_plain(getattr(param, 'help', None) or '')} |"


def _plain(text: str) -> str:
    """Return a help text without the markup of the terminal, for a cell of a table."""
    text = re.sub(r"\[/?(bold|dim|italic)\]", "", text)
    text = re.sub(r"(?<![\w`])(--[a-z][a-z-]*)", r"`\1`", " ".join(text.split()))
    return text.replace("|", r"\|").replace("<", r"\<").replace("*", r"\*").replace("_", r"\_")


def names() -> str:
    """Return the page of the public names, with the first sentence of each docstring."""
    lines = ["# Public names", ""]
    lines += ["What is not listed here is private and may change with any version. `help(NAME)` in"]
    lines += ["Python, and the site that `python docs/make_site.py` builds, have the full texts."]
    for package, own in public_names().items():
        module = importlib.import_module(package)
        lines += ["", f"## `{package}`", "", _doc(summary_of_module(module)), ""]
        lines += ["| name | kind | what it is |", "|---|---|---|"]
        for name in own:
            item = getattr(module, name)
            told = _doc(summary(item)) or _doc(REMARKS.get(f"{package}.{name}", ""))
            lines.append(f"| `{name}` | {kind_of(item)} | {told} |")
    return "\n".join(lines) + "\n"


def summary_of_module(module: Any) -> str:
    """Return the first paragraph of a module's docstring."""
    return " ".join(inspect.cleandoc(module.__doc__ or "").split("\n\n")[0].split())


def _doc(text: str) -> str:
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"`\1`", text.replace("``", "`"))
    parts = text.split("`")
    parts[::2] = [part.replace("<", r"\<").replace("*", r"\*") for part in parts[::2]]
    return "`".join(parts).replace("|", r"\|").removesuffix("::").strip()


def errors() -> str:
    """Return the page of errors."""
    lines = ["# Errors", ""]
    lines += ["Each message says what was wrong, what came, and what to do. On the command line a"]
    lines += ["mistake ends with exit code 2 and no traceback (`--verbose` shows one); all exit"]
    lines += ["codes stand in [the command line](../command_line.md#endings).", ""]
    lines += ["| error | is also | concerns | meaning | what to do |", "|---|---|---|---|---|"]
    for name in exceptions.__all__:
        error = getattr(exceptions, name)
        bases = [b.__name__ for b in error.__bases__ if not issubclass(b, exceptions.HpoError)]
        also = ", ".join(f"`{b}`" for b in bases if b != "Exception")
        where, remedy = REMEDIES[name]
        lines.append(f"| `{name}` | {also} | {where} | {_doc(summary(error))} | {remedy} |")
    return "\n".join([*lines, "", (REFERENCE / "_no_errors.txt").read_text()])


if __name__ == "__main__":
    main()
