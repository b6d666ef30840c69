"""Tables of a study's result: the winner, its scores, what pruning saved, comparisons."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from hpo._trained_by import format_reasons, format_trained_by
from hpo.cli._console import print_line
from hpo.display.screen import COLORS
from hpo.display.text import (
    amount,
    brief,
    brief_value,
    counted,
    number,
    score,
    score_with_interval,
    short_names,
)
from hpo.result import StudyResult
from hpo.review.advice import advice
from hpo.review.analyses import found_analyses, told
from hpo.review.comparison import BEST, Comparison, compare
from hpo.review.gap import gap_to_held_out

__all__ = [
    "comparison_table",
    "counts",
    "enqueued_table",
    "facts_table",
    "front_table",
    "print_advice",
    "print_analyses",
    "print_comparison",
    "print_refit_error",
    "print_winner",
    "top_table",
    "trained",
    "winner_table",
]

_FACTS = 28
"""Width in columns of a trial's number, score and epoch."""
_FEW = 8
"""Parameters that stand below each other, so that the winner fits on a terminal of 24 rows."""


def counts(result: StudyResult) -> Text:
    """Return ``30 trials: 14 complete, 15 pruned, 1 failed (and 2 interrupted)``."""
    states = Counter(str(r.state) for r in result.records if not r.interrupted)
    text = Text(counted(result.n_trials, "trial"))
    for i, (state, color) in enumerate(
        (state, color) for state, color in COLORS.items() if states[state]
    ):
        text.append(": " if i == 0 else ", ")
        text.append(f"{states[state]} {state}", style=color)
    if result.n_interrupted:
        text.append(f" (and {result.n_interrupted} interrupted)")
    return text


def trained(result: StudyResult, *, reasons: bool) -> list[tuple[str, str | Text]]:
    """Return rows on how the trials were trained; none if that was not recorded.

    Parameters
    ----------
    result : StudyResult
    reasons : bool
        Whether to include why some trials were not batched.
    """
    if not result.trained_by:
        return []
    reason_lines = format_reasons(result.records) if reasons else []
    return [
        ("trained", format_trained_by(result.trained_by)),
        *(("", line) for line in reason_lines),
    ]


def winner_table(result: StudyResult, width: int = 10_000) -> Group:
    """Return the winner's scores and, below them, its parameters.

    Parameters
    ----------
    result : StudyResult
    width : int
        Available width: more than `_FEW` parameters stand in as many columns as it holds.
    """
    best = result.best_record
    report = best.best_report
    n_folds = len(report.fold_values) if report else 0
    folds = counted(n_folds, "fold") if n_folds else "cross-validated"
    text = Text(score(best.value, result.best_score_se), style="bold green")
    if math.isfinite(result.best_score_se):
        text.append(" s.e.", style="not bold")
    total = f" of {best.max_steps}" if best.max_steps else ""
    which = "last epoch" if result.select == "last" else "epoch"
    text.append(f", {which} {result.best_step}{total}", style="not bold")
    rows: list[tuple[str, str | Text]] = [(f"{result.scoring}, {folds}", text)]
    rows += _honest_scores(result)
    params = _params_table({k: number(v) for k, v in best.best_params.items()}, width)
    tables = [facts_table(rows), Text(), params] if best.best_params else [facts_table(rows)]
    if result.recommendation:
        tables.append(facts_table([("recommended", result.recommendation)]))
    return Group(*tables)


def _params_table(params: Mapping[str, str], width: int) -> Table:
    """Return names and values; of many parameters in several columns, read downwards."""
    n_columns = 1
    if len(params) > _FEW:
        name_width = max(map(len, params)) + 2
        value_width = max(map(len, params.values()))
        n_columns = max(1, min(4, (width + 2) // (name_width + value_width + 4)))
    n_rows = -(-len(params) // n_columns)
    table = Table.grid(padding=(0, 2))
    for _ in range(n_columns):
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
    cells = [(Text(f"  {name}"), Text(value)) for name, value in params.items()]
    for i in range(n_rows):
        table.add_row(*(part for pair in cells[i::n_rows] for part in pair))
    return table


def _honest_scores(result: StudyResult) -> list[tuple[str, str | Text]]:
    """Return rows of the corrected and of the held-out score."""
    rows: list[tuple[str, str | Text]] = []
    if result.corrected is not None:
        value = score_with_interval(result.corrected.value, result.corrected.interval)
        rows.append(("corrected for the choice", Text(value, style="bold")))
    elif result.uncorrected:
        rows.append(("corrected for the choice", f"cannot be told: {result.uncorrected}"))
    if result.nested:
        value = score(result.nested_score, result.nested_score_se)
        name = f"nested, {counted(len(result.nested), 'outer fold')}"
        rows.append((name, Text(f"{value} s.e.", style="bold")))
    if result.test_score is not None:
        verdict, advice = gap_to_held_out(result)
        text = Text(score_with_interval(result.test_score, result.test_interval), style="bold")
        text.append(f", {verdict}", style="not bold")
        rows.append((f"{result.scoring}, held-out test", text))
        rows += [("", advice)] if advice else []
    return rows


def print_winner(console: Console, result: StudyResult) -> None:
    """Print the winner with its scores and parameters."""
    print_line(console, f"Winner: trial {result.best_record.number}", style="bold")
    print_line(console, winner_table(result, console.width))


def front_table(result: StudyResult) -> Table:
    """Return a table of the Pareto front with scores and costs."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for header in ("trial", result.scoring, *result.costs):
        table.add_column(Text(header), justify="right", no_wrap=True)
    table.add_column("parameters")
    for record in result.pareto_front():
        costs = [amount(record.cost(name)) for name in result.costs]
        facts = [str(record.number), score(record.value), *costs]
        table.add_row(*map(Text, [*facts, brief(record.trial.params)]))
    return table


def enqueued_table(result: StudyResult) -> Table:
    """Return a table of the enqueued trials with their ranks."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for header in ("trial", result.scoring, "rank"):
        table.add_column(Text(header), justify="right", no_wrap=True)
    table.add_column("parameters")
    for rank, record in result.enqueued_trials():
        place = f"{rank} of {result.n_complete}" if rank else str(record.state)
        facts = [str(record.number), score(record.value), place]
        table.add_row(*map(Text, [*facts, brief(record.trial.params)]))
    return table


def top_table(result: StudyResult, width: int, n: int = 10) -> Table:
    """Return the ``n`` best trials as a table.

    Parameters
    ----------
    result : StudyResult
    width : int
        Available width; if it is too narrow for a column per parameter, the parameters share one
        column.
    n : int, default=10
    """
    best = result.top(n)
    names = short_names(dict.fromkeys(name for record in best for name in record.trial.params))
    cells = [
        [brief_value(r.trial.params[name]) if name in r.trial.params else "" for name in names]
        for r in best
    ]
    headers = list(names.values())
    columns = zip(headers, *cells, strict=True)
    if _FACTS + sum(max(map(len, column)) + 2 for column in columns) > width:
        headers, cells = ["parameters"], [[brief(record.trial.params)] for record in best]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for header in ("trial", result.scoring, "epoch"):
        table.add_column(Text(header), justify="right", no_wrap=True)
    for header in headers:
        table.add_column(Text(header))
    for record, values in zip(best, cells, strict=True):
        step = record.best_report.step if record.best_report else 0
        facts = [str(record.number), score(record.value), str(step)]
        table.add_row(*map(Text, [*facts, *values]))
    return table


def facts_table(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return a table of names and values; an empty name makes an empty label."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(f"  {name}"), Text(value) if isinstance(value, str) else value)
    return table


def print_comparison(console: Console, result: StudyResult) -> None:
    """Print the groups of the comparison, if there is one, and the note on how it was judged."""
    comparison = compare(result)
    if comparison is None:
        return
    names = " × ".join(short_names(comparison.names).values())
    print_line(console, f"\nComparison: {names}", style="bold")
    print_line(console, comparison_table(comparison, console.width))
    print_line(console, comparison.note, style="dim")


def comparison_table(comparison: Comparison, width: int) -> Table:
    """Return a table of the groups.

    If it is wider than ``width``, the errors of watched metrics are left out, then the number of
    repeats, and then columns are closer to each other.
    """
    header, rows = comparison.header, comparison.rows()
    if _width(header, rows) > width:
        rows = comparison.rows(errors=False)
    if _width(header, rows) > width:
        header, rows = header[:-1], [row[:-1] for row in rows]
    padding = 2 if _width(header, rows) <= width else 1
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, padding, 0, 0))
    n_names = len(comparison.names)
    for i, name in enumerate(header):
        left = i < n_names or name == "verdict"
        table.add_column(Text(name), justify="left" if left else "right")
    for row, group in zip(rows, comparison.groups, strict=True):
        table.add_row(*map(Text, row), style="bold" if group.verdict == BEST else "")
    return table


def print_refit_error(console: Console, result: StudyResult) -> None:
    """Print the traceback of a refit that failed."""
    print_line(
        console, f"\nTraceback of the refit of trial {result.best_record.number}", style="bold"
    )
    print_line(console, result.refit_error.rstrip())


def _width(header: list[str], rows: list[list[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)) - 2


def print_analyses(console: Console, result: StudyResult) -> None:
    """Print the results of the analyses of the refitted winner."""
    for name, analysis, data in found_analyses(result):
        print_line(console, f"\n{analysis.title if analysis else name}", style="bold")
        print_line(console, facts_table(told(analysis, data)))


def print_advice(console: Console, result: StudyResult) -> None:
    """Print what to do next, each with its evidence and the line of the search space to paste."""
    given = advice(result)
    if not given:
        return
    print_line(console, "\nWhat to do next", style="bold")
    for each in given:
        print_line(console, f"{each.what} {each.evidence}")
        if each.line:
            print_line(console, f"  {each.line}")
