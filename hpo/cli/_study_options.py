"""The options that a study file defines: the parameters of its function ``study``.

They are read from the file's source. Running it would import torch, which takes seconds and would
delay ``--help`` and the message about a mistyped option.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpo.cli._study_source import parse_source, read_source
from hpo.exceptions import StudyError

__all__ = ["StudyOption", "StudyOptions", "read_options"]

_KINDS: dict[str, type] = {kind.__name__: kind for kind in (str, int, float, bool, Path)}
_KINDS["pathlib.Path"] = Path
_SECTION = re.compile(r"(?ms)^Parameters\n-{3,}\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)")


@dataclass(frozen=True)
class StudyOption:
    """One parameter of a study's function.

    Parameters
    ----------
    name : str
        Name of the parameter.
    kind : type
        str, int, float, bool or Path.
    required : bool
        Whether it has no default.
    default : str
        The default as in the source, texts without quotes; empty if it is None or missing.
    help : str
        Its description in the function's docstring, on one line; it may be empty.
    """

    name: str
    kind: type
    required: bool
    default: str
    help: str

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags on the command line: ``("--eval-text",)``, ``("--pretrain", "--no-pretrain")``."""
        flag = self.name.strip("_").replace("_", "-")
        return (f"--{flag}", f"--no-{flag}") if self.kind is bool else (f"--{flag}",)


@dataclass(frozen=True)
class StudyOptions:
    """The options of a study file.

    Parameters
    ----------
    heading : str
        One-line description of the study.
    options : tuple of StudyOption
    """

    heading: str
    options: tuple[StudyOption, ...]


def read_options(path: Path, reserved: Collection[str]) -> StudyOptions | None:
    """Return the options that the file at ``path`` defines, without running it.

    Parameters
    ----------
    path : Path
    taken : collection of str
        Flags that are already in use.

    Returns
    -------
    StudyOptions or None
        None if the file defines no function ``study`` at its top level.

    Raises
    ------
    StudyError
        If the file cannot be read or is not Python, or a parameter cannot be an option.
    """
    tree = parse_source(read_source(path), path)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    function = next((node for node in reversed(functions) if node.name == "study"), None)
    if function is None:
        return None
    doc = ast.get_docstring(function) or ""
    descriptions = _descriptions(doc)
    parameters = [(*pair, _kind(pair[0].annotation)) for pair in _parameters(function.args)]
    options = tuple(
        StudyOption(
            name.arg,
            kind,
            default is None,
            _format_default(default),
            descriptions.get(name.arg, ""),
        )
        for name, default, kind in parameters
        if kind is not None
    )
    problems = [
        *_unnamed(function.args),
        *(_untyped(name) for name, _, kind in parameters if kind is None),
        *_clashes(options, reserved),
    ]
    if problems:
        where = f"{path}, line {function.lineno}: the parameters of study() are its options."
        raise StudyError("\n".join([where, *problems]))
    heading = doc or ast.get_docstring(tree) or f"Options of {path.name}"
    return StudyOptions(heading.splitlines()[0].rstrip("."), options)


def _parameters(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield each parameter and its default, or None."""
    plain = [*arguments.posonlyargs, *arguments.args]
    n_required = len(plain) - len(arguments.defaults)
    yield from zip(plain, [*[None] * n_required, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _unnamed(arguments: ast.arguments) -> list[str]:
    others = [*arguments.posonlyargs, arguments.vararg, arguments.kwarg]
    return [f"'{other.arg}' cannot be given by its name." for other in others if other]


def _kind(annotation: ast.expr | None) -> type | None:
    """Return the type that an annotation names, without its ``| None``; None for any other."""
    if annotation is None:
        return None
    names = {name.strip() for name in _text(annotation).split("|")} - {"None"}
    return _KINDS.get(names.pop()) if len(names) == 1 else None


def _text(expression: ast.expr) -> str:
    """Return the source of an expression; of a text without its quotes."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    return ast.unparse(expression)


def _format_default(default: ast.expr | None) -> str:
    text = _text(default) if default else "None"
    return "" if text == "None" else text


def _untyped(argument: ast.arg) -> str:
    got = ast.unparse(argument.annotation) if argument.annotation else "no annotation"
    return (
        f"'{argument.arg}' must be annotated as str, int, float, bool or Path, "
        f"or as one of them | None. Got {got} instead."
    )


def _clashes(options: Iterable[StudyOption], reserved: Collection[str]) -> list[str]:
    """Return errors for flags that clash with those of hpo or of other options of the study."""
    used = dict.fromkeys(reserved, "hpo's own")
    problems = []
    for option in options:
        problems += [
            f"'{option.name}' would be {flag}, which is {used[flag]}: rename it."
            for flag in option.flags
            if flag in used
        ]
        used |= dict.fromkeys(option.flags, f"that of '{option.name}'")
    return problems


def _descriptions(doc: str) -> dict[str, str]:
    """Return the description of each parameter in a numpy-style docstring."""
    section = _SECTION.search(doc)
    descriptions: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else ():
        if line.startswith(" "):
            descriptions |= {name: f"{descriptions[name]} {line.strip()}".strip() for name in names}
        elif line:
            names = [name.strip() for name in line.partition(":")[0].split(",")]
            descriptions |= dict.fromkeys(names, "")
    return descriptions
