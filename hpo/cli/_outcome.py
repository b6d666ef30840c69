"""What a study came to: the winner, its scores, what pruning saved; tables for `hpo show`."""

import math
from collections import Counter
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from hpo._trained_by import format_reasons, format_trained_by
from hpo.cli._screen import COLORS
from hpo.cli._text import amount, brief, brief_value, counted, duration, number, score, short_names
from hpo.result import StudyResult
from hpo.trial import TrialState

__all__ = [
    "counts",
    "enqueued_table",
    "facts_table",
    "front_table",
    "gap_explained",
    "saved",
    "sealed_verdict",
    "times",
    "top_table",
    "trained",
    "winner_table",
]

N_ERRORS = 2.0
"""How many standard errors of the cross-validated score the test score may be off."""
_FACTS = 28
"""Columns that a trial's number, score and epoch take."""


def counts(result: StudyResult) -> Text:
    """Return ``30 trials: 14 complete, 15 pruned, 1 failed``."""
    states = Counter(str(r.state) for r in result.records)
    text = Text(counted(result.n_trials, "trial"))
    for i, (state, color) in enumerate(
        (state, color) for state, color in COLORS.items() if states[state]
    ):
        text.append(": " if i == 0 else ", ")
        text.append(f"{states[state]} {state}", style=color)
    return text


def saved(result: StudyResult) -> str:
    """Return what pruning saved: ``43 % of the epochs (257 of 600) of ...``."""
    ended = [r for r in result.records if r.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    planned = sum(record.max_steps or 0 for record in ended)
    if not planned or not result.n_pruned:
        return "nothing: no trial was pruned"
    n = round(result.epochs_saved_fraction * planned)
    return f"{result.epochs_saved_fraction:.0%} of the epochs ({n} of {planned})"


def trained(result: StudyResult, *, reasons: bool) -> list[tuple[str, str | Text]]:
    """Return rows that tell how the trials were trained; none where that was not written down.

    Parameters
    ----------
    result : StudyResult
    reasons : bool
        Whether to tell why some were trained in no batch.
    """
    if not result.trained_by:
        return []
    told = format_reasons(result.records) if reasons else []
    return [("trained", format_trained_by(result.trained_by)), *(("", line) for line in told)]


def winner_table(result: StudyResult) -> Table:
    """Return the winner's parameters, one a line, and its scores."""
    best = result.best_record
    rows: list[tuple[str, str | Text]] = [
        (name, number(value)) for name, value in best.best_params.items()
    ]
    if result.recommendation:
        rows += [("", ""), ("recommended", result.recommendation)]
    report = best.best_report
    n_folds = len(report.fold_values) if report else 0
    folds = counted(n_folds, "fold") if n_folds else "cross-validated"
    told = Text(score(best.value, result.best_score_se), style="bold green")
    if math.isfinite(result.best_score_se):
        told.append(" s.e.", style="not bold")
    of = f" of {best.max_steps}" if best.max_steps else ""
    which = "last epoch" if result.select == "last" else "epoch"
    told.append(f", {which} {result.best_step}{of}", style="not bold")
    rows += [("", ""), (f"{result.scoring}, {folds}", told)]
    if result.test_score is not None:
        told = Text(score(result.test_score), style="bold")
        told.append(f", {sealed_verdict(result)}", style="not bold")
        rows.append((f"{result.scoring}, held-out test", told))
        rows += [("", explained)] if (explained := gap_explained(result)) else []
    return facts_table(rows)


def sealed_verdict(result: StudyResult) -> str:
    """Say how the held-out test score compares with the cross-validated one, in words."""
    assert result.test_score is not None
    gap, error = result.test_score - result.best_score, result.best_score_se
    if gap == 0:
        return "the same"
    size = f"{abs(gap):.2g} {'above' if gap > 0 else 'below'} that"
    if not (math.isfinite(error) and error > 0):
        return f"{size}, which has no standard error"
    if abs(gap) <= N_ERRORS * error:
        return "within two standard errors of that"
    return f"{size}: the gap is {abs(gap) / error:.1f} standard errors"


def gap_explained(result: StudyResult) -> str:
    """Return why the test score may be far from the cross-validated one; empty if it is not."""
    if result.test_score is None or not result.best_score_se > 0:
        return ""
    gap = (result.test_score - result.best_score) / result.best_score_se
    if abs(gap) <= N_ERRORS:
        return ""
    if gap < 0:
        return (
            f"The winner of {counted(result.n_trials, 'trial')} is chosen for its luck too, and "
            "the test part has an error of its own: the test score is the honest one."
        )
    return (
        "The refit had more data than each fold, and the test part has an error of its own and "
        "may be easier."
    )


def front_table(result: StudyResult) -> Table:
    """Return the trials of the Pareto front, with their score and what they cost."""
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
    """Return the trials whose parameters the study gave, with their ranks."""
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
        Columns that there are; where they do not hold a column for each parameter, the
        parameters share one.
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
    """Return names and values in two columns; an empty name is an empty line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(f"  {name}"), Text(value) if isinstance(value, str) else value)
    return table


def times(result: StudyResult) -> str:
    """Return how long the search took, and the refit if there was one."""
    if result.seconds is None:
        return "unknown"
    refit = result.refit_seconds
    return duration(result.seconds) + (f", refit {duration(refit)}" if refit else "")
