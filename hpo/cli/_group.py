"""The group of the commands: errors of every kind in one form, and the exit codes."""

import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from hpo._format import printable
from hpo.exceptions import HpoError, NoCompletedTrialError, RefitError, SpaceError

__all__ = ["ARGS", "Group"]

ARGS = "hpo.args"
"""Where the context has the arguments as they were typed."""

_UsageError: Any = typer.BadParameter.__mro__[1]
"""The error of a command line that cannot be read; typer does not export it."""


class Group(TyperGroup):
    """Turns errors into messages and exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; what is wrong with it is told like any other error."""
        extra |= {"windows_expand_args": windows_expand_args, "standalone_mode": False}
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, **extra)
        try:
            code = super().main(args, prog_name, complete_var, **extra)
        except _UsageError as error:
            _print_usage_error(error)
            sys.exit(error.exit_code)
        except typer.Abort:
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the original arguments, from which the command to resume is built."""
        ctx.meta[ARGS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except HpoError as error:
            flags = ctx.meta[ARGS]
            if "--json" in flags:
                _print_json(error)
            if {"-v", "--verbose"} & set(flags):
                typer.echo(printable("".join(traceback.format_exception(error))), err=True)
            _print_problems(_problems(error))
            ran = isinstance(error, NoCompletedTrialError | RefitError)
            raise typer.Exit(1 if ran else 2) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _problems(error: HpoError) -> Sequence[str]:
    """Return one message for each mistake."""
    return error.problems if isinstance(error, SpaceError) else [str(error)]


def _print_problems(problems: Sequence[str]) -> None:
    """Write one message for each mistake to standard error."""
    for problem in problems:
        typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
        typer.echo(printable(problem), err=True)


def _print_json(error: HpoError) -> None:
    """Write the mistakes to standard output, unless a result of the command stands there."""
    if isinstance(error, RefitError | NoCompletedTrialError):
        return
    from hpo.cli._json import print_json

    print_json({"error": type(error).__name__, "problems": _problems(error)})


_PHRASES = (
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be greater than or equal to (\S+)", r"must be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"must be \1 or less"),
    (r"Input should be (.*)", r"must be \1"),
    (r"^Invalid value for (.*?): must be", r"\1 must be"),
)
"""What typer says of a value, and what hpo says."""


def _print_usage_error(error: Any) -> None:
    """Write what is wrong with a command line, and where its options are listed."""
    if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help itself
        error.show()
        return
    message = str(error.format_message()).rstrip().removesuffix(".")
    for theirs, ours in _PHRASES:
        message = re.sub(theirs, ours, message)
    message += "" if message.endswith("?") else "."
    hint = f" See `{error.ctx.command_path} --help`." if error.ctx is not None else ""
    _print_problems([message + hint])
