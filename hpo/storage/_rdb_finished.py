"""Insert finished trials into Optuna's tables in one transaction: all of them, or none."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

__all__ = ["insert_finished"]

_TRIALS = models.TrialModel.__table__
_STUDIES = models.StudyModel.__table__
_OF_STEPS = ("intermediate_value", "intermediate_value_type")


def insert_finished(storage: RDBStorage, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Insert finished trials into a study; their numbers continue those of the study.

    Optuna's ``add_trials`` needs a transaction per trial and a query per value, which takes
    20 ms for a trial with ten steps.
    """
    study = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
    count = sqlalchemy.select(sqlalchemy.func.count(_TRIALS.c.trial_id)).where(
        _TRIALS.c.study_id == study_id
    )
    rows: dict[Any, list[dict[str, Any]]] = {}
    with storage.engine.begin() as connection:
        connection.execute(study.with_for_update()).first()  # numbers are counted under this lock
        number = connection.execute(count).scalar_one()
        for offset, trial in enumerate(trials):
            key = connection.execute(
                sqlalchemy.insert(_TRIALS),
                {
                    "number": number + offset,
                    "study_id": study_id,
                    "state": trial.state,
                    "datetime_start": trial.datetime_start,
                    "datetime_complete": trial.datetime_complete,
                },
            ).inserted_primary_key
            assert key is not None
            for table, row in _rows(trial):
                rows.setdefault(table, []).append({"trial_id": key[0], **row})
        for table, table_rows in rows.items():
            connection.execute(sqlalchemy.insert(table), table_rows)


def _rows(trial: FrozenTrial) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the rows of a trial, each with its table."""
    for name, distribution in trial.distributions.items():
        yield (
            models.TrialParamModel.__table__,
            {
                "param_name": name,
                "param_value": distribution.to_internal_repr(trial.params[name]),
                "distribution_json": distribution_to_json(distribution),
            },
        )
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        row = {"objective": objective, "value": stored, "value_type": kind}
        yield models.TrialValueModel.__table__, row
    to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    for step, value in trial.intermediate_values.items():
        columns = dict(
            zip(("intermediate_value", "intermediate_value_type"), to_stored(value), strict=True)
        )
        yield models.TrialIntermediateValueModel.__table__, {"step": step, **columns}
    for table, attributes in (
        (models.TrialUserAttributeModel.__table__, trial.user_attrs),
        (models.TrialSystemAttributeModel.__table__, trial.system_attrs),
    ):
        for key, value in attributes.items():
            yield table, {"key": key, "value_json": json.dumps(value)}
