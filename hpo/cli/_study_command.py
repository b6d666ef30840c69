"""A command that also accepts the options defined by its study file."""

import difflib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from hpo.cli._study_options import StudyOption, StudyOptions, read_options
from hpo.cli._study_source import is_space_file
from hpo.exceptions import StudyError

__all__ = ["StudyCommand", "study_options"]

_DECLARED, _GIVEN = "hpo.declared_options", "hpo.given_options"
_PREFIX = "study__"  # separates the study's parameters from the command's


def study_options(ctx: Any) -> dict[str, Any]:
    """Return the study's options that were given on the command line, by parameter.

    Paths are absolute: relative ones start at the current folder.
    """
    options: dict[str, Any] = ctx.meta[_GIVEN]
    return options


class StudyCommand(TyperCommand):
    """A command whose argument is a study file.

    The file is read, not run, before the command line is parsed, so that its options are parsed,
    listed by ``--help`` and suggested in errors like those of the command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options of the study file, and parse all arguments."""
        if not ctx.resilient_parsing:
            self._declare(ctx, args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's parameters and the study's."""
        return [*super().get_params(ctx), *ctx.meta.get(_DECLARED, ())]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its function gets the study's options from `study_options`."""
        names = [name for name in ctx.params if name.startswith(_PREFIX)]
        values = {name.removeprefix(_PREFIX): ctx.params.pop(name) for name in names}
        ctx.meta[_GIVEN] = {
            name: value.absolute() if isinstance(value, Path) else value
            for name, value in values.items()
            if value is not None
        }
        return super().invoke(ctx)

    def _declare(self, ctx: Any, args: list[str]) -> None:
        """Declare the options of the study file in ``args``; raise for unknown options."""
        remaining = self._remaining_args(ctx, args)
        file = remaining[0] if remaining and not remaining[0].startswith("-") else None
        if file is not None and not is_space_file(Path(file)):
            ctx.meta[_DECLARED] = _params(Path(file), _flags_of_run(ctx))
            remaining = self._remaining_args(ctx, args)
        unknown = [word.partition("=")[0] for word in remaining if word.startswith("-")]
        if unknown:
            flags = _flags(self.get_params(ctx))
            messages = [_unknown_option(name, flags) for name in unknown]
            study_flags = _flags(ctx.meta.get(_DECLARED, ()))
            raise StudyError("\n".join([*messages, _describe_options(file, study_flags)]))

    def _remaining_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that are neither known options nor their values; the file first."""
        parser: Any = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        values, others, _ = parser.parse_args(list(args))
        (argument,) = (param for param in self.params if param.param_type_name == "argument")
        file = values.get(argument.name)
        return [file, *others] if isinstance(file, str) else others


def _flags_of_run(ctx: Any) -> list[str]:
    """Return the flags of ``hpo run``, which no study may define, whatever the command."""
    root = ctx.find_root()
    return _flags(root.command.get_command(root, "run").get_params(root))


def _flags(params: Iterable[Any]) -> list[str]:
    options = [param for param in params if param.param_type_name == "option"]
    return [flag for option in options for flag in (*option.opts, *option.secondary_opts)]


def _unknown_option(name: str, flags: Iterable[str]) -> str:
    by_name = {flag.lstrip("-"): flag for flag in flags}  # dashes would make any two look alike
    near = difflib.get_close_matches(name.lstrip("-"), by_name, n=1, cutoff=0.65)
    return f"There is no option {name}{f', did you mean {by_name[near[0]]}?' if near else '.'}"


def _describe_options(file: str | None, flags: list[str]) -> str:
    if file is None:
        return "Name the study file first: its own options follow it."
    if not flags:
        return f"{file} has no options of its own: those are the parameters of a function `study`."
    return f"{file} has the options {', '.join(flags)} of its own."


def _params(path: Path, reserved: list[str]) -> list[Any]:
    """Return the options that the study file defines, as parameters of a command."""
    declared = read_options(path, reserved)
    if declared is None:
        return []
    application = typer.Typer(add_completion=False)
    application.command()(_with_parameters(declared))
    return typer.main.get_command(application).params


def _with_parameters(declared: StudyOptions) -> Any:
    """Return a function whose signature typer turns into the options."""

    def study(**options: Any) -> None:
        """Stand in for the study's function, which is not loaded yet."""

    function: Any = study
    function.__signature__ = inspect.Signature(
        [_parameter(option, declared.heading) for option in declared.options]
    )
    return function


def _parameter(option: StudyOption, heading: str) -> inspect.Parameter:
    default = option.default
    if option.kind is bool:
        default = dict(zip(("True", "False"), option.flags, strict=True)).get(default, default)
    info = typer.Option(
        ... if option.required else None,
        "/".join(option.flags),
        help=escape(option.help),
        show_default=default or False,
        rich_help_panel=escape(heading),
    )
    name = f"{_PREFIX}{option.name}"
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=option.kind
    )
