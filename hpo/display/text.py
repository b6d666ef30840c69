"""Format numbers, times and parameters for people."""

from collections.abc import Mapping
from typing import Any

from hpo._format import brief_value, number, score, score_with_interval, short_names, single_line
from hpo.result import StudyResult
from hpo.trial import TrialRecord, TrialState

__all__ = [
    "ago",
    "amount",
    "brief",
    "brief_value",
    "clock",
    "counted",
    "duration",
    "ending",
    "going_on",
    "not_in_a_batch",
    "number",
    "saved",
    "score",
    "score_with_interval",
    "short_names",
    "single_line",
    "time_span",
    "times",
]


def amount(value: float) -> str:
    """Format an amount: integers in full (``98,260``), others like `number`."""
    return f"{int(value):,}" if float(value).is_integer() else number(value)


def counted(n: int, thing: str) -> str:
    """Return ``"1 trial"``, ``"2 trials"``."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def clock(seconds: float) -> str:
    """Return ``0:41``, ``12:05`` or ``3:12:05``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """Return ``4.2 s``, ``41 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def time_span(low: float, high: float) -> str:
    """Return a range of seconds: ``20-45 s``, ``1.5-2 h``, ``about 5 min``, ``up to 5 min``."""
    unit, name = (
        next(
            (unit, name)
            for unit, name in ((3600, "h"), (60, "min"), (1, "s"))
            if high >= 1.5 * unit
        )
        if high >= 1.5
        else (1, "s")
    )
    first, last = (_rough(seconds / unit, halves=unit > 1) for seconds in (low, high))
    if first == "0":
        return f"up to {last} {name}"
    return f"about {last} {name}" if first == last else f"{first}-{last} {name}"


def _rough(value: float, *, halves: bool) -> str:
    """Round as people say it: halves of few hours or minutes, fives of many."""
    if halves and value < 4.75:
        return f"{round(2 * value) / 2:g}"
    return f"{round(value)}" if value < 20 else f"{5 * round(value / 5)}"


def ago(seconds: float) -> str:
    """Return a rough time span: ``just now``, ``5 min ago``, ``3 h ago``, ``12 days ago``."""
    for size, name in ((86400, "day"), (3600, "h"), (60, "min")):
        n = int(seconds // size)
        if n:
            return f"{counted(n, name) if name == 'day' else f'{n} {name}'} ago"
    return "just now"


def brief(params: Mapping[str, Any]) -> str:
    """Return parameters on one line: ``lr 0.0041, batch_size 64, optimizer Adam``."""
    names = short_names(params)
    return ", ".join(f"{names[name]} {brief_value(value)}" for name, value in params.items())


def not_in_a_batch(record: TrialRecord) -> str:
    """Return how a trial that is not batched is trained: ``is trained by ..., because ...``."""
    who = {"process": "a worker process"}.get(record.trained_by, record.trained_by)
    return f"is trained by {who}, because {single_line(record.trained_by_reason)}"


def going_on(record: TrialRecord) -> str:
    """Return from where a trial goes on: ``goes on from epoch 12 (of trial 4)``."""
    trial = record.trial
    at = next((r for r in record.all_reports if r.position == trial.resumed_step), None)
    step = trial.resumed_step if at is None else at.step
    fold = " of the first fold" if at is not None and at.screening else ""
    return f"goes on from epoch {step}{fold} (of trial {trial.resumed_from})"


def ending(record: TrialRecord) -> str:
    """Return how a trial ended, on one line: ``pruned at epoch 4: 0.412 < median ...``."""
    if record.state is TrialState.COMPLETE:
        best = record.best_report
        at = f" at epoch {best.step}" if best and record.last_step > 1 else ""
        return f"complete: {score(record.value)}{at}"
    reason = single_line(record.reason)
    at = f"epoch {record.last_step}"
    if record.last_step and reason.startswith(at) and not reason[len(at) :][:1].isdigit():
        return f"{record.state} at {reason}"
    return f"{record.state}: {reason}" if reason else str(record.state)


def saved(result: StudyResult) -> str:
    """Return what pruning saved: ``43% of the epochs (257 of 600)``."""
    ended = [r for r in result.records if r.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    planned = sum(record.max_steps or 0 for record in ended)
    if not planned or not result.n_pruned:
        return "nothing: no trial was pruned"
    n = round(result.epochs_saved_fraction * planned)
    return f"{result.epochs_saved_fraction:.0%} of the epochs ({n} of {planned})"


def times(result: StudyResult) -> str:
    """Return the duration of the search, and of the refit if there was one."""
    if result.seconds is None:
        return "unknown"
    refit = result.refit_seconds
    return duration(result.seconds) + (f", refit {duration(refit)}" if refit else "")
