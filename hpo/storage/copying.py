"""Finished trials of one study taken over into another one, with all that is kept of them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, create_trial

from hpo.space import SearchSpace
from hpo.storage.open import storage_errors
from hpo.storage.records import (
    FROM_OPTUNA,
    RECORD,
    RETRY,
    SEED_NUMBER,
    TO_OPTUNA,
    record_of,
    was_interrupted,
)
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, TrialState

__all__ = ["Copied", "copy_trials"]

FROM = "hpo:from"
"""The attribute of a trial that tells which trial of which study it was."""


@dataclass(slots=True)
class Copied:
    """What became of the trials.

    Parameters
    ----------
    kept : int
        How many were taken over.
    left : Counter of str
        Reasons of the others, with how many there are of each.
    """

    kept: int = 0
    left: Counter[str] = field(default_factory=Counter)


def copy_trials(
    source: TrialStore, target: TrialStore, fit: Callable[[Mapping[str, Any]], dict[str, Any] | str]
) -> Copied:
    """Take the finished trials of ``source`` over into ``target``.

    They keep their reports, states and seeds, and get numbers of their own. One that was
    interrupted is taken over to be tried again, unless it has been.

    Parameters
    ----------
    source, target : TrialStore
    fit : callable
        Returns the params that a trial with these has in ``target``, or why it has none.
    """
    copied = Copied()
    with storage_errors(source.url):
        trials = source.study.get_trials(deepcopy=False)
    text = source.get_attr("space")  # the source may have been opened with the space of the target
    read = SearchSpace.loads(text).read if text else dict
    retried = {trial.user_attrs.get(RETRY) for trial in trials}
    new = []
    for trial in trials:
        if trial.state not in FROM_OPTUNA or trial.number in retried:
            continue
        params = fit(record_of(trial, 0, read).trial.params)
        void = source.revoked.get(trial.number, "")
        counts = not (void or was_interrupted(trial))
        if isinstance(params, str):
            copied.left[params] += counts
        else:
            new.append(_copy(trial, params, source, target, void))
            copied.kept += counts
    target.insert(new)
    return copied


def _copy(
    trial: FrozenTrial, params: dict[str, Any], source: TrialStore, target: TrialStore, void: str
) -> FrozenTrial:
    """Return a trial as the target has it; one that is ``void`` for a reason has failed there."""
    kept = dict(trial.user_attrs.get(RECORD, {}))
    kept.setdefault(SEED_NUMBER, trial.number)
    kept["params"] = params
    if void:
        kept |= {"state": str(TrialState.INTERRUPTED), "cause": str(Cause.REVOKED), "reason": void}
    stored = target.space.keep(params)
    made = create_trial(
        state=TO_OPTUNA[TrialState.FAILED] if void else trial.state,
        values=None if void else trial.values,
        params=stored,
        distributions={name: target.space.distributions[name] for name in stored},
        user_attrs={RECORD: kept, FROM: [source.name, trial.number]},
        intermediate_values=trial.intermediate_values,
        constraints=trial.constraints,
    )
    made.datetime_start, made.datetime_complete = trial.datetime_start, trial.datetime_complete
    return made
