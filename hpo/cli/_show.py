"""``hpo list`` and ``hpo show``: read studies from a storage without changing it."""

import time
from pathlib import Path

from rich.table import Table
from rich.text import Text

from hpo._discovery import did_you_mean
from hpo._redaction import redact
from hpo.cli._console import make_console, print_line
from hpo.cli._storage import readable_storage
from hpo.cli._tables import (
    counts,
    enqueued_table,
    facts_table,
    front_table,
    print_analyses,
    print_comparison,
    print_refit_error,
    saved,
    times,
    top_table,
    trained,
    winner_table,
)
from hpo.display.text import ago, score
from hpo.exceptions import HpoError, StorageError, StudyError
from hpo.result import StudyResult
from hpo.storage.reader import StorageReader
from hpo.study.load import read_outline, read_result
from hpo.trial import TrialState

__all__ = ["list_studies", "read", "show_study"]

N_TOP = 10
"""How many of the best trials are shown."""


def list_studies(option: str | None) -> None:
    """Print a table of the studies in a storage.

    Parameters
    ----------
    option : str or None
        The storage's URL; see `named_storage`.

    Raises
    ------
    StorageError
        If there is no such storage.
    """
    storage = readable_storage(option)
    reader = StorageReader(storage)
    names = reader.names
    console = make_console()
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
        is_oldest = f"{name}@2" in names
        table.add_row(*_row(name, f"{name}@1" if is_oldest else name, reader))
    print_line(console, table)


def _row(name: str, exact: str, reader: StorageReader) -> list[Text]:
    try:
        result = read_outline(reader, exact)
    except HpoError as error:
        return [Text(name), Text("-"), Text(), Text(f"not readable: {error}", style="red"), Text()]
    best = score(result.best_score, result.best_score_se) if result.winner else "-"
    return [Text(name), Text(best), Text(result.scoring), counts(result), Text(_age(result))]


def _age(result: StudyResult) -> str:
    last = max((r.ended or r.started or 0.0 for r in result.records), default=0.0)
    return ago(time.time() - last) if last else "-"


def show_study(name: str, option: str | None, plots: Path | None) -> None:
    """Print the result of a study.

    Parameters
    ----------
    name : str
        See `load_result`.
    option : str or None
        The storage's URL; see `named_storage`.
    plots : Path or None
        Folder to write the report to, if any.

    Raises
    ------
    HpoError
        If there is no such study, or the report cannot be written.
    """
    storage = readable_storage(option)
    result = read(name, storage, outline=plots is None)
    console = make_console()
    print_line(console, Text.assemble((result.name, "bold"), "  ", counts(result)))
    facts = [
        ("search took", times(result)),
        ("pruning saved", saved(result)),
        ("last trial", _age(result)),
        *trained(result, reasons=True),
        *((f"files of trial {number}", str(folder)) for number, folder in result.files.items()),
    ]
    print_line(console, facts_table(facts))
    print_line(console)
    if result.winner:
        print_line(console, f"Winner: trial {result.best_record.number}", style="bold")
        print_line(console, winner_table(result))
        if result.costs:
            print_line(console, "\nPareto front", style="bold")
            print_line(console, front_table(result))
        if result.enqueued_trials():
            print_line(console, "\nEnqueued points", style="bold")
            print_line(console, enqueued_table(result))
        print_comparison(console, result)
        print_analyses(console, result)
        print_line(console, "\nTop ten", style="bold")
        print_line(console, top_table(result, console.width, N_TOP))
    else:
        print_line(console, "No trial is complete with a finite score yet.", style="yellow")
    if result.refit_error:
        print_refit_error(console, result)
    if result.failure_summary():
        print_line(console, "\nFailures", style="bold")
        print_line(console, result.failure_summary(), style="red")
        failed = [r for r in result.records if r.state is TrialState.FAILED and r.error]
        if failed:
            print_line(console, f"\nTraceback of trial {failed[-1].number}", style="bold")
            print_line(console, (failed[-1].error or "").rstrip())
    if plots is not None:
        print_line(console, f"\nThe report is {_write(result, plots)}")


def read(name: str, storage: str, *, outline: bool = False) -> StudyResult:
    """Return a study's result, or its outline; raise `StorageError` if there is none."""
    reader = StorageReader(storage)
    names = reader.names
    if name.removesuffix("@1") not in names:
        listing = f" It has: {', '.join(names)}." if names else " It has none."
        hint = did_you_mean(name, names) or "."
        raise StorageError(f"There is no study '{name}' in {storage}{hint}{listing}")
    return read_outline(reader, name, n_whole=N_TOP) if outline else read_result(reader, name)[0]


def _write(result: StudyResult, folder: Path) -> Path:
    from hpo.review import write_report

    try:
        return write_report(result, folder)["report.html"]
    except OSError as error:
        raise StudyError(
            f"The report cannot be written to {folder} ({error.strerror}). "
            "Name another folder with --plots."
        ) from error
