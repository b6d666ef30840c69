"""Where the command line prints."""

import sys

from rich.console import Console

__all__ = ["make_console"]

_WIDE = 10_000
"""Columns where the output is no terminal: lines are for programs to read, and never wrapped."""


def make_console() -> Console:
    """Return a console on standard output that takes every text as it is, without markup."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, markup=False, emoji=False, width=None if terminal else _WIDE)
