"""Continue a study in another search space with the trials that fit it."""

import time
from typing import Any

from hpo.out_of_fold_files import OUT_OF_FOLD, OutOfFoldFiles
from hpo.storage.copying import Copied, copy_trials
from hpo.storage.studies import delete_study, versioned_name
from hpo.storage.study_facts import files_folder, mode_of_files
from hpo.storage.trial_store import TrialStore
from hpo.storage.unsaved import is_unsaved
from hpo.study._fitting import Fitting
from hpo.study.opening import EXTENDS, remember

__all__ = ["extended"]


def extended(
    search: Any, old: TrialStore, name: str, storage: str
) -> tuple[TrialStore, str] | None:
    """Return a new study with the trials of ``old`` that fit, and a note on how many do.

    The old study is not changed. `Fitting` decides which of its trials fit the new space.

    Parameters
    ----------
    search : SearchConfig
    old : TrialStore
        The newest study of the name.
    name, storage : str

    Returns
    -------
    tuple of TrialStore and str, or None
        None if another process is extending the study at the same time.
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
        _copy_predictions(old, new, copied)
    except BaseException:
        delete_study(storage, new.name)
        raise
    return new, _describe_copied(copied, old.name, new.name)


def _copy_predictions(old: TrialStore, new: TrialStore, copied: Copied) -> None:
    """Copy the out-of-fold predictions of the trials that fit; data and folds are the same."""
    if new.url is None or is_unsaved(new.url):
        return
    folder = files_folder(new) / OUT_OF_FOLD
    kept = OutOfFoldFiles(files_folder(old) / OUT_OF_FOLD)
    OutOfFoldFiles(folder, mode=mode_of_files(new)).copy_from(kept, copied.numbers)


def _describe_copied(copied: Copied, old: str, new: str) -> str:
    n_left = copied.left.total()
    text = (
        f"{copied.kept} of the {copied.kept + n_left} trials of '{old}' fit the new search space "
        f"and count in '{new}'"
    )
    if not n_left:
        return f"{text}."
    reasons = "; ".join(f"{reason} ({n})" for reason, n in copied.left.most_common())
    return f"{text}. The others stay in '{old}': {reasons}."
