"""Who runs a trial, written down in the same act in which the trial is made or begun.

A driver may be killed between any two writes. If it were to make a trial first and sign it then, a
trial without a name could be left, of which nobody could tell whether it is still being run.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.storage.records import OWNER

__all__ = ["owners_of", "sign_trials"]

_CLAIM = "hpo:claim:"
"""Start of the names of the attributes of a trial with a driver that wants to begin it."""


def sign_trials(backend: BaseStorage, driver: str) -> None:
    """Have all trials that are made or begun through this object bear the name of the driver.

    A new trial is made with its owner. One that waits is begun by a change of its state, which
    takes no attributes along, and which several drivers may attempt. So each driver that tries
    claims the trial first, and gives the claim up if another one has begun it: whoever reads the
    trial at any moment finds its driver among those that claim it.

    Parameters
    ----------
    backend : BaseStorage
        Two of its methods are replaced.
    driver : str
    """
    create, change_state = backend.create_new_trial, backend.set_trial_state_values
    claim = f"{_CLAIM}{driver}"

    def create_signed(study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None:
            template_trial = create_trial(state=TrialState.RUNNING, system_attrs={OWNER: driver})
        return create(study_id, template_trial)

    def begin_signed(
        trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state is not TrialState.RUNNING:
            return change_state(trial_id, state, values)
        backend.set_trial_system_attr(trial_id, claim, True)
        if change_state(trial_id, state, values):
            return True
        with suppress(UpdateFinishedTrialError):
            backend.set_trial_system_attr(trial_id, claim, False)
        return False

    backend.create_new_trial = create_signed  # type: ignore[method-assign]
    backend.set_trial_state_values = begin_signed  # type: ignore[method-assign]


def owners_of(trial: FrozenTrial) -> set[str]:
    """Return the drivers one of which runs a trial; several only if they began it at once.

    It is empty for trials of other programs.
    """
    attributes: Mapping[str, Any] = trial.system_attrs
    # Version 0.2 and before had the owner in a user attribute.
    owner = attributes.get(OWNER) or trial.user_attrs.get(OWNER)
    if owner:
        return {owner}
    return {
        name.removeprefix(_CLAIM)
        for name, claims in attributes.items()
        if name.startswith(_CLAIM) and claims
    }
