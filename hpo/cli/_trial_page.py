"""One trial in full, and all trials in plain lines."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpo.cli._console import print_line
from hpo.cli._tables import facts_table
from hpo.display.progress import standard_error
from hpo.display.screen import COLORS
from hpo.display.text import duration, going_on, score, single_line
from hpo.exceptions import StudyError
from hpo.result import StudyResult
from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["curve_lines", "find_trial", "print_all", "print_trial"]

_HEIGHT, _WIDTH = 8, 60
"""Rows and columns of a curve."""
_AXIS = 10
_MOST_EPOCHS = 20
"""Epochs that the table of a trial lists, unless more are asked for."""


def find_trial(result: StudyResult, number: int) -> TrialRecord:
    """Return a trial by its number.

    Raises
    ------
    StudyError
        If there is none; the message says which there are.
    """
    for record in result.records:
        if record.number == number:
            return record
    numbers = [record.number for record in result.records]
    there = f"They are numbered {min(numbers)} to {max(numbers)}." if numbers else "It has none."
    raise StudyError(f"Study '{result.name}' has no trial {number}. {there}")


def print_trial(console: Console, result: StudyResult, record: TrialRecord, verbose: bool) -> None:
    """Print a trial: the scores of its folds, its curve, its parameters, and last how it ended.

    What is longest comes first: the eye is at the end, and a small terminal shows that alone.
    """
    state = str(record.state)
    winner = " (the winner)" if record is result.winner else ""
    title = (f"{result.name}, trial {record.number}", "bold")
    print_line(console, Text.assemble(title, "  ", (state, COLORS[state]), winner))
    if record.error:
        print_line(console, "\nTraceback", style="bold")
        print_line(console, record.error.rstrip())
    shown = record.reports or record.screening
    if shown:
        of = "" if record.reports else ", the first fold alone"
        print_line(console, f"\n{result.scoring} by epoch{of}", style="bold")
        print_line(console, _epochs(result, record, _MOST_EPOCHS if not verbose else None))
        print_line(console)
        for line in curve_lines(shown, min(_WIDTH, console.width - _AXIS - 4)):
            print_line(console, line)
    print_line(console, "\nParameters", style="bold")
    print_line(console, facts_table((name, _exact(v)) for name, v in record.trial.params.items()))
    print_line(console, Text.assemble("\n", (f"Trial {record.number} is {state}", "bold"), winner))
    print_line(console, facts_table(_facts(result, record)))


def _exact(value: object) -> str:
    return single_line(value if isinstance(value, str) else repr(value))


def _facts(result: StudyResult, record: TrialRecord) -> list[tuple[str, str | Text]]:
    rows: list[tuple[str, str | Text]] = []
    best = record.best_report
    if best is not None:
        text = f"{score(best.value, standard_error(best.fold_values))}"
        rows.append((result.scoring, f"{text}, epoch {best.step} of {record.max_steps or '?'}"))
        if best.fold_values:
            rows.append(("its folds", "  ".join(map(score, best.fold_values))))
    ranks = {r.number: rank for rank, r in enumerate(result.top(len(result.records)), start=1)}
    if record.number in ranks:
        rows.append(("rank", f"{ranks[record.number]} of {len(ranks)} complete trials"))
    if record.reason:
        rows.append((_why(record), single_line(record.reason)))
    made = f"{record.n_made:.3g} of {record.max_steps or '?'} epochs"
    if record.screening and not record.reports:
        n, n_folds = record.screening[-1].step, len(record.screening[-1].fold_values)
        made = f"{n} of {record.max_steps or '?'} epochs on one of {n_folds} folds"
    rows.append(("trained", f"{made} in {duration(record.seconds)}"))
    if record.trained_by:
        why = f", because {single_line(record.trained_by_reason)}"
        rows.append(("trained by", record.trained_by + (why if record.trained_by_reason else "")))
    if record.worker and record.worker != record.trained_by:
        rows.append(("worker", record.worker))
    if record.trial.resumed_from is not None:
        rows.append(("resumed", going_on(record)))
    if record.number in result.files:
        rows.append(("files", str(result.files[record.number])))
    return rows


def _why(record: TrialRecord) -> str:
    return {
        TrialState.PRUNED: "pruned because",
        TrialState.FAILED: "failed because",
        TrialState.INTERRUPTED: "interrupted because",
    }.get(record.state, "ended because")


def curve_lines(reports: Sequence[Report], width: int) -> list[str]:
    """Return the scores by epoch as a plot of text; epochs without a finite one leave a gap."""
    finite = [report for report in reports if math.isfinite(report.value)]
    if len(finite) < 2:
        return ["  (a curve takes two epochs with finite scores)"]
    values = [report.value for report in finite]
    low, high = min(values), max(values)
    first, last = finite[0].step, finite[-1].step
    n_columns = max(2, min(width, last - first + 1))
    rows = [[" "] * n_columns for _ in range(_HEIGHT)]
    for report in finite:
        column = round((report.step - first) / (last - first) * (n_columns - 1))
        share = (report.value - low) / (high - low) if high > low else 0.5
        rows[_HEIGHT - 1 - round(share * (_HEIGHT - 1))][column] = "•"
    labels = [score(high), *[""] * (_HEIGHT - 2), score(low)]
    lines = [
        f"{label:>{_AXIS}} │{''.join(row)}".rstrip()
        for label, row in zip(labels, rows, strict=True)
    ]
    end = f"epoch {last}"
    axis = f"{' ' * _AXIS} └{'─' * n_columns}"
    feet = f"{first}".ljust(max(1, n_columns - len(end) + 1))
    return [*lines, axis, f"{' ' * _AXIS}  {feet}{end}"]


def _epochs(result: StudyResult, record: TrialRecord, most: int | None) -> Table:
    """Return a table of the epochs, evenly spread if there are more than ``most``."""
    reports, best = record.reports or record.screening, record.best_report
    if most is not None and len(reports) > most:
        kept = {round(i * (len(reports) - 1) / (most - 1)) for i in range(most)}
        reports = tuple(r for i, r in enumerate(reports) if i in kept or r is best)
    n_folds = max(len(report.fold_values) for report in reports)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    headers = ["epoch", result.scoring, "s.e.", *(f"fold {i}" for i in range(n_folds)), "seconds"]
    for header in headers:
        table.add_column(Text(header), justify="right")
    for report in reports:
        trained = report.fold_values[:1] if report.screening else report.fold_values
        folds = [score(value) for value in trained]
        folds += [""] * (n_folds - len(folds))
        error = standard_error(report.fold_values)
        cells = [
            str(report.step),
            score(report.value),
            f"{error:.2g}" if math.isfinite(error) else "",
            *folds,
            f"{report.seconds:.2g}",
        ]
        table.add_row(*map(Text, cells), style="bold" if report is best else "")
    return table


def print_all(console: Console, result: StudyResult) -> None:
    """Print every trial on lines of its own: how it ended, and all its parameters."""
    for record in result.records:
        state = str(record.state)
        best = record.best_report
        scored = ""
        if best is not None:
            error = standard_error(best.fold_values)
            scored = f"  {score(best.value, error)}, epoch {best.step}"
        made = f" ({record.last_step} of {record.max_steps} epochs)" if record.max_steps else ""
        head = (f"trial {record.number}", "bold")
        print_line(console, Text.assemble(head, "  ", (state, COLORS[state]), scored + made))
        if record.reason:
            print_line(console, Text(f"    {single_line(record.reason)}", style="dim"))
        params = record.trial.params.items()
        text = ", ".join(f"{name}={_exact(value)}" for name, value in params)
        print_line(console, Text(f"    {text}"))
