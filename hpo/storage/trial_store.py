"""The trials of a study in an Optuna study, with which every backend asks and tells.

Parameters, values per step and states are in Optuna's own tables, for its samplers and for
any other tool that reads them. What these tables have no place for (scores of the folds, reasons,
errors, times) is stored in one user attribute per trial.
"""

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import InMemoryStorage, get_storage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.exceptions import StorageError
from hpo.space import SearchSpace
from hpo.storage._agenda import Agenda
from hpo.storage._step_values import StepValues
from hpo.storage.drivers import driver_lives, new_driver
from hpo.storage.open import open_storage, shown, storage_errors
from hpo.storage.records import (
    FROM_OPTUNA,
    RECORD,
    SOURCE,
    TO_OPTUNA,
    frozen_of,
    pack,
    record_of,
)
from hpo.storage.studies import KEY, open_study, quiet
from hpo.trial import Cause, Report, Trial, TrialRecord, TrialState, derive_seed

__all__ = ["TrialStore"]

_OWNER = "hpo:owner"
_RETRIED = "retried"
"""Attribute of the study with the numbers of failed trials that were enqueued again."""
_REVOKED = "revoked"
"""Attribute of the study with the reasons, by number, why finished trials are void."""
_HEARTBEAT_SECONDS = 60.0


class TrialStore:
    """One study in a storage.

    Parameters
    ----------
    name : str
    space : SearchSpace or None
        The space that `ask` samples; None for a trial store that is only read.
    storage : str or None
        See `open_storage`; None keeps the study in memory.
    sampler : optuna.samplers.BaseSampler or None
    seed : int
        Seed of the study, from which each trial's seed is derived with the trial's number.
    create : bool, default=True
        Create the study if it does not exist.
    costs : sequence of str
        Further objectives, which are minimized while the score is maximized.
    select : {"best", "last"} or None
        Which report stands for a trial (`TrialRecord`); None takes the study's stored setting.

    Attributes
    ----------
    driver : str
        Name of this driver of the study, by which other drivers identify it.
    is_new : bool
        Whether the study was created by this object.

    Raises
    ------
    StorageError
        If the storage cannot be used, or the study does not exist and ``create`` is false.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace | None,
        storage: str | None = None,
        *,
        sampler: optuna.samplers.BaseSampler | None = None,
        seed: int = 0,
        create: bool = True,
        costs: Sequence[str] = (),
        select: str | None = None,
    ) -> None:
        self.name = name
        self.url = storage
        self._space = space
        self._seed = seed
        self._costs = tuple(costs)
        self._trials: dict[int, optuna.Trial] = {}
        self._asked: set[int] = set()
        self._last_heartbeat = 0.0
        opened = open_storage(storage)
        backend = get_storage(opened)  # with Optuna's cache for a database, shared by the study
        self._durable = not isinstance(opened, InMemoryStorage)
        self.driver = new_driver()
        with storage_errors(storage), quiet():
            names = optuna.get_all_study_names(backend)
            if name not in names and not create:
                raise StorageError(
                    f"There is no study '{name}' in {shown(storage)}.{_listed(names)}"
                )
            self.is_new = False
            if create:
                self._study, self.is_new = open_study(
                    backend, name, sampler, space, len(self._costs)
                )
            else:
                self._study = optuna.load_study(storage=backend, study_name=name)
            self._study_id = backend.get_study_id_from_name(name)
            self.key: str = self._study.user_attrs.get(KEY, "")
            retried = self._study.user_attrs.get(f"hpo:{_RETRIED}", ())
        find = backend.get_trial_id_from_study_id_trial_number
        self._id_of = partial(find, self._study_id)
        self._values = StepValues(opened, self._id_of)
        self._agenda = Agenda(self._study, space)
        self._agenda.retried |= set(retried)
        self._revoked: dict[str, str] = self.get_attr(_REVOKED) or {}
        self._agenda.retried |= set(map(int, self._revoked))
        self.select: str = select or self.get_attr("select") or "best"

    @property
    def space(self) -> SearchSpace:
        """The space that `ask` samples."""
        if self._space is None:  # a trial store that is only read
            text = self.get_attr("space")
            self._space = SearchSpace.loads(text, self.name) if text else SearchSpace.load({})
        return self._space

    @property
    def study(self) -> optuna.Study:
        """The underlying Optuna study."""
        return self._study

    @property
    def sampler(self) -> optuna.samplers.BaseSampler:
        """The sampler of the study."""
        return self._study.sampler

    # -- attributes of the study -------------------------------------------------------------

    def set_attr(self, name: str, value: Any) -> None:
        """Store an attribute of the study, which must be JSON data, under ``name``."""
        with storage_errors(self.url):
            self._study.set_user_attr(f"hpo:{name}", value)

    def get_attr(self, name: str) -> Any:
        """Return the attribute of the study with this name, or None."""
        with storage_errors(self.url):
            return self._study.user_attrs.get(f"hpo:{name}")

    def records(self, *, running: bool = False) -> list[TrialRecord]:
        """Return the records of all finished trials; with ``running``, of running ones too."""
        states = {*FROM_OPTUNA, OptunaState.RUNNING} if running else set(FROM_OPTUNA)
        with storage_errors(self.url):
            trials = self._study.get_trials(deepcopy=False, states=tuple(states))
        return [self._record(trial) for trial in trials]

    @property
    def has_complete(self) -> bool:
        """Whether a trial of the study is complete."""
        with storage_errors(self.url):
            complete = (OptunaState.COMPLETE,)
            return bool(self._study.get_trials(deepcopy=False, states=complete))

    def sync_other_workers(self, known: Iterable[int]) -> tuple[list[TrialRecord], int]:
        """Return the finished trials of other drivers, and the number of their running trials.

        Parameters
        ----------
        known : iterable of int
            Numbers of the trials whose records the caller already has.

        Returns
        -------
        finished : list of TrialRecord
            Finished trials that are not in ``known``.
        running : int
            Number of trials that are running under other drivers.
        """
        if not self._durable:
            return [], 0
        known_numbers = {*known, *self._asked}
        with storage_errors(self.url):
            trials = self._study.get_trials(deepcopy=False)
        finished = [
            self._record(trial)
            for trial in trials
            if trial.state in FROM_OPTUNA and trial.number not in known_numbers
        ]
        running = sum(
            trial.state is OptunaState.RUNNING and trial.number not in self._trials
            for trial in trials
        )
        return finished, running

    def fail_stale_trials(self) -> list[TrialRecord]:
        """Finish the running trials of dead drivers, and enqueue their parameters again.

        A driver may have died after it stored the result of a trial and before it told the
        sampler: such a trial keeps its result.

        Returns
        -------
        list of TrialRecord
            The trials that were finished by this call.
        """
        with storage_errors(self.url):
            running = self._study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,))
            beats = self._study.user_attrs
        closed = []
        for trial in running:
            if trial.number in self._trials or self._alive(trial, beats):
                continue
            record = self._record(trial)
            if record.state is TrialState.RUNNING:
                record = dataclasses.replace(
                    record,
                    state=TrialState.INTERRUPTED,
                    cause=Cause.DRIVER_DIED,
                    reason="the process that ran it is gone",
                    ended=time.time(),
                )
            self._close(trial.number, record)
            closed.append(record)
        with storage_errors(self.url):
            self._agenda.requeue_interrupted()
        return closed

    def retry_failed(self) -> int:
        """Enqueue the parameters of all failed trials again; the failed ones no longer count.

        Optuna does not allow changes to a finished trial, so their numbers are stored in an
        attribute of the study.

        Returns
        -------
        int
            The number of failed trials.
        """
        failed = [record.number for record in self.records() if record.state is TrialState.FAILED]
        if failed:
            self._agenda.retried |= set(failed)
            self.set_attr(_RETRIED, sorted(self._agenda.retried))
            with storage_errors(self.url):
                self._agenda.requeue_interrupted()
        return len(failed)

    # -- trials ------------------------------------------------------------------------------

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Enqueue points to be tried before the sampler's, unless they have already been tried.

        A point may leave parameters open; it counts as tried if any trial contains its values.
        """
        with storage_errors(self.url):
            self._agenda.enqueue(points)

    def add(self, records: Sequence[TrialRecord], source: str) -> list[TrialRecord]:
        """Add trials of another study, except those that are already here or were tried here.

        Parameters
        ----------
        records : sequence of TrialRecord
            Complete and pruned trials whose params are points of the space.
        source : str
            Key of the other study.

        Returns
        -------
        list of TrialRecord
            The trials that were added, with their numbers in this study.
        """
        distributions = self.space.distributions
        with storage_errors(self.url):
            new = self._agenda.new(records, source)
            for mark, record in new.items():
                stored = self.space.keep(record.trial.params)
                packed = pack(record, params=self.space.translates) | {"seed": record.trial.seed}
                attrs = {RECORD: packed, SOURCE: mark}
                values = self._objectives(record)
                self._study.add_trial(frozen_of(record, stored, distributions, values, attrs))
            trials = self._study.get_trials(deepcopy=False)
        return [self._record(trial) for trial in trials if trial.user_attrs.get(SOURCE) in new]

    def set_grid(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Try only these points: the trial store is exhausted when `ask` has returned them all."""
        with storage_errors(self.url):
            self._agenda.set_grid(points)

    @property
    def exhausted(self) -> bool:
        """Whether `ask` has no trial left."""
        return self.left < 1

    @property
    def left(self) -> float:
        """How many more trials `ask` can return.

        For a grid, the number of waiting trials; for a finite space, the number of untried points;
        0 once the sampler has ended the study (Optuna's ``Study.stop``).
        """
        with storage_errors(self.url):
            return self._agenda.left

    def ask(self) -> Trial:
        """Return the next trial to run."""
        with storage_errors(self.url):
            optuna_trial = self._study.ask()
            if self._durable:  # before sampling, so that the trial has an owner if this driver dies
                optuna_trial.set_user_attr(_OWNER, self.driver)
            with self._values.together():
                stored = self.space.sample(lambda name, dist: _suggest(optuna_trial, name, dist))
        self._trials[optuna_trial.number] = optuna_trial
        self._asked.add(optuna_trial.number)
        seed = derive_seed(self._seed, "trial", optuna_trial.number)
        return Trial(optuna_trial.number, self.space.read(stored), seed)

    # Stub until the storage keeps a trial as it happens.
    def begin(self, record: TrialRecord) -> None:
        """Store what is known of a trial when it starts, and again when more of it is known."""

    def report(self, report: Report) -> None:
        """Store the value of a step; Optuna counts steps from 0.

        In a study with several objectives it is stored when the trial ends, since Optuna has no
        intermediate values there.
        """
        if self._costs:
            return
        with storage_errors(self.url):
            self._values.add(self._trials[report.number], report.step - 1, report.value)

    def tell(self, record: TrialRecord) -> None:
        """Store the result of a trial, and tell the sampler."""
        self._close(record.number, record)
        self._trials.pop(record.number, None)

    def revoke(self, record: TrialRecord) -> None:
        """Void the reports of a trial, even of a finished one, and enqueue its parameters again.

        Optuna does not allow changes to the state or the attributes of a finished trial, so this
        is stored in a user attribute of the study, ``hpo:revoked`` (reasons by the trials'
        numbers). The sampler does not forget what it has learned from the trial.
        """
        if record.number in self._trials:
            self.tell(record)
        else:
            self._revoked[str(record.number)] = record.reason
            self._agenda.retried.add(record.number)
            self.set_attr(_REVOKED, self._revoked)
        with storage_errors(self.url):
            self._agenda.requeue_interrupted()

    @property
    def revoked(self) -> Mapping[int, str]:
        """Reasons why finished trials are void, by their numbers."""
        return {int(number): why for number, why in self._revoked.items()}

    def heartbeat(self) -> None:
        """Show that this driver is alive; cheap to call often."""
        now = time.time()
        if self._durable and now - self._last_heartbeat > _HEARTBEAT_SECONDS:
            self._last_heartbeat = now
            with storage_errors(self.url):
                self._study.set_user_attr(f"hpo:alive:{self.driver}", now)

    def insert(self, trials: Sequence[FrozenTrial]) -> None:
        """Insert finished trials of another study."""
        with storage_errors(self.url):
            if self._values.database is None:
                self._study.add_trials(trials)
            else:
                from hpo.storage._rdb_finished import insert_finished  # loads SQLAlchemy

                insert_finished(self._values.database, self._study_id, trials)

    # -- helpers -----------------------------------------------------------------------------

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        record = record_of(trial, self._seed, self.space.read, self.select)
        if why := self._revoked.get(str(trial.number)):
            void = why.removeprefix("interrupted: ")  # written by version 0.2 and before
            return dataclasses.replace(
                record, state=TrialState.INTERRUPTED, reason=void, cause=Cause.REVOKED
            )
        if trial.number not in self._agenda.retried or record.interrupted:
            return record
        return dataclasses.replace(
            record,
            state=TrialState.INTERRUPTED,
            cause=Cause.RETRIED,
            reason=f"tried again after {record.reason or 'it failed'}",
        )

    def _objectives(self, record: TrialRecord) -> list[float] | None:
        """Return the values of a trial for the sampler; None if the trial is not complete."""
        if record.state is not TrialState.COMPLETE:
            return None
        costs = [record.cost(name) for name in self._costs]
        return [record.value, *(math.inf if math.isnan(cost) else cost for cost in costs)]

    def _close(self, number: int, record: TrialRecord) -> None:
        values = self._objectives(record)
        with storage_errors(self.url):
            trial: Any = self._trials.get(number)
            if trial is None:  # another driver's trial, found by its number
                trial = optuna.Trial(self._study, self._id_of(number))
            with self._values.together():
                self._values.finish(trial)
                trial.set_user_attr(RECORD, pack(record, params=self.space.translates))
                if record.out_of_memory and "memory" not in trial.constraints:
                    trial.set_constraint("memory", 1.0)  # above 0 means infeasible
            self._study.tell(trial, values, state=TO_OPTUNA[record.state])

    def _alive(self, trial: FrozenTrial, beats: Mapping[str, Any]) -> bool:
        owner = trial.user_attrs.get(_OWNER)
        if owner is None:  # its driver died before it set the owner, or is about to set it
            began = trial.datetime_start
            return began is not None and time.time() - began.timestamp() < _HEARTBEAT_SECONDS
        return driver_lives(owner, float(beats.get(f"hpo:alive:{owner}", 0.0)))


def _listed(names: Sequence[str]) -> str:
    return f" It has: {', '.join(sorted(names))}." if names else " It has none."


def _suggest(trial: optuna.Trial, name: str, dist: BaseDistribution) -> Any:
    match dist:
        case FloatDistribution():
            return trial.suggest_float(name, dist.low, dist.high, step=dist.step, log=dist.log)
        case IntDistribution():
            return trial.suggest_int(name, dist.low, dist.high, step=dist.step, log=dist.log)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, dist.choices)
    raise TypeError(f"unknown distribution {dist!r}")
