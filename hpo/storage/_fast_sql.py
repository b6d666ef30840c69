"""Whether this Optuna has what the storage of plain SQL stands on, and its own one if not."""

from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import create_trial

from hpo._private_parts import note_missing, private_part

__all__ = ["database_class", "is_fast"]

_INSTEAD = "its own database storage is used, which takes 2 to 4 ms for a value"

_METHODS = ("_create_new_trial", "_get_trials", "_set_trial_param", "check_trial_is_updatable")
"""Of `RDBStorage`, which `SQLStorage` has in its own way or calls."""
_TABLES = {
    "StudyModel": ("study_id",),
    "TrialModel": (
        "trial_id",
        "study_id",
        "number",
        "state",
        "datetime_start",
        "datetime_complete",
    ),
    "TrialParamModel": ("trial_id", "param_name", "param_value", "distribution_json"),
    "TrialValueModel": ("trial_id", "objective", "value", "value_type"),
    "TrialIntermediateValueModel": (
        "trial_id",
        "step",
        "intermediate_value",
        "intermediate_value_type",
    ),
    "TrialUserAttributeModel": ("trial_id", "key", "value_json"),
    "TrialSystemAttributeModel": ("trial_id", "key", "value_json"),
}
_ATTRIBUTES = ("_trial_id", "_params", "_distributions", "_user_attrs", "_system_attrs")
"""Of a trial."""


def database_class() -> type[RDBStorage]:
    """Return `SQLStorage`, or Optuna's own storage, with a note, if that has changed."""
    if not _has_all():
        return RDBStorage
    from hpo.storage._rdb import SQLStorage  # loads SQLAlchemy

    return SQLStorage


def is_fast(storage: BaseStorage) -> bool:
    """Return whether a storage is a `SQLStorage`."""
    if not isinstance(storage, RDBStorage) or type(storage) is RDBStorage:
        return False
    from hpo.storage._rdb import SQLStorage

    return isinstance(storage, SQLStorage)


def _has_all() -> bool:
    wanted = [("optuna.storages", f"RDBStorage.{name}") for name in _METHODS]
    for table, columns in _TABLES.items():
        of_it = f"{table}.__table__.c"
        wanted += [("optuna.storages._rdb.models", f"{of_it}.{column}") for column in columns]
    if any(private_part(module, name, _INSTEAD) is None for module, name in wanted):
        return False
    lacking = [name for name in _ATTRIBUTES if name not in vars(create_trial(value=0.0))]
    if lacking:
        note_missing("optuna", f"FrozenTrial.{lacking[0]}", _INSTEAD)
    return not lacking
