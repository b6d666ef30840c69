"""The last words of ``hpo run``: what came out, and where to look next."""

from typing import Any

from rich.console import Console
from rich.text import Text

from hpo._discovery import parse_spec
from hpo.cli._command import Command
from hpo.cli._outcome import counts, facts_table, saved, times, winner_table
from hpo.cli._progress import Progress
from hpo.cli._storage import named_storage
from hpo.result import StudyResult
from hpo.study import Study
from hpo.trackers._uri import redact, resolve_tracking_uri

__all__ = ["Closing"]


class Closing:
    """Says how a study ended.

    Parameters
    ----------
    console : rich.console.Console
    study : Study
        As it was run, overrides included.
    result : StudyResult
    progress : Progress
        What the display has counted.
    command : Command
        What was typed.
    """

    def __init__(
        self,
        console: Console,
        study: Study,
        result: StudyResult,
        progress: Progress,
        command: Command,
    ) -> None:
        self._console = console
        self._study = study
        self._result = result
        self._progress = progress
        self._command = command

    def tell(self, interrupted: str) -> int:
        """Print everything; return the exit code.

        Parameters
        ----------
        interrupted : str
            Why the study was asked to end; empty if it was not.

        Raises
        ------
        NoCompletedTrialError
            If there is no winner and nobody asked for that.
        """
        result, console = self._result, self._console
        self._tell_end(interrupted)
        if result.top(1):
            console.print()
            console.print(f"Winner: trial {result.best_record.number}", style="bold")
            console.print(winner_table(result))
        elif not interrupted:
            result.best_record  # raises, with how all trials ended # noqa: B018
        if interrupted or result.stopped:
            self._section("Go on with", [self._command.going_on()])
        elif not self._progress.n_done_now:
            self._tell_more()
        self._section("Look at it with", self._next())
        console.print(facts_table([("", ""), *self._places()]))
        for note in result.notes:
            console.print(f"\nnote: {note}")
        if interrupted:
            return 143 if interrupted == "terminated" else 130
        return 0

    def _tell_end(self, interrupted: str) -> None:
        result, progress = self._result, self._progress
        if interrupted:
            self._console.print(
                f"Stopped by {interrupted}. Everything so far is kept; trials that were "
                "running are tried again.",
                style="yellow",
            )
        elif result.stopped:
            self._console.print(f"Stopped: {result.stopped}.", style="yellow")
        elif not progress.n_done_now:
            self._console.print(
                f"{result.name} was complete already: nothing was left to do.", style="yellow"
            )
        self._console.print(Text.assemble((result.name, "bold"), "  ", counts(result)))
        rows = [("search took", times(result)), ("pruning saved", saved(result))]
        self._console.print(facts_table(rows))

    def _tell_more(self) -> None:
        limit = self._study.n_trials
        if limit is not None and self._progress.n_done >= limit:
            self._section("For more trials", [self._command.asking_for(2 * limit)])

    def _next(self) -> list[str]:
        result, study, command = self._result, self._study, self._command
        told = []
        if study.storage is not None:
            elsewhere = study.storage != named_storage(None)
            storage = ["--storage", study.storage] if elsewhere else []
            told.append(command.other("show", result.name, *storage))
        uri = _tracking(study)
        if uri is not None:
            elsewhere = uri != resolve_tracking_uri()
            told.append(command.other("ui", *(["--tracking-uri", uri] if elsewhere else [])))
        return told

    def _places(self) -> list[tuple[str, str]]:
        uri = _tracking(self._study)
        storage = self._study.storage
        return [
            ("study in", redact(storage) if storage else "memory: it ends with this process"),
            ("tracked in", redact(uri) if uri else "nothing: the tracker is off"),
        ]

    def _section(self, heading: str, lines: list[str]) -> None:
        if lines:
            self._console.print()
            self._console.print(heading, style="dim")
            for line in lines:
                self._console.print(f"  {line}", soft_wrap=True)


def _tracking(study: Study) -> str | None:
    """Return the MLflow store of a study, None if it has none."""
    tracker: Any = study.tracker
    if not isinstance(tracker, str):
        return getattr(tracker, "tracking_uri", None)
    name, options = parse_spec(tracker)
    if name != "mlflow":
        return None
    return resolve_tracking_uri(options.get("tracking_uri", study.tracking_uri))
