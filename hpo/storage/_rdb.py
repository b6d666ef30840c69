"""Optuna's database storage with plain SQL for the methods that are called at every step.

Optuna uses SQLAlchemy's object mapper, which takes 2 to 4 ms of processor time to write a value,
and more to read a trial. Here the same tables are written and read with plain statements, so that
any other Optuna process can read them.
"""

import copy
import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

__all__ = ["SQLStorage"]

_STUDIES = models.StudyModel.__table__
_TRIALS = models.TrialModel.__table__
_PARAMS = models.TrialParamModel.__table__
_STEPS = models.TrialIntermediateValueModel.__table__
_VALUES = models.TrialValueModel.__table__
_USER = models.TrialUserAttributeModel.__table__
_SYSTEM = models.TrialSystemAttributeModel.__table__

_OF_TRIAL = _TRIALS.c.trial_id == sqlalchemy.bindparam("trial")
_N_BEFORE = sqlalchemy.select(sqlalchemy.func.count(_TRIALS.c.trial_id)).where(
    _TRIALS.c.study_id == sqlalchemy.bindparam("study"),
    _TRIALS.c.trial_id < sqlalchemy.bindparam("trial"),
)
_SET_NUMBER = sqlalchemy.update(_TRIALS).where(_OF_TRIAL).values(number=sqlalchemy.bindparam("n"))
_END = (
    sqlalchemy.update(_TRIALS)
    .where(_OF_TRIAL, _TRIALS.c.state == TrialState.RUNNING)
    .values(state=sqlalchemy.bindparam("ends"), datetime_complete=sqlalchemy.bindparam("at"))
)
"""If two processes finish the same trial, the second one updates no row."""

Rows = list[Any]

_AT_A_TIME = 500
"""Number of trials per statement: databases limit the number of variables in a statement."""


def _batched(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_A_TIME):
        yield items[start : start + _AT_A_TIME]


_distribution = lru_cache(maxsize=1024)(json_to_distribution)


class SQLStorage(RDBStorage):
    """A faster `optuna.storages.RDBStorage`.

    Trials created by this process are cached as they are written, until they have finished and
    have been read, so that only trials of other processes are read from the database.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._cached_trials: dict[int, FrozenTrial] = {}
        self._together = False
        self._waiting: dict[Any, Rows] = {}

    def _runs(self, trial_id: int) -> bool:
        """Return whether this process created the trial and it has not finished."""
        return (
            trial_id in self._cached_trials
            and not self._cached_trials[trial_id].state.is_finished()
        )

    def _update_cache(self, trial_id: int, attribute: str, new_items: Mapping[Any, Any]) -> None:
        """Update the cached copy of a trial, without changing the object returned before."""
        if trial_id in self._cached_trials:
            changed = copy.copy(self._cached_trials[trial_id])
            setattr(changed, attribute, getattr(changed, attribute) | dict(new_items))
            self._cached_trials[trial_id] = changed

    # -- a trial's states ---------------------------------------------------------------------

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        if template_trial is not None:
            return super()._create_new_trial(study_id, template_trial)
        try:
            trial = self._begin(study_id)
        except sqlalchemy.exc.OperationalError:  # possibly a deadlock; Optuna's method retries
            trial = super()._create_new_trial(study_id)
        self._cached_trials[trial._trial_id] = trial
        return trial

    def _begin(self, study_id: int) -> FrozenTrial:
        """Create a running trial, as Optuna does: its number is the number of earlier trials."""
        started = datetime.now()
        row = {
            "number": None,
            "study_id": study_id,
            "state": TrialState.RUNNING,
            "datetime_start": started,
        }
        with self.engine.begin() as connection:
            self._check_study(connection, study_id, lock=True)
            key = connection.execute(sqlalchemy.insert(_TRIALS), row).inserted_primary_key
            assert key is not None
            trial_id = key[0]
            bindings = {"study": study_id, "trial": trial_id}
            number = connection.execute(_N_BEFORE, bindings).scalar_one()
            connection.execute(_SET_NUMBER, {"trial": trial_id, "n": number})
        return FrozenTrial(
            number=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=started,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=trial_id,
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state and the values of a trial; see `optuna.storages.BaseStorage`."""
        if not (self._runs(trial_id) and state.is_finished()):
            self._cached_trials.pop(trial_id, None)  # from now on it is read from the database
            return super().set_trial_state_values(trial_id, state, values)
        ended = copy.copy(self._cached_trials.pop(trial_id))
        ended.state, ended.datetime_complete = state, datetime.now()
        if values is not None:
            ended.values = list(values)
        rows = []
        for objective, value in enumerate(values or ()):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            stored_value = {"value": stored, "value_type": kind}
            rows.append({"trial_id": trial_id, "objective": objective, **stored_value})
        end = {"trial": trial_id, "ends": state, "at": ended.datetime_complete}
        with self.engine.begin() as connection:
            self._write_waiting(connection)
            if not connection.execute(_END, end).rowcount:
                self._check(connection, trial_id)
            if rows:
                connection.execute(sqlalchemy.insert(_VALUES), rows)
        self._cached_trials[trial_id] = ended
        return True

    # -- writing ------------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """Collect writes to own trials; do them at once when the block or a trial in it ends."""
        self._together = True
        try:
            yield
        finally:
            self._together = False
            if self._waiting:
                with self.engine.begin() as connection:
                    self._write_waiting(connection)

    def _write_waiting(self, connection: sqlalchemy.Connection) -> None:
        waiting, self._waiting = self._waiting, {}
        for table, rows in waiting.items():
            connection.execute(sqlalchemy.insert(table), rows)

    def _add(self, table: Any, rows: Rows) -> None:
        """Insert new rows of own trials, now or, inside `together`, later."""
        if self._together:
            self._waiting.setdefault(table, []).extend(rows)
        else:
            with self.engine.begin() as connection:
                connection.execute(sqlalchemy.insert(table), rows)

    def _put(
        self,
        trial_id: int,
        table: Any,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        new: bool,
    ) -> None:
        """Insert or replace the row with this key, of a trial that is not finished.

        If ``new``, the row is inserted without checks: it is known to be new and the trial to run.
        """
        row = {"trial_id": trial_id, **key, **values}
        if new:
            self._add(table, [row])
            return
        with self.engine.begin() as connection:
            self._write_waiting(connection)
            self._check(connection, trial_id)
            matching = [table.c.trial_id == trial_id, *(table.c[k] == v for k, v in key.items())]
            changed = connection.execute(sqlalchemy.update(table).where(*matching).values(**values))
            if not changed.rowcount:
                connection.execute(sqlalchemy.insert(table).values(**row))

    def _is_new(self, trial_id: int, attribute: str, name: Any) -> bool:
        return self._runs(trial_id) and name not in getattr(
            self._cached_trials[trial_id], attribute
        )

    def _check(self, connection: sqlalchemy.Connection, trial_id: int) -> int:
        """Check that a trial may be changed, and return the id of its study.

        Raises
        ------
        KeyError
            If there is no such trial.
        optuna.exceptions.UpdateFinishedTrialError
            If it is finished.
        """
        statement = sqlalchemy.select(_TRIALS.c.state, _TRIALS.c.study_id)
        row = connection.execute(statement.where(_TRIALS.c.trial_id == trial_id)).first()
        if row is None:
            raise KeyError(models.NOT_FOUND_MSG)
        self.check_trial_is_updatable(trial_id, row.state)
        return int(row.study_id)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if previous_distribution is None:
            previous_distribution = self._distribution_of(trial_id, param_name)
        if previous_distribution is not None:
            try:
                check_distribution_compatibility(previous_distribution, distribution)
            except ValueError:
                with self.engine.connect() as connection:
                    self._check(connection, trial_id)  # a finished trial is the more basic error
                raise
        columns = {
            "param_value": param_value_internal,
            "distribution_json": distribution_to_json(distribution),
        }
        new = self._is_new(trial_id, "_params", param_name)
        self._put(trial_id, _PARAMS, {"param_name": param_name}, columns, new=new)
        value = distribution.to_external_repr(param_value_internal)
        self._update_cache(trial_id, "_distributions", {param_name: distribution})
        self._update_cache(trial_id, "_params", {param_name: value})

    def _distribution_of(self, trial_id: int, name: str) -> BaseDistribution | None:
        with self.engine.connect() as connection:
            study_id = self._check(connection, trial_id)
            statement = (
                sqlalchemy.select(_PARAMS.c.distribution_json)
                .join(_TRIALS, _TRIALS.c.trial_id == _PARAMS.c.trial_id)
                .where(_TRIALS.c.study_id == study_id, _PARAMS.c.param_name == name)
                .limit(1)
            )
            text = connection.execute(statement).scalar()
        return None if text is None else _distribution(text)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Store the value of a step; see `optuna.storages.BaseStorage`."""
        to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
        value, kind = to_stored(intermediate_value)
        columns = {"intermediate_value": value, "intermediate_value_type": kind}
        new = self._is_new(trial_id, "intermediate_values", step)
        self._put(trial_id, _STEPS, {"step": step}, columns, new=new)
        self._update_cache(trial_id, "intermediate_values", {step: intermediate_value})

    def set_intermediate_values(self, trial_id: int, values: Mapping[int, float]) -> None:
        """Store the values of steps that have none yet, all in one transaction."""
        to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
        rows = []
        for step, value in values.items():
            stored_value, kind = to_stored(value)
            columns = {"intermediate_value": stored_value, "intermediate_value_type": kind}
            rows.append({"trial_id": trial_id, "step": step, **columns})
        if self._runs(trial_id):
            self._add(_STEPS, rows)
        else:
            with self.engine.begin() as connection:
                self._check(connection, trial_id)
                connection.execute(sqlalchemy.insert(_STEPS), rows)
        self._update_cache(trial_id, "intermediate_values", values)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a user attribute; see `optuna.storages.BaseStorage`."""
        text = json.dumps(value)
        new = self._is_new(trial_id, "_user_attrs", key)
        self._put(trial_id, _USER, {"key": key}, {"value_json": text}, new=new)
        self._update_cache(trial_id, "_user_attrs", {key: json.loads(text)})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a system attribute; see `optuna.storages.BaseStorage`."""
        text = json.dumps(value)
        new = self._is_new(trial_id, "_system_attrs", key)
        self._put(trial_id, _SYSTEM, {"key": key}, {"value_json": text}, new=new)
        self._update_cache(trial_id, "_system_attrs", {key: json.loads(text)})

    # -- reading ------------------------------------------------------------------------------

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; see `optuna.storages.BaseStorage`."""
        if trial_id in self._cached_trials:
            return self._cached_trials[trial_id]
        with self.engine.connect() as connection:
            trials = list(_read(connection, [_TRIALS.c.trial_id == trial_id]))
        if not trials:
            raise KeyError(models.NOT_FOUND_MSG)
        return trials[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        base_conditions = [_TRIALS.c.study_id == study_id]
        if isinstance(states, Iterable):
            base_conditions.append(_TRIALS.c.state.in_(list(states)))
        older = sorted(i for i in included_trial_ids if i <= trial_id_greater_than)
        queries = [[*base_conditions, _TRIALS.c.trial_id.in_(ids)] for ids in _batched(older)]
        queries.append([*base_conditions, _TRIALS.c.trial_id > trial_id_greater_than])
        with self.engine.connect() as connection:
            trials = [
                t for conditions in queries for t in self._known_or_read(connection, conditions)
            ]
            if not trials:
                self._check_study(connection, study_id)
        return trials

    def _known_or_read(
        self, connection: sqlalchemy.Connection, conditions: list[Any]
    ) -> Iterator[FrozenTrial]:
        statement = sqlalchemy.select(_TRIALS.c.trial_id, _TRIALS.c.state).where(*conditions)
        rows = connection.execute(statement.order_by(_TRIALS.c.trial_id)).all()
        unknown_ids = [r.trial_id for r in rows if not self._is_cached(r)]
        read = {
            trial._trial_id: trial
            for ids in _batched(unknown_ids)
            for trial in _read(connection, [_TRIALS.c.trial_id.in_(ids)])
        }
        for row in rows:
            if row.trial_id in read:
                yield read[row.trial_id]
            elif self._runs(row.trial_id):
                yield self._cached_trials[row.trial_id]
            else:  # Optuna caches finished trials
                yield self._cached_trials.pop(row.trial_id)

    def _is_cached(self, row: Any) -> bool:
        cached = self._cached_trials.get(row.trial_id)
        return cached is not None and cached.state == row.state

    def _check_study(
        self, connection: sqlalchemy.Connection, study_id: int, *, lock: bool = False
    ) -> None:
        statement = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
        if connection.execute(statement.with_for_update() if lock else statement).first() is None:
            raise KeyError(models.NOT_FOUND_MSG)


def _read(connection: sqlalchemy.Connection, conditions: list[Any]) -> Iterator[FrozenTrial]:
    """Yield the trials that fulfil the conditions, in the order of their ids."""
    statement = sqlalchemy.select(_TRIALS).where(*conditions).order_by(_TRIALS.c.trial_id)
    for rows in _batched(connection.execute(statement).all()):
        ids = [row.trial_id for row in rows]
        params, steps, values, user, system = (
            _by_trial(connection, table, ids)
            for table in (_PARAMS, _STEPS, _VALUES, _USER, _SYSTEM)
        )
        for row in rows:
            i = row.trial_id
            yield _frozen(row, params[i], steps[i], values[i], user[i], system[i])


def _by_trial(connection: sqlalchemy.Connection, table: Any, ids: list[int]) -> Mapping[int, Rows]:
    order = next(iter(table.primary_key.columns))
    statement = sqlalchemy.select(table).where(table.c.trial_id.in_(ids)).order_by(order)
    by_trial = defaultdict(list)
    for row in connection.execute(statement):
        by_trial[row.trial_id].append(row)
    return by_trial


def _frozen(  # noqa: PLR0917 - one table each
    row: Any,
    params: list[Any],
    steps: list[Any],
    values: list[Any],
    user: list[Any],
    system: list[Any],
) -> FrozenTrial:
    number_of = models.TrialValueModel.stored_repr_to_value
    value_of = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    by_objective = sorted(values, key=lambda v: v.objective)
    distributions = {p.param_name: _distribution(p.distribution_json) for p in params}
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[number_of(v.value, v.value_type) for v in by_objective] or None,
        datetime_start=row.datetime_start,
        datetime_complete=row.datetime_complete,
        params={
            p.param_name: distributions[p.param_name].to_external_repr(p.param_value)
            for p in params
        },
        distributions=distributions,
        user_attrs={a.key: json.loads(a.value_json) for a in user},
        system_attrs={a.key: json.loads(a.value_json) for a in system},
        intermediate_values={
            s.step: value_of(s.intermediate_value, s.intermediate_value_type) for s in steps
        },
        trial_id=row.trial_id,
    )
