"""The summary at the end of ``hpo run``: the result, and what to do next."""

from typing import Any

from rich.console import Console
from rich.text import Text

from hpo._discovery import parse_spec
from hpo._redaction import redact
from hpo._stop_signal import exit_code
from hpo._trained_by import asked_for_batches
from hpo.cli._command import Command
from hpo.cli._console import echo, print_line
from hpo.cli._json import print_json, result_data
from hpo.cli._storage import named_storage
from hpo.cli._tables import (
    counts,
    enqueued_table,
    facts_table,
    front_table,
    print_analyses,
    print_comparison,
    print_refit_error,
    print_winner,
    trained,
)
from hpo.display.progress import Progress
from hpo.display.text import counted, saved, times
from hpo.exceptions import RefitError
from hpo.result import StudyResult
from hpo.study import Study
from hpo.trackers import pages_of
from hpo.trackers.mlflow.uri import resolve_tracking_uri

__all__ = ["RunSummary"]


SILENT = 3
"""Exit code of a study of which trials are left on machines that have given no sign for minutes."""
N_FILES = 3
"""Maximal number of folders to list."""


class RunSummary:
    """Prints how a study ended.

    Parameters
    ----------
    study : Study
        The study as it was run, including overrides.
    result : StudyResult
    progress : Progress
        The counts of the display.
    failure : RefitError or None
        The error of the refit, if it failed.
    """

    def __init__(
        self,
        study: Study,
        result: StudyResult,
        progress: Progress,
        failure: RefitError | None = None,
    ) -> None:
        self._failure = failure
        self._study = study
        self._result = result
        self._progress = progress

    def print_summary(
        self,
        console: Console,
        command: Command,
        interrupted: str,
        *,
        quiet: bool = False,
        as_json: bool = False,
    ) -> int:
        """Print everything, the winner and what to do next last; return the exit code.

        Parameters
        ----------
        console : rich.console.Console
        command : Command
            The command that was typed.
        interrupted : str
            Why the study was interrupted; empty if it was not.
        quiet : bool
            Print the winner alone.
        as_json : bool
            Print JSON instead.

        Raises
        ------
        NoCompletedTrialError
            If there is no winner and the study was not interrupted.
        RefitError
            If the winner could not be refitted or scored.
        """
        result = self._result
        if as_json:
            where = {"interrupted": interrupted, "locations": dict(self._locations())}
            print_json(result_data(result) | where)
        else:
            self._print(console, command, interrupted, quiet=quiet)
        if self._failure is not None:
            raise self._failure
        if interrupted:
            return exit_code(interrupted)
        if result.silent_trials:
            return SILENT
        if result.finished_by:
            return 0
        result.best_record  # raises without one # noqa: B018
        return 0

    def _print(self, console: Console, command: Command, interrupted: str, *, quiet: bool) -> None:
        result = self._result
        if not quiet:
            self._print_end(console, interrupted)
            self._print_details(console)
        if result.winner:
            print_winner(console, result)
        if not quiet:
            self._print_next(console, command, interrupted)
            print_line(console, facts_table(self._locations()))
            self._print_pages()

    def _print_details(self, console: Console) -> None:
        result = self._result
        if result.enqueued_trials() and result.top(1):
            print_line(console, "\nEnqueued points", style="bold")
            print_line(console, enqueued_table(result))
        if result.costs and result.top(1):
            print_line(console, "\nPareto front", style="bold")
            print_line(console, front_table(result))
        print_comparison(console, result)
        print_analyses(console, result)
        for note in result.notes:
            print_line(console, f"\nnote: {note}")
        if self._failure is not None and self._study.storage is None:
            print_refit_error(console, result)  # `hpo show` has it otherwise
        print_line(console)

    def _print_next(self, console: Console, command: Command, interrupted: str) -> None:
        result = self._result
        print_line(console)
        if self._study.storage is not None and (interrupted or result.stopped):
            _section(console, "Go on with", [command.resume_command()])
        elif not self._progress.n_done_now:
            self._print_more(console, command)
        if result.n_failed and self._study.storage is not None:
            heading = f"Try the {counted(result.n_failed, 'failed trial')} again, once mended, with"
            _section(console, heading, [command.retrying()])
        _section(console, "Look at it with", self._next_commands(command))

    def _print_end(self, console: Console, interrupted: str) -> None:
        result, progress = self._result, self._progress
        if interrupted:
            consequence = (
                "everything so far is kept, and trials that were running are tried again"
                if self._study.storage is not None
                else "nothing is kept, for the study has no storage: name one with --storage"
            )
            print_line(console, f"Stopped ({interrupted}): {consequence}.", style="yellow")
        elif result.stopped:
            print_line(console, f"Stopped: {result.stopped}.", style="yellow")
        elif not progress.n_done_now:
            print_line(
                console,
                f"{result.name} was complete already: nothing was left to do.",
                style="yellow",
            )
        print_line(console, Text.assemble((result.name, "bold"), "  ", counts(result)))
        rows = [("search took", times(result)), ("pruning saved", saved(result))]
        in_batches = any(map(asked_for_batches, result.records))
        training_rows = (
            trained(result, reasons=False) if in_batches else []
        )  # the notes have the reasons
        print_line(console, facts_table([*rows, *training_rows]))

    def _print_more(self, console: Console, command: Command) -> None:
        limit = self._study.n_trials
        if limit is not None and self._progress.n_done >= limit:
            _section(console, "For more trials", [command.asking_for(2 * limit)])

    def _next_commands(self, command: Command) -> list[str]:
        result, study = self._result, self._study
        commands, arguments = [], []
        if study.storage is not None:
            not_default = study.storage != named_storage(None)
            arguments = [result.name, *(["--storage", study.storage] if not_default else [])]
            commands.append(command.other("show", *arguments))
        tracked, uri = _tracking(study)
        if tracked:
            commands.append(
                command.other("ui", *arguments, *(["--tracking-uri", uri] if uri else []))
            )
        return commands

    def _locations(self) -> list[tuple[str, str]]:
        tracked, uri = _tracking(self._study)
        storage = self._study.storage
        files = [
            (f"files of trial {number} in", str(folder))
            for number, folder in self._result.files.items()
            if storage
        ]
        return [
            *files[:N_FILES],
            ("study in", redact(storage) if storage else "memory: it ends with this process"),
            ("tracked in", redact(resolve_tracking_uri(uri)) if tracked else _other(self._study)),
        ]

    def _print_pages(self) -> None:
        """Print where a server shows the trials; an address is never broken into lines."""
        result = self._result
        for page in pages_of(result.name, result.key) if result.key else ():
            echo(f"  trials at   {page}")


def _section(console: Console, heading: str, lines: list[str]) -> None:
    if lines:
        print_line(console, heading, style="dim")
        for line in lines:
            print_line(console, f"  {line}")


def _other(study: Study) -> str:
    """Return the name of a tracker that is not MLflow's."""
    tracker: Any = study.tracker
    if not isinstance(tracker, str):
        return type(tracker).__name__
    name = parse_spec(tracker)[0]
    return "nothing" if name == "null" else name


def _tracking(study: Study) -> tuple[bool, str | None]:
    """Return whether a study is tracked in MLflow, and the store that it names, if any."""
    tracker: Any = study.tracker
    if not isinstance(tracker, str):
        uri = getattr(tracker, "tracking_uri", None)
        return uri is not None, uri
    name, options = parse_spec(tracker)
    return name == "mlflow", options.get("tracking_uri", study.tracking_uri)
