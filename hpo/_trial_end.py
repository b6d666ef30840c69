"""How a trial ends: its final state, and why."""

import math
import time
from dataclasses import replace

from hpo.trial import Cause, Report, TrialRecord, TrialState

__all__ = ["divergence", "end_of", "ended"]

_CAUSES = {
    TrialState.PRUNED: Cause.PRUNER,
    TrialState.FAILED: Cause.ERROR,
    TrialState.INTERRUPTED: Cause.STOPPED,
}
"""Default cause for each state."""


def ended(
    record: TrialRecord,
    state: TrialState,
    reason: str = "",
    error: str | None = None,
    cause: Cause | None = None,
) -> TrialRecord:
    """Return the final record of a trial; see `TrialManager.end`."""
    if state is TrialState.COMPLETE:
        state, reason = _final_state(record)
        cause = Cause.NO_SCORE if state is TrialState.FAILED else None
    elif cause is Cause.OUT_OF_MEMORY:
        state = TrialState.PRUNED
    return replace(
        record,
        state=state,
        reason=reason,
        error=error,
        ended=end_of(record),
        cause=cause or _CAUSES.get(state),
    )


def end_of(record: TrialRecord) -> float:
    """Return the time now, as the end of a trial: never before its start, if the clock was set."""
    last = record.last_reported.time if record.last_reported else 0.0
    return max(time.time(), record.started or 0.0, last)


def divergence(report: Report) -> str:
    """Return the reason to stop a trial whose training loss is not finite, or an empty string."""
    losses = report.metrics.get("train_loss", ())
    if report.screening:
        losses = losses[:1]  # the other folds are not in training
    bad = [(i, loss) for i, loss in enumerate(losses) if not math.isfinite(loss)]
    if not bad or math.isfinite(report.value):
        return ""
    fold, loss = bad[0]
    return f"epoch {report.step}: diverged, the training loss of fold {fold} is {loss}"


def _final_state(record: TrialRecord) -> tuple[TrialState, str]:
    last = record.last_reported
    if last is None:
        return TrialState.FAILED, "no report: the trial ended before its first step"
    if last.screening:
        return (
            TrialState.FAILED,
            f"epoch {last.step}: no finite score in fold 0, the only one so far",
        )
    if math.isfinite(last.value):
        return TrialState.COMPLETE, ""
    folds = [i for i, value in enumerate(last.fold_values) if not math.isfinite(value)]
    where = f" in fold {', '.join(map(str, folds))}" if folds else ""
    return (
        TrialState.FAILED,
        f"epoch {last.step}: no finite score{where} (the scorer returned "
        f"{last.fold_values[folds[0]] if folds else last.value})",
    )
