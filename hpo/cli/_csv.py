"""The trials of a study as CSV: one row each, with the score of each fold."""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from hpo._format import printable
from hpo.cli._console import echo
from hpo.display.progress import standard_error
from hpo.result import StudyResult
from hpo.trial import TrialRecord

__all__ = ["print_csv"]

_FACTS = (
    "number",
    "state",
    "score",
    "se",
    "epoch",
    "last_epoch",
    "max_epochs",
    "seconds",
    "trained_by",
    "reason",
)
_FORMULA = ("=", "+", "-", "@", "\t")
"""What a spreadsheet takes for the beginning of a formula."""


def print_csv(result: StudyResult) -> None:
    """Print every trial, in the order of their numbers; cells without a value are empty.

    Columns: facts of the trial, ``fold_0`` ... at the epoch of its score (the last one where it
    has none), ``params_NAME`` ...
    """
    n_folds = max((len(_folds(record)) for record in result.records), default=0)
    names = dict.fromkeys(name for record in result.records for name in record.trial.params)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    folds = [f"fold_{i}" for i in range(n_folds)]
    writer.writerow([*_FACTS, *folds, *(_cell(f"params_{name}") for name in names)])
    for record in result.records:
        scores = [*_folds(record), *[math.nan] * n_folds][:n_folds]
        params = (record.trial.params.get(name) for name in names)
        writer.writerow([_cell(value) for value in (*_facts(record), *scores, *params)])
    echo(text.getvalue().removesuffix("\n"))


def _facts(record: TrialRecord) -> Iterator[Any]:
    best = record.best_report
    yield from (record.number, str(record.state), record.value)
    yield standard_error(best.fold_values) if best else math.nan
    yield from (best.step if best else None, record.last_step, record.max_steps)
    yield from (record.seconds, record.trained_by, record.reason)


def _folds(record: TrialRecord) -> tuple[float, ...]:
    best = record.best_report or record.last_reported
    return best.fold_values if best else ()


def _cell(value: Any) -> Any:
    """Return a value for a cell; a text that looks like a formula gets a quote in front."""
    if isinstance(value, float):
        return value if math.isfinite(value) else ""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
