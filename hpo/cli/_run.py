"""``hpo run``: load the study, run it with a display, and print its summary."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from hpo._stop_signal import StopSignal
from hpo.cli._command import Command
from hpo.cli._console import make_console
from hpo.display.displays import BaseDisplay, LiveDisplay, PlainDisplay

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
        Options defined by the study file that were given there.
    backend_options : mapping of str to object
        Options of the study's backend that were given there.
    fresh, extend, accept_code, retry_failed : bool
        See `run_study`.
    smoke : bool
        Run the smoke test of the study (`Study.smoke`).
    data : Path or None
        Folder of data sets, instead of ``$HPO_DATA``.
    command : Command
        The command that was typed.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    HpoError
        If the study is invalid.
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
            # Loading torch takes seconds, so the display starts before.
            from hpo.cli._launch import launch

            summary = launch(
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
    return summary.print_summary(console, command, interrupt.reason)
