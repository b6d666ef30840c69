"""``hpo run``: load the study, run it under a display, say what came out."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from hpo._stop_signal import StopSignal
from hpo.cli._command import Command
from hpo.cli._console import make_console
from hpo.cli._display import BaseDisplay, LiveDisplay, PlainDisplay

__all__ = ["run_file"]


def run_file(
    path: Path,
    changes: Mapping[str, Any],
    *,
    study_options: Mapping[str, Any],
    backend_options: Mapping[str, Any],
    fresh: bool,
    extend: bool = False,
    accept_code: bool = False,
    retry_failed: bool = False,
    smoke: bool,
    data: Path | None,
    command: Command,
) -> int:
    """Run the study that the file at ``path`` defines.

    Parameters
    ----------
    path : Path
    changes : mapping of str to object
        Fields of `Study` that were given on the command line.
    study_options : mapping of str to object
        Options of the study file's own that were given there.
    backend_options : mapping of str to object
        Options of the study's backend that were given there.
    fresh, extend, accept_code, retry_failed : bool
        See `run_study`.
    smoke : bool
        Run the study's smallest form (`Study.smoke`).
    data : Path or None
        Folder of data sets, instead of ``$HPO_DATA``.
    command : Command
        What was typed.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    HpoError
        If something about the study is wrong.
    """
    if data is not None:
        os.environ["HPO_DATA"] = str(data.absolute())
    console = make_console()
    at_once = f"stopped at once. Go on with\n  {command.resume_command()}"
    display: BaseDisplay = (
        LiveDisplay(console, at_once) if console.is_terminal else PlainDisplay(sys.stdout, at_once)
    )
    interrupt = StopSignal(exit_on_second=True, on_signal=display.on_signal)
    try:
        with display:
            # Loading torch takes seconds, in which something is to be seen already.
            from hpo.cli._launch import launch

            closing = launch(
                path,
                changes,
                study_options=study_options,
                backend_options=backend_options,
                fresh=fresh,
                extend=extend,
                accept_code=accept_code,
                smoke=smoke,
                retry_failed=retry_failed,
                display=display,
                interrupt=interrupt,
            )
    except KeyboardInterrupt:  # before the study began to listen, or after it had ended
        typer.echo(f"\n{at_once}", err=True)
        return 130
    return closing.print_summary(console, command, interrupt.reason)
