"""What the commands print, as plain data: all figures of their tables, and texts unshortened."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hpo._format import printable
from hpo.cli._console import echo
from hpo.display.progress import standard_error
from hpo.result import StudyResult
from hpo.review.analyses import found_analyses, told
from hpo.review.audit import Choice, Replay
from hpo.review.comparison import Comparison, Group, compare
from hpo.review.gap import gap_to_held_out
from hpo.trial import TrialRecord, TrialState

__all__ = [
    "audit_data",
    "count_data",
    "print_json",
    "result_data",
    "trial_data",
]


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON document; what is not finite is null, for JSON has no such numbers."""
    echo(json.dumps(_plain(data), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {printable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numbers and arrays of NumPy
        return _plain(value.tolist())
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return printable(str(value))


def count_data(result: StudyResult) -> dict[str, int]:
    """Return how many trials there are, and in which states."""
    states = Counter(str(record.state) for record in result.records)
    return {"total": result.n_trials, **{str(state): states[str(state)] for state in TrialState}}


def trial_data(record: TrialRecord, *, curve: bool = False) -> dict[str, Any]:
    """Return a trial: its parameters, its end, and its scores; with ``curve`` each epoch too."""
    best = record.best_report or record.last_reported
    folds = best.fold_values if best else ()
    data = {
        "number": record.number,
        "state": str(record.state),
        "score": record.value,
        "se": standard_error(folds) if record.best_report else math.nan,
        "epoch": best.step if best else None,
        "last_epoch": record.last_step,
        "max_epochs": record.max_steps,
        "fold_scores": folds,
        "params": record.trial.params,
        "reason": record.reason,
        "cause": None if record.cause is None else str(record.cause),
        "error": record.error,
        "seconds": record.seconds,
        "started": record.started,
        "ended": record.ended,
        "trained_by": record.trained_by,
        "trained_by_reason": record.trained_by_reason,
        "worker": record.worker,
        "resumed_from": record.trial.resumed_from,
    }
    if curve:
        data["curve"] = [
            {
                "epoch": report.step,
                "first_fold_alone": report.screening,
                "score": report.value,
                "se": standard_error(report.fold_values),
                "fold_scores": report.fold_values,
                "seconds": report.seconds,
                "metrics": report.metrics,
            }
            for report in record.all_reports
        ]
    return data


def result_data(result: StudyResult, *, n_top: int = 10, trials: bool = False) -> dict[str, Any]:
    """Return a study's result: what `hpo show` and the end of `hpo run` print.

    Parameters
    ----------
    result : StudyResult
    n_top : int
        How many of the best trials are listed.
    trials : bool
        Whether to list every trial too.
    """
    ended = [r for r in result.records if r.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    planned = sum(record.max_steps or 0 for record in ended)
    last = max((r.ended or r.started or 0.0 for r in result.records), default=0.0)
    data: dict[str, Any] = {
        "study": result.name,
        "scoring": result.scoring,
        "trials": count_data(result),
        "seconds": result.seconds,
        "refit_seconds": result.refit_seconds,
        "stopped": result.stopped,
        "last_trial": last or None,
        "pruning": {
            "epochs_planned": planned,
            "epochs_saved": round(result.epochs_saved_fraction * planned),
            "saved": result.epochs_saved_fraction,
        },
        "trained_by": result.trained_by,
        "winner": _winner(result),
        "top": [trial_data(record) for record in result.top(n_top)],
        "pareto_front": _front(result),
        "enqueued": [{"rank": rank, **trial_data(r)} for rank, r in result.enqueued_trials()],
        "comparison": _comparison(compare(result)),
        "analyses": _analyses(result),
        "failures": result.failure_summary(),
        "refit_error": result.refit_error,
        "files": result.files,
        "notes": result.notes,
    }
    if trials:
        data["all"] = [trial_data(record) for record in result.records]
    return data


def _winner(result: StudyResult) -> dict[str, Any] | None:
    if result.winner is None:
        return None
    best, corrected = result.best_record, result.corrected
    data = trial_data(best) | {
        "params": best.best_params,
        "recommended": result.recommendation,
        "choose": result.choose,
        "finalists": result.finalists,
        "corrected": None,
        "uncorrected": result.uncorrected,
        "nested": None,
        "held_out": None,
    }
    if result.nested:
        nested = {"score": result.nested_score, "se": result.nested_score_se}
        data["nested"] = {**nested, "outer_scores": result.nested}
    if corrected is not None:
        low, high = corrected.interval
        data["corrected"] = {
            "score": corrected.value,
            "se": corrected.se,
            "low": low,
            "high": high,
            "n_candidates": corrected.n_candidates,
        }
    if result.test_score is not None:
        low, high = result.test_interval or (math.nan, math.nan)
        verdict, advice = gap_to_held_out(result)
        data["held_out"] = {
            "score": result.test_score,
            "low": low,
            "high": high,
            "verdict": verdict,
            "advice": advice,
        }
    return data


def _front(result: StudyResult) -> list[dict[str, Any]]:
    if not result.costs:
        return []
    return [
        {**trial_data(r), "costs": {name: r.cost(name) for name in result.costs}}
        for r in result.pareto_front()
    ]


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    groups = [_group(group, comparison) for group in comparison.groups]
    return {"names": comparison.names, "groups": groups, "note": comparison.note}


def _group(group: Group, comparison: Comparison) -> dict[str, Any]:
    report = group.record.best_report if group.record else None
    return {
        "values": dict(zip(comparison.names, group.values, strict=True)),
        "trial": group.record.number if group.record else None,
        "n_trials": group.n_trials,
        "epoch": report.step if report else None,
        "score": _estimate(group.score),
        "seconds_per_epoch": _estimate(group.seconds),
        "watched": {name: _estimate(each) for name, each in group.watched.items()},
        "difference": _estimate(group.difference),
        "verdict": group.verdict,
        "more_repeats": group.more_repeats,
    }


def _estimate(estimate: tuple[float, float]) -> dict[str, float]:
    value, error = estimate
    return {"value": value, "se": error}


def _analyses(result: StudyResult) -> dict[str, Any]:
    return {
        name: {
            "title": analysis.title if analysis else name,
            "summary": [{"name": label, "text": text} for label, text in told(analysis, data)],
            "data": data,
        }
        for name, analysis, data in found_analyses(result)
    }


def audit_data(
    result: StudyResult, replayed: Sequence[Replay], chosen: Sequence[Choice]
) -> dict[str, Any]:
    """Return what `hpo audit` prints: a study under other rules."""
    return {
        "study": result.name,
        "scoring": result.scoring,
        "pruning": [_ruled(each) for each in replayed],
        "choosing": [
            {**_ruled(each), "epochs": each.winner.refit_steps, "params": each.winner.trial.params}
            for each in chosen
        ],
    }


def _ruled(each: Replay | Choice) -> dict[str, Any]:
    fields = {name: getattr(each, name) for name in type(each).__dataclass_fields__}
    record = each.winner
    number = None if record is None else record.number
    return {**fields, "winner": number, "score": math.nan if record is None else record.value}
