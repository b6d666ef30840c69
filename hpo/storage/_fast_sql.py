"""Choose the database storage: plain SQL if this version of Optuna supports it, else Optuna's."""

from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import create_trial

from hpo._private_parts import note_missing, private_part

__all__ = ["database_class", "is_fast"]

_FALLBACK = "its own database storage is used, which takes 2 to 4 ms for a value"

_METHODS = ("_create_new_trial", "_get_trials", "_set_trial_param", "check_trial_is_updatable")
"""Methods of `RDBStorage` that `SQLStorage` overrides or calls."""
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
"""Private attributes of a `FrozenTrial` that are used."""


def database_class() -> type[RDBStorage]:
    """Return `SQLStorage`; if Optuna's internals have changed, its own storage, with a warning."""
    if not _has_all():
        return RDBStorage
    from hpo.storage._rdb import SQLStorage  # imports SQLAlchemy

    return SQLStorage


def is_fast(storage: BaseStorage) -> bool:
    """Return whether a storage is a `SQLStorage`."""
    if not isinstance(storage, RDBStorage) or type(storage) is RDBStorage:
        return False
    from hpo.storage._rdb import SQLStorage

    return isinstance(storage, SQLStorage)


def _has_all() -> bool:
    required = [("optuna.storages", f"RDBStorage.{name}") for name in _METHODS]
    for table, columns in _TABLES.items():
        columns_path = f"{table}.__table__.c"
        required += [
            ("optuna.storages._rdb.models", f"{columns_path}.{column}") for column in columns
        ]
    if any(private_part(module, name, _FALLBACK) is None for module, name in required):
        return False
    missing = [name for name in _ATTRIBUTES if name not in vars(create_trial(value=0.0))]
    if missing:
        note_missing("optuna", f"FrozenTrial.{missing[0]}", _FALLBACK)
    return not missing
