"""Which display a run gets: a live one in a terminal or a notebook, lines, or none."""

import sys
from typing import TYPE_CHECKING

from hpo.exceptions import StudyError

if TYPE_CHECKING:
    from hpo.display.displays import BaseDisplay

__all__ = ["PROGRESS", "display_for"]

PROGRESS = ("auto", "live", "lines", "none")


def display_for(progress: str, verbose: int = 1) -> "BaseDisplay | None":
    """Return what shows a study while it runs; None for nothing.

    Parameters
    ----------
    progress : {"auto", "live", "lines", "none"}
        ``"auto"`` is the live display in a terminal and in a notebook, and nothing anywhere else.
    verbose : int
        0 is nothing, whatever ``progress`` says; 2 is a line for each trial and each epoch, unless
        ``progress`` is ``"none"``.

    Raises
    ------
    StudyError
        If ``progress`` is none of these.
    """
    if progress not in PROGRESS:
        choices = ", ".join(map(repr, PROGRESS))
        raise StudyError(f"progress must be one of {choices}. Got {progress!r} instead.")
    if progress == "none" or verbose <= 0:
        return None
    from hpo.display.displays import LiveDisplay, PlainDisplay  # with rich, which takes its time

    if progress == "lines" or verbose > 1:
        return PlainDisplay(sys.stdout, epochs=verbose > 1)
    if _in_notebook():
        from hpo.display.notebook import NotebookDisplay

        return NotebookDisplay()
    if progress == "live" or sys.stdout.isatty():
        from rich.console import Console

        console = Console(highlight=False, markup=False, emoji=False)
        return LiveDisplay(console) if console.is_terminal else PlainDisplay(sys.stdout)
    return None


def _in_notebook() -> bool:
    """Return whether this process is a kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
