"""Copy finished trials from one study to another, with everything that is stored about them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, create_trial

from hpo.space import SearchSpace
from hpo.storage.open import storage_errors
from hpo.storage.records import (
    FROM_OPTUNA,
    RETRY,
    SEED_NUMBER,
    TO_OPTUNA,
    attributes_of,
    record_of,
    shown_reason,
    stored_of,
    was_interrupted,
)
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, TrialState

__all__ = ["Copied", "copy_trials"]

FROM = "hpo:from"
"""The user attribute of a copied trial with the name of its original study and its number."""


@dataclass(slots=True)
class Copied:
    """The result of `copy_trials`.

    Parameters
    ----------
    kept : int
        Number of trials copied.
    left : Counter of str
        Reasons why trials were not copied, with the number of trials for each.
    numbers : dict of int to int
        New number of each trial that was copied, by the old one.
    """

    kept: int = 0
    left: Counter[str] = field(default_factory=Counter)
    numbers: dict[int, int] = field(default_factory=dict)


def copy_trials(
    source: TrialStore, target: TrialStore, fit: Callable[[Mapping[str, Any]], dict[str, Any] | str]
) -> Copied:
    """Copy the finished trials of ``source`` to ``target``.

    They keep their reports, states and seeds, and get new numbers. An interrupted trial is copied
    so that it is run again, unless that has already been done.

    Parameters
    ----------
    source, target : TrialStore
    fit : callable
        ``fit(params)`` returns the trial's params in ``target``, or the reason why there are none.
    """
    copied = Copied()
    with storage_errors(source.url):
        trials = source.study.get_trials(deepcopy=False)
    text = source.get_attr("space")  # the source may have been opened with the space of the target
    read = SearchSpace.from_storage(text, source.name).read if text else dict
    retried = {trial.user_attrs.get(RETRY) for trial in trials}
    new: list[FrozenTrial] = []
    for trial in trials:
        if trial.state not in FROM_OPTUNA or trial.number in retried:
            continue
        params = fit(record_of(trial, 0, read).trial.params)
        void = source.revoked.get(trial.number, "")
        counts = not (void or was_interrupted(trial))
        if isinstance(params, str):
            copied.left[params] += counts
        else:
            copied.numbers[trial.number] = len(new)
            new.append(_copy(trial, params, source, target, void))
            copied.kept += counts
    target.insert(new)
    return copied


def _copy(
    trial: FrozenTrial, params: dict[str, Any], source: TrialStore, target: TrialStore, void: str
) -> FrozenTrial:
    """Return the trial to insert; if ``void`` gives a reason, it is stored as a failed trial."""
    stored_record = {"reports": [], **stored_of(trial)}
    stored_record.setdefault(SEED_NUMBER, trial.number)
    stored_record["params"] = params
    if void:
        stored_record |= {
            "state": str(TrialState.INTERRUPTED),
            "cause": str(Cause.REVOKED),
            "reason": void,
        }
    stored = target.space.keep(params)
    copied = create_trial(
        state=TO_OPTUNA[TrialState.FAILED] if void else trial.state,
        values=None if void else trial.values,
        params=stored,
        distributions={name: target.space.distributions[name] for name in stored},
        user_attrs={
            FROM: [source.name, trial.number],
            **shown_reason(str(stored_record.get("reason", ""))),
        },
        system_attrs=attributes_of(stored_record),
        intermediate_values={
            step - source.first_step + target.first_step: value
            for step, value in trial.intermediate_values.items()
        },
        constraints=trial.constraints,
    )
    copied.datetime_start, copied.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copied
