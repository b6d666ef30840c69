"""A study gone on with in another search space: the trials that fit it count."""

import time
from typing import Any

from hpo.storage.copying import Copied, copy_trials
from hpo.storage.studies import delete_study, versioned_name
from hpo.storage.trial_store import TrialStore
from hpo.study._fitting import Fitting
from hpo.study.opening import EXTENDS, remember

__all__ = ["extended"]


def extended(
    search: Any, old: TrialStore, name: str, storage: str
) -> tuple[TrialStore, str] | None:
    """Return a new study of the name with the trials of ``old`` that fit, and what became of them.

    The old one stays as it is: `Fitting` tells which of its trials fit the search's space.

    Parameters
    ----------
    search : SearchConfig
    old : TrialStore
        Of the newest study of the name.
    name, storage : str

    Returns
    -------
    tuple of TrialStore and str, or None
        None if another process extends it at the same time.
    """
    new: TrialStore = search.open(versioned_name(name, storage, fresh=True), storage)
    if not new.is_new:
        return None
    new.set_attr(EXTENDS, {"study": old.name, "driver": new.driver, "time": time.time()})
    forms = old.get_attr("fingerprint")["space"]
    fitting = Fitting(forms, search.space, search.objective.estimator)
    try:
        copied = copy_trials(old, new, fitting)
        remember(new, search)
    except BaseException:
        delete_study(storage, new.name)
        raise
    return new, _told(copied, old.name, new.name)


def _told(copied: Copied, old: str, new: str) -> str:
    n_left = copied.left.total()
    told = (
        f"{copied.kept} of the {copied.kept + n_left} trials of '{old}' fit the new search space "
        f"and count in '{new}'"
    )
    if not n_left:
        return f"{told}."
    reasons = "; ".join(f"{reason} ({n})" for reason, n in copied.left.most_common())
    return f"{told}. The others stay in '{old}': {reasons}."
