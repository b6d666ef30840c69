"""``hpo run``: load the study, run it with a display, and print its summary."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from hpo._stop_signal import StopSignal
from hpo.cli._command import Command
from hpo.cli._console import make_console
from hpo.display.displays import BaseDisplay, LiveDisplay, PlainDisplay, SilentDisplay
from hpo.exceptions import NoCompletedTrialError

__all__ = ["Output", "run_file"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a run prints.

    Parameters
    ----------
    as_json : bool
        JSON at the end; the lines of the trials go to standard error.
    quiet : bool
        The winner alone, and no progress.
    verbose : bool
        A line for each epoch too.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def display(self, console: Console, at_once: str) -> BaseDisplay:
        """Return what shows the study while it runs."""
        if self.quiet:
            return SilentDisplay(at_once)
        if self.as_json or self.verbose or not console.is_terminal:
            stream = sys.stderr if self.as_json else sys.stdout
            return PlainDisplay(stream, at_once, epochs=self.verbose)
        return LiveDisplay(console, at_once)


def run_file(
    path: Path,
    changes: Mapping[str, Any],
    *,
    study_options: Mapping[str, Any],
    backend_options: Mapping[str, Any],
    tracker_options: Mapping[str, Any],
    fresh: bool,
    extend: bool = False,
    accept_code: bool = False,
    retry_failed: bool = False,
    smoke: bool,
    data: Path | None,
    command: Command,
    output: Output | None = None,
) -> int:
    """Run the study that the file at ``path`` defines.

    Parameters
    ----------
    path : Path
    changes : mapping of str to object
        Fields of `Study` that were given on the command line.
    study_options : mapping of str to object
        Options defined by the study file that were given there.
    backend_options, tracker_options : mapping of str to object
        Options of the study's backend and tracker that were given there.
    fresh, extend, accept_code, retry_failed : bool
        See `run_study`.
    smoke : bool
        Run the smoke test of the study (`Study.smoke`).
    data : Path or None
        Folder of data sets, instead of ``$HPO_DATA``.
    command : Command
        The command that was typed.
    output : Output or None
        What is printed; by default all but epochs.

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
    console, output = make_console(), output or Output()
    at_once = f"stopped at once. Go on with\n  {command.resume_command()}"
    display = output.display(console, at_once)
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
                tracker_options=tracker_options,
                fresh=fresh,
                extend=extend,
                accept_code=accept_code,
                smoke=smoke,
                retry_failed=retry_failed,
                display=display,
                interrupt=interrupt,
            )
    except NoCompletedTrialError as error:
        if output.as_json:
            from hpo.cli._json import print_json

            print_json({"error": type(error).__name__, "problems": [str(error)]})
        raise
    except KeyboardInterrupt:  # before the study began to listen, or after it had ended
        typer.echo(f"\n{at_once}", err=True)
        return 130
    return summary.print_summary(
        console, command, interrupt.reason, quiet=output.quiet, as_json=output.as_json
    )
