"""The console of the command line."""

import errno
import io
import os
import sys
from collections.abc import Iterable

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from hpo._format import printable

__all__ = ["echo", "make_console", "print_line"]

_GONE = {errno.EPIPE, errno.EIO, errno.EBADF}
"""Errors of a pipe, a terminal, and a file that was closed."""

_WIDE = 10_000
"""Width if the output is not a terminal: lines are read by programs and never wrapped."""


class _SafeConsole(Console):
    """A console that prints control characters in texts as escapes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)


def make_console() -> Console:
    """Return a console on standard output that prints texts literally, without markup."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a limited encoding must not end a study
    terminal = sys.stdout.isatty()
    return _SafeConsole(
        highlight=False, markup=False, emoji=False, width=None if terminal else _WIDE
    )


def print_line(console: Console, what: RenderableType = "", style: str | None = None) -> None:
    """Print ``what``, without trailing blanks if the output is not a terminal."""
    try:
        _print(console, what, style)
    except (OSError, ValueError) as error:
        _check_gone(error)
        _silence(1)  # or Python would fail once more when it flushes it


def _print(console: Console, what: RenderableType, style: str | None) -> None:
    if console.is_terminal:
        console.print(what, style=style)
        return
    with console.capture() as printed:
        console.print(what, style=style)
    console.file.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
    console.file.flush()


def echo(text: str, *, err: bool = False) -> None:
    """Print a text to standard output or standard error, with control characters as escapes."""
    try:
        typer.echo(printable(text), err=err)
    except (OSError, ValueError) as error:
        _check_gone(error)
        _silence(2 if err else 1)


def _check_gone(error: OSError | ValueError) -> None:
    """Raise an error of printing unless it says that nobody reads on.

    `| head -1`, a terminal that was closed, or a stream that a trial has closed (a `ValueError`).
    """
    if isinstance(error, OSError) and error.errno not in _GONE:
        raise error


def _silence(descriptor: int) -> None:
    """Have standard output or standard error lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
