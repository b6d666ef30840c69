"""Warnings of `HPOSearchCV`."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import FitFailedWarning

from hpo._trained_by import asked_for_batches, format_trained_by
from hpo.result import StudyResult
from hpo.trial import TrialState

_INTERNAL = {"contextlib", "hpo", "sklearn"}

__all__ = [
    "warn_of_cut_grid",
    "warn_of_cut_off",
    "warn_of_failures",
    "warn_of_notes",
    "warn_of_scores",
]


def _level() -> int:
    """Return the `stacklevel` with which the caller's warning points to the user's code."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INTERNAL:
        frame, level = frame.f_back, level + 1
    return level


def warn_of_cut_grid(n_points: int, n_trials: int) -> None:
    """Warn of a grid that has more points than the search has trials."""
    warnings.warn(
        f"The grid has {n_points} points and n_trials={n_trials} tries the first {n_trials} of "
        "them. Set n_trials=None to try all.",
        UserWarning,
        stacklevel=_level(),
    )


def warn_of_failures(result: StudyResult, error_score: Any) -> None:
    """Warn of trials that raised, if others did not."""
    summary = result.failure_summary(raised=True)
    if summary and result.winner is not None:
        warnings.warn(
            f"{summary} Their scores are set to {error_score}. Set error_score='raise' to stop at "
            "the first failure.",
            FitFailedWarning,
            stacklevel=_level(),
        )


def warn_of_cut_off(result: StudyResult, interrupted: str) -> None:
    """Warn of a search that was interrupted before its trials were finished."""
    if interrupted:
        warnings.warn(
            f"The search was ended early ({interrupted}): the best of "
            f"{result.n_complete} complete trials is taken.",
            UserWarning,
            stacklevel=_level(),
        )


def warn_of_scores(result: StudyResult, table: Mapping[str, Any], scorers: Sequence[str]) -> None:
    """Warn of non-finite scores of trials that neither raised nor were pruned."""
    finished = np.array(
        [r.without_score or r.state is TrialState.COMPLETE for r in result.candidates], bool
    )
    for part in ("test", "train"):
        for name in scorers:
            means = table.get(f"mean_{part}_{name}")
            if means is not None and (~np.isfinite(means) & finished).any():
                warnings.warn(
                    f"One or more of the {part} scores are non-finite: {means}",
                    UserWarning,
                    stacklevel=_level(),
                )
                break


def warn_of_notes(result: StudyResult, verbose: int) -> None:
    """Warn of the notes of executor, trackers and search; print them too if ``verbose``.

    If an executor batches trials, also print how the trials were trained. How long it took, what
    pruning saved and the result are printed last.
    """
    if verbose and any(map(asked_for_batches, result.records)):
        print(f"trained: {format_trained_by(result.trained_by)}")
    for note in result.notes:
        warnings.warn(note, UserWarning, stacklevel=_level())
        if verbose:
            print(f"note: {note}")
    if verbose:
        from hpo.display.text import saved, times

        pruned = f"; pruning saved {saved(result)}" if result.n_pruned else ""
        print(f"search took {times(result)}{pruned}")
        print(result)
