"""Finished trials written into Optuna's tables in one transaction: all of them, or none."""

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
    """Write trials that have ended into a study; their numbers go on from its own.

    Optuna's ``add_trials`` takes a transaction a trial and a question a value: twenty
    milliseconds of a trial of ten steps.
    """
    study = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
    count = sqlalchemy.select(sqlalchemy.func.count(_TRIALS.c.trial_id)).where(
        _TRIALS.c.study_id == study_id
    )
    rows: dict[Any, list[dict[str, Any]]] = {}
    with storage.engine.begin() as connection:
        connection.execute(study.with_for_update()).first()  # numbers are counted under this lock
        number = connection.execute(count).scalar_one()
        for place, trial in enumerate(trials):
            key = connection.execute(
                sqlalchemy.insert(_TRIALS),
                {
                    "number": number + place,
                    "study_id": study_id,
                    "state": trial.state,
                    "datetime_start": trial.datetime_start,
                    "datetime_complete": trial.datetime_complete,
                },
            ).inserted_primary_key
            assert key is not None
            for table, row in _rows(trial):
                rows.setdefault(table, []).append({"trial_id": key[0], **row})
        for table, all_of_it in rows.items():
            connection.execute(sqlalchemy.insert(table), all_of_it)


def _rows(trial: FrozenTrial) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the tables and what goes there of a trial."""
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
    told = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    for step, value in trial.intermediate_values.items():
        found = dict(
            zip(("intermediate_value", "intermediate_value_type"), told(value), strict=True)
        )
        yield models.TrialIntermediateValueModel.__table__, {"step": step, **found}
    for table, attributes in (
        (models.TrialUserAttributeModel.__table__, trial.user_attrs),
        (models.TrialSystemAttributeModel.__table__, trial.system_attrs),
    ):
        for key, value in attributes.items():
            yield table, {"key": key, "value_json": json.dumps(value)}
