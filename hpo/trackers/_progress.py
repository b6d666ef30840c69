"""How a study came on, trial by trial: a function of its records, the same whenever it is asked."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hpo.trial import TrialRecord, TrialState

__all__ = ["Progress", "progress_of"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A study at the end of one of its trials.

    Parameters
    ----------
    step : int
        Number of trials that had ended, this one included, from 1.
    time : float
        When it ended, in seconds since the epoch.
    metrics : dict of str to float
        ``best_score``, once a trial is complete, ``n_trials``, ``n_complete``, ``n_pruned``,
        ``n_failed``, ``n_interrupted`` and ``epochs_saved_fraction``, as at the end of the study.
    best_trial : int or None
        Number of the complete trial with the best score so far.
    """

    step: int
    time: float
    metrics: dict[str, float]
    best_trial: int | None


def progress_of(records: Iterable[TrialRecord]) -> list[Progress]:
    """Return the course of a study: one entry for each trial that has ended, in that order."""
    ended = [r for r in records if r.state is not TrialState.RUNNING and r.ended is not None]
    counts: Counter[TrialState] = Counter()
    best: TrialRecord | None = None
    planned, saved = 0, 0.0
    course = []
    for step, record in enumerate(sorted(ended, key=lambda r: (r.ended or 0.0, r.number)), start=1):
        counts[record.state] += 1
        if record.state in {TrialState.COMPLETE, TrialState.PRUNED}:
            planned += record.max_steps or 0
        if record.state is TrialState.PRUNED and record.max_steps:
            saved += max(0.0, record.max_steps - record.n_steps)
        if record.state is TrialState.COMPLETE and not math.isnan(record.value):
            # Among equals, the earlier trial wins, not the one that ended first.
            best = max(filter(None, (best, record)), key=lambda r: (r.value, -r.number))
        metrics = {
            "n_trials": float(step - counts[TrialState.INTERRUPTED]),
            "n_complete": float(counts[TrialState.COMPLETE]),
            "n_pruned": float(counts[TrialState.PRUNED]),
            "n_failed": float(counts[TrialState.FAILED]),
            "n_interrupted": float(counts[TrialState.INTERRUPTED]),
            "epochs_saved_fraction": saved / planned if planned else 0.0,
        }
        if best is not None:
            metrics["best_score"] = best.value
        number = None if best is None else best.number
        course.append(Progress(step, record.ended or 0.0, metrics, number))
    return course
