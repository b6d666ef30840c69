"""The last words of ``hpo run``: what came out, and where to look next."""

from typing import Any

from rich.console import Console
from rich.text import Text

from hpo._discovery import parse_spec
from hpo._redaction import redact
from hpo._trained_by import asked_for_batches
from hpo.cli._command import Command
from hpo.cli._comparison import print_analyses, print_comparison
from hpo.cli._console import print_line
from hpo.cli._outcome import (
    counts,
    enqueued_table,
    facts_table,
    front_table,
    saved,
    times,
    trained,
    winner_table,
)
from hpo.cli._progress import Progress
from hpo.cli._storage import named_storage
from hpo.cli._text import counted
from hpo.exceptions import RefitError
from hpo.result import StudyResult
from hpo.study import Study
from hpo.trackers.mlflow.uri import resolve_tracking_uri

__all__ = ["Closing", "tell_refit_error"]


N_FILES = 3
"""Folders of files that are told of."""


class Closing:
    """Says how a study ended.

    Parameters
    ----------
    study : Study
        As it was run, overrides included.
    result : StudyResult
    progress : Progress
        What the display has counted.
    failure : RefitError or None
        What became of the winner, if that failed.
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

    def print_summary(self, console: Console, command: Command, interrupted: str) -> int:
        """Print everything; return the exit code.

        Parameters
        ----------
        console : rich.console.Console
        command : Command
            What was typed.
        interrupted : str
            Why the study was asked to end; empty if it was not.

        Raises
        ------
        NoCompletedTrialError
            If there is no winner and nobody asked the study to end.
        RefitError
            If the winner could not be refitted or scored.
        """
        result = self._result
        self._tell_end(console, interrupted)
        if result.winner:
            print_line(console)
            print_line(console, f"Winner: trial {result.best_record.number}", style="bold")
            print_line(console, winner_table(result))
        if result.costs and result.top(1):
            print_line(console, "\nPareto front", style="bold")
            print_line(console, front_table(result))
        if result.enqueued_trials() and result.top(1):
            print_line(console, "\nGiven points", style="bold")
            print_line(console, enqueued_table(result))
        print_comparison(console, result)
        print_analyses(console, result)
        if self._study.storage is not None and (interrupted or result.stopped):
            _section(console, "Go on with", [command.resume_command()])
        elif not self._progress.n_done_now:
            self._tell_more(console, command)
        if result.n_failed and self._study.storage is not None:
            told = f"Try the {counted(result.n_failed, 'failed trial')} again, once mended, with"
            _section(console, told, [command.retrying()])
        _section(console, "Look at it with", self._next(command))
        print_line(console, facts_table([("", ""), *self._places()]))
        for note in result.notes:
            print_line(console, f"\nnote: {note}")
        if self._failure is not None:
            if self._study.storage is None:  # `hpo show` has it otherwise
                tell_refit_error(console, result)
            raise self._failure
        if interrupted:
            return 143 if interrupted == "terminated" else 130
        result.best_record  # raises without one # noqa: B018
        return 0

    def _tell_end(self, console: Console, interrupted: str) -> None:
        result, progress = self._result, self._progress
        if interrupted:
            kept = (
                "everything so far is kept, and trials that were running are tried again"
                if self._study.storage is not None
                else "nothing is kept, for the study has no storage: name one with --storage"
            )
            print_line(console, f"Stopped ({interrupted}): {kept}.", style="yellow")
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
        told = trained(result, reasons=False) if in_batches else []  # the notes have the reasons
        print_line(console, facts_table([*rows, *told]))

    def _tell_more(self, console: Console, command: Command) -> None:
        limit = self._study.n_trials
        if limit is not None and self._progress.n_done >= limit:
            _section(console, "For more trials", [command.asking_for(2 * limit)])

    def _next(self, command: Command) -> list[str]:
        result, study = self._result, self._study
        told, named = [], []
        if study.storage is not None:
            elsewhere = study.storage != named_storage(None)
            named = [result.name, *(["--storage", study.storage] if elsewhere else [])]
            told.append(command.other("show", *named))
        tracked, uri = _tracking(study)
        if tracked:
            told.append(command.other("ui", *named, *(["--tracking-uri", uri] if uri else [])))
        return told

    def _places(self) -> list[tuple[str, str]]:
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
            ("tracked in", redact(resolve_tracking_uri(uri)) if tracked else "nothing"),
        ]


def tell_refit_error(console: Console, result: StudyResult) -> None:
    """Print the traceback of a refit that failed."""
    print_line(
        console, f"\nTraceback of the refit of trial {result.best_record.number}", style="bold"
    )
    print_line(console, result.refit_error.rstrip())


def _section(console: Console, heading: str, lines: list[str]) -> None:
    if lines:
        print_line(console)
        print_line(console, heading, style="dim")
        for line in lines:
            print_line(console, f"  {line}")


def _tracking(study: Study) -> tuple[bool, str | None]:
    """Return whether MLflow is told of a study, and the store that the study names, if any."""
    tracker: Any = study.tracker
    if not isinstance(tracker, str):
        uri = getattr(tracker, "tracking_uri", None)
        return uri is not None, uri
    name, options = parse_spec(tracker)
    return name == "mlflow", options.get("tracking_uri", study.tracking_uri)
