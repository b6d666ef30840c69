"""A study in a storage, as anyone can read it at any moment."""

import copy
import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.exceptions import StorageError
from hpo.space import SearchSpace
from hpo.storage._signing import owners_of
from hpo.storage.drivers import driver_lives
from hpo.storage.many_objects import many_objects
from hpo.storage.open import open_cached, storage_errors
from hpo.storage.records import FROM_OPTUNA, outline_of, record_of
from hpo.storage.studies import FIRST_STEP, quiet, study_attr, study_attrs
from hpo.storage.urls import file_of, shown
from hpo.trial import Cause, TrialRecord, TrialState

__all__ = ["ALIVE", "HEARTBEAT_SECONDS", "RETRIED", "REVOKED", "StoredStudy"]

RETRIED = "retried"
"""Attribute of the study with the numbers of failed trials that were enqueued again."""
REVOKED = "revoked"
"""Attribute of the study with the reasons, by number, why finished trials are void."""
ALIVE = "alive:"
"""Start of the names of the attributes of the study with the time of a driver's last heartbeat."""
HEARTBEAT_SECONDS = 60.0


class StoredStudy:
    """A study in a storage, which is only read.

    Parameters
    ----------
    name : str
    storage : str or None
        See `open_storage`.
    backend : BaseStorage or None
        The opened storage; None opens it.
    seed : int
        See `record_of`.
    select : {"best", "last"} or None
        Which report stands for a trial (`TrialRecord`); None takes the study's stored setting.

    Attributes
    ----------
    file : Path or None
        The file of the storage, whatever folder a trial may change to; None for a server.
    first_step : int
        The number of a trial's first step among Optuna's intermediate values: 1, or 0 in older
        studies.

    Raises
    ------
    StorageError
        If the storage cannot be used, or the study does not exist.
    """

    def __init__(
        self,
        name: str,
        storage: str | None,
        *,
        backend: BaseStorage | None = None,
        seed: int = 0,
        select: str | None = None,
    ) -> None:
        self.name = name
        self.url = storage
        path = file_of(storage or "")
        self.file = None if path is None else path.absolute()
        self._seed = seed
        self._finished: dict[int, TrialRecord] = {}
        self._retried: set[int] = set()
        self._revoked: dict[str, str] = {}
        self._backend = open_cached(storage) if backend is None else backend
        with storage_errors(storage), quiet():
            names = optuna.get_all_study_names(self._backend)
            if name not in names:
                raise StorageError(
                    f"There is no study '{name}' in {shown(storage)}.{_listed(names)}"
                )
            self._study_id = self._backend.get_study_id_from_name(name)
        self.key: str = self.get_attr("key") or ""
        self.first_step: int = self.get_attr(FIRST_STEP) or 0
        self.select: str = select or self.get_attr("select") or "best"
        text = self.get_attr("space")
        self._space = SearchSpace.from_storage(text, name) if text else SearchSpace.load({})
        self._read_voided()

    @property
    def space(self) -> SearchSpace:
        """The space of the study."""
        return self._space

    def get_attr(self, name: str) -> Any:
        """Return the attribute of the study with this name, or None."""
        with storage_errors(self.url):
            return copy.deepcopy(study_attr(self._backend, self._study_id, name))

    @property
    def attrs(self) -> dict[str, Any]:
        """All attributes of the study by their names; the caller must not change their values."""
        with storage_errors(self.url):
            return study_attrs(self._backend, self._study_id)

    def records(self, *, running: bool = False) -> list[TrialRecord]:
        """Return the records of all finished trials; with ``running``, of running ones too."""
        states = {*FROM_OPTUNA, OptunaState.RUNNING} if running else set(FROM_OPTUNA)
        self._read_voided()
        with many_objects():
            return [self._record(trial) for trial in self.trials(*states)]

    def outlines(self) -> list[TrialRecord]:
        """Return the records of all trials that began, with two reports each at most.

        They are the one that stands for the trial and the last one, without the scores of the
        folds; a trial of which that cannot be known without reading all reports has them all.
        """
        self._read_voided()
        with many_objects():
            return [self._outline(t) for t in self.trials(*FROM_OPTUNA, OptunaState.RUNNING)]

    def record(self, number: int) -> TrialRecord:
        """Return the record of a trial."""
        return self._record(self.trials()[number])

    @property
    def has_complete(self) -> bool:
        """Whether a trial of the study is complete."""
        return bool(self.trials(OptunaState.COMPLETE))

    def trials(self, *states: OptunaState) -> list[FrozenTrial]:
        """Return Optuna's trials with these states, or all, in the order of their numbers."""
        with storage_errors(self.url):
            return self._backend.get_all_trials(self._study_id, False, states or None)

    def abandoned(self, gone: Collection[str] = ()) -> set[int]:
        """Return the numbers of the running trials whose drivers are dead.

        Parameters
        ----------
        gone : collection of str
            Drivers that are known to be dead.
        """
        return {
            trial.number
            for trial in self.trials(OptunaState.RUNNING)
            if not self._alive(trial, gone)
        }

    def drivers_of_running(self) -> dict[int, str]:
        """Return the drivers of the running trials, by number; empty for other programs' trials."""
        running = self.trials(OptunaState.RUNNING)
        return {trial.number: next(iter(sorted(owners_of(trial))), "") for trial in running}

    def lives(self, driver: str) -> bool:
        """Return whether another driver of the study is alive."""
        return driver_lives(driver, self.last_sign(driver))

    def last_sign(self, driver: str) -> float:
        """Return when a driver last showed that it is alive, in seconds since the epoch."""
        return float(self.get_attr(f"{ALIVE}{driver}") or 0.0)

    @property
    def revoked(self) -> Mapping[int, str]:
        """Reasons why finished trials are void, by their numbers."""
        return {int(number): why for number, why in self._revoked.items()}

    def _read_voided(self) -> None:
        """Read which finished trials no longer count; another driver may have added some."""
        self._revoked |= self.get_attr(REVOKED) or {}
        self._retried |= {*(self.get_attr(RETRIED) or ()), *map(int, self._revoked)}

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        void = trial.number in self._retried
        if trial.number in self._finished and not void:
            return self._finished[trial.number]
        record = self._read(trial)
        if trial.state.is_finished() and not void:
            self._finished[trial.number] = record
        return record

    def _read(self, trial: FrozenTrial) -> TrialRecord:
        read, first = self.space.read, self.first_step
        return self._voided(record_of(trial, self._seed, read, self.select, first_step=first))

    def _outline(self, trial: FrozenTrial) -> TrialRecord:
        outline = outline_of(trial, self.space.read, self.select, self.first_step)
        return self._record(trial) if outline is None else self._voided(outline)

    def _voided(self, record: TrialRecord) -> TrialRecord:
        """Return the record of a trial as it counts now."""
        if why := self._revoked.get(str(record.number)):
            void = why.removeprefix("interrupted: ")  # written by version 0.2 and before
            return dataclasses.replace(
                record, state=TrialState.INTERRUPTED, reason=void, cause=Cause.REVOKED
            )
        if record.number not in self._retried or record.interrupted:
            return record
        return dataclasses.replace(
            record,
            state=TrialState.INTERRUPTED,
            cause=Cause.RETRIED,
            reason=f"tried again after {record.reason or 'it failed'}",
        )

    def _alive(self, trial: FrozenTrial, gone: Collection[str] = ()) -> bool:
        owners = owners_of(trial)
        if not owners:  # another program's; hpo's have an owner from their first moment
            began = trial.datetime_start
            return began is not None and time.time() - began.timestamp() < HEARTBEAT_SECONDS
        return any(self.lives(owner) for owner in owners - set(gone))


def _listed(names: Sequence[str]) -> str:
    return f" It has: {', '.join(sorted(names))}." if names else " It has none."
