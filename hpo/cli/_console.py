"""The console of the command line."""

import io
import sys

from rich.console import Console, RenderableType

__all__ = ["make_console", "print_line"]

_WIDE = 10_000
"""Width if the output is not a terminal: lines are read by programs and never wrapped."""


def make_console() -> Console:
    """Return a console on standard output that prints texts literally, without markup."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a limited encoding must not end a study
    terminal = sys.stdout.isatty()
    return Console(highlight=False, markup=False, emoji=False, width=None if terminal else _WIDE)


def print_line(console: Console, what: RenderableType = "", style: str | None = None) -> None:
    """Print ``what``, without trailing blanks if the output is not a terminal."""
    if console.is_terminal:
        console.print(what, style=style)
        return
    with console.capture() as printed:
        console.print(what, style=style)
    console.file.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
    console.file.flush()
