"""``hpo list`` and ``hpo show``: read studies from a storage without changing it."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpo._discovery import did_you_mean
from hpo._redaction import redact
from hpo.cli._console import echo, make_console, print_line
from hpo.cli._csv import print_csv
from hpo.cli._json import count_data, print_json, result_data, trial_data
from hpo.cli._storage import readable_storage
from hpo.cli._tables import (
    counts,
    enqueued_table,
    facts_table,
    front_table,
    print_advice,
    print_analyses,
    print_comparison,
    print_refit_error,
    print_winner,
    top_table,
    trained,
)
from hpo.cli._trial_page import find_trial, print_all, print_trial
from hpo.display.text import ago, counted, saved, score, times
from hpo.exceptions import HpoError, StorageError, StudyError
from hpo.result import StudyResult
from hpo.storage.reader import StorageReader
from hpo.study.load import read_outline, read_result
from hpo.trackers import pages_of
from hpo.trial import TrialState

__all__ = ["Wanted", "list_studies", "read", "show_study"]

N_TOP = 10
"""How many of the best trials are shown."""


def list_studies(option: str | None, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print a table of the studies in a storage.

    Parameters
    ----------
    option : str or None
        The storage's URL; see `named_storage`.
    as_json : bool
        Print JSON instead.
    quiet : bool
        Print the names alone, one a line.

    Raises
    ------
    StorageError
        If there is no such storage.
    """
    storage = readable_storage(option)
    reader = StorageReader(storage)
    names = reader.names
    console = make_console()
    exact = {name: f"{name}@1" if f"{name}@2" in names else name for name in names}
    if as_json:
        studies = [_listed(name, exact[name], reader) for name in names]
        print_json({"storage": redact(storage), "studies": studies})
        return
    if quiet:
        for name in names:
            print_line(console, name)
        return
    if not names:
        print_line(console, f"There are no studies in {redact(storage)} yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("study", no_wrap=True)
    table.add_column("best", justify="right", no_wrap=True)
    table.add_column("score", no_wrap=True)
    table.add_column("trials")
    table.add_column("last trial", no_wrap=True)
    for name in names:
        table.add_row(*_row(name, exact[name], reader))
    print_line(console, table)


def _listed(name: str, exact: str, reader: StorageReader) -> dict[str, Any]:
    try:
        result = read_outline(reader, exact)
    except HpoError as error:
        return {"study": name, "error": str(error)}
    return {
        "study": name,
        "scoring": result.scoring,
        "best_score": result.best_score if result.winner else None,
        "best_score_se": result.best_score_se if result.winner else None,
        "trials": count_data(result),
        "last_trial": _last(result) or None,
    }


def _row(name: str, exact: str, reader: StorageReader) -> list[Text]:
    try:
        result = read_outline(reader, exact)
    except HpoError as error:
        return [Text(name), Text("-"), Text(), Text(f"not readable: {error}", style="red"), Text()]
    best = score(result.best_score, result.best_score_se) if result.winner else "-"
    return [Text(name), Text(best), Text(result.scoring), counts(result), Text(_age(result))]


def _last(result: StudyResult) -> float:
    return max((r.ended or r.started or 0.0 for r in result.records), default=0.0)


def _age(result: StudyResult) -> str:
    last = _last(result)
    return ago(time.time() - last) if last else "-"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `show_study` is to print.

    Parameters
    ----------
    trial : int or None
        One trial alone.
    all_trials : bool
        Every trial.
    as_json, as_csv : bool
        The form; tables of text otherwise.
    plots : Path or None
        Folder to write the report to, if any.
    quiet, verbose : bool
        The winner alone, or more than fits on a screen.
    """

    trial: int | None = None
    all_trials: bool = False
    as_json: bool = False
    as_csv: bool = False
    plots: Path | None = None
    quiet: bool = False
    verbose: bool = False

    @property
    def outline(self) -> bool:
        """Whether the winner and the best trials are all that is needed."""
        more = self.trial is not None or self.all_trials or self.as_csv
        return not (more or self.plots)


def show_study(name: str, option: str | None, wanted: Wanted | None = None) -> None:
    """Print the result of a study.

    Parameters
    ----------
    name : str
        See `load_result`.
    option : str or None
        The storage's URL; see `named_storage`.
    wanted : Wanted or None
        None is the tables.

    Raises
    ------
    HpoError
        If there is no such study or trial, or the report cannot be written.
    """
    wanted = wanted or Wanted()
    if wanted.as_json and wanted.as_csv:
        raise StudyError("--json and --csv exclude each other: choose one of them.")
    storage = readable_storage(option)
    result = read(name, storage, outline=wanted.outline)
    report = None if wanted.plots is None else _write(result, wanted.plots)
    record = None if wanted.trial is None else find_trial(result, wanted.trial)
    if wanted.as_csv:
        only = (record,) if record else result.records
        print_csv(replace(result, records=only))
    elif wanted.as_json:
        data = (
            {"study": result.name, "scoring": result.scoring, **trial_data(record, curve=True)}
            if record
            else result_data(result, n_top=N_TOP, trials=wanted.all_trials)
        )
        print_json(data | ({"report": report} if report else {}))
    elif record:
        print_trial(make_console(), result, record, wanted.verbose)
    else:
        _print_study(make_console(), result, wanted)
        if report:
            print_line(make_console(), f"\nThe report is {report}")


def _print_study(console: Console, result: StudyResult, wanted: Wanted) -> None:
    """Print the study; the winner stands last, where the eye is."""
    if not wanted.quiet:
        _print_course(console, result, wanted)
    if result.winner is None:
        print_line(console, "No trial is complete with a finite score yet.", style="yellow")
    else:
        print_winner(console, result)
    if not (wanted.quiet or wanted.all_trials) and result.records:
        hints = "--trial N shows a trial, --all every trial, --json or --csv for programs"
        print_line(console, f"\n{hints}", style="dim")


def _print_course(console: Console, result: StudyResult, wanted: Wanted) -> None:
    print_line(console, Text.assemble((result.name, "bold"), "  ", counts(result)))
    facts = [
        ("search took", times(result)),
        ("pruning saved", saved(result)),
        ("last trial", _age(result)),
        *trained(result, reasons=True),
        *((f"files of trial {number}", str(folder)) for number, folder in result.files.items()),
    ]
    print_line(console, facts_table(facts))
    for page in pages_of(result.name, result.key) if result.key else ():
        echo(f"  trials at {page}")  # an address is never broken into lines
    if wanted.all_trials:
        print_line(console, "\nAll trials", style="bold")
        print_all(console, result)
    if result.refit_error:
        print_refit_error(console, result)
    if result.failure_summary():
        print_line(console, "\nFailures", style="bold")
        print_line(console, result.failure_summary(), style="red")
        failed = [r for r in result.records if r.state is TrialState.FAILED and r.error]
        if failed:
            print_line(console, f"\nTraceback of trial {failed[-1].number}", style="bold")
            print_line(console, (failed[-1].error or "").rstrip())
    if result.winner:
        if not wanted.all_trials:
            n = len(result.top(N_TOP))
            title = "Top ten" if n == N_TOP else f"The {counted(n, 'complete trial')}"
            print_line(console, f"\n{title}", style="bold")
            print_line(console, top_table(result, console.width, N_TOP))
        if result.enqueued_trials():
            print_line(console, "\nEnqueued points", style="bold")
            print_line(console, enqueued_table(result))
        if result.costs:
            print_line(console, "\nPareto front", style="bold")
            print_line(console, front_table(result))
        print_comparison(console, result)
        print_analyses(console, result)
        print_advice(console, result)
    print_line(console)


def read(name: str, storage: str, *, outline: bool = False) -> StudyResult:
    """Return a study's result, or its outline; raise `StorageError` if there is none."""
    reader = StorageReader(storage)
    names = reader.names
    if name.removesuffix("@1") not in names:
        listing = f" It has: {', '.join(names)}." if names else " It has none."
        hint = did_you_mean(name, names) or "."
        raise StorageError(f"There is no study '{name}' in {storage}{hint}{listing}")
    return read_outline(reader, name, n_whole=N_TOP) if outline else read_result(reader, name)


def _write(result: StudyResult, folder: Path) -> Path:
    from hpo.review import write_report

    try:
        return write_report(result, folder)["report.html"]
    except OSError as error:
        raise StudyError(
            f"The report cannot be written to {folder} ({error.strerror}). "
            "Name another folder with --plots."
        ) from error
