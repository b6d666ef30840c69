"""Write the values of steps to Optuna's storage, batched if that is a database."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

import optuna
from optuna.storages import BaseStorage, RDBStorage

if TYPE_CHECKING:
    from hpo.storage._rdb import SQLStorage

__all__ = ["StepValues"]

_WRITE_SECONDS = 1.0


class StepValues:
    """Writes the values of steps: at once where that is cheap, once per second in a database.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    id_of : callable
        ``id_of(number)`` returns the storage's id of a trial.
    """

    def __init__(self, storage: BaseStorage, id_of: Callable[[int], int]) -> None:
        self._id_of = id_of
        self.database = _database(storage)
        """The storage, if it is a database."""
        self._waiting: dict[int, dict[int, float]] = {}
        self._written = 0.0

    def add(self, trial: optuna.Trial, step: int, value: float) -> None:
        """Add the value of a step, counted from 0."""
        if self.database is None:
            trial.report(value, step)
            return
        self._waiting.setdefault(trial.number, {})[step] = value
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self._written = time.monotonic()
            for number in list(self._waiting):
                self._write(number)

    def together(self) -> AbstractContextManager[None]:
        """Return a context manager that delays writes to a database until the block ends."""
        return self.database.together() if self.database else nullcontext()

    def finish(self, trial: optuna.Trial) -> None:
        """Write the remaining values of a trial, before its result is stored."""
        self._write(trial.number)

    def _write(self, number: int) -> None:
        values = self._waiting.pop(number, None)
        if values and self.database is not None:
            self.database.set_intermediate_values(self._id_of(number), values)


def _database(storage: BaseStorage) -> "SQLStorage | None":
    """Return the storage if it is a `SQLStorage`, without importing SQLAlchemy if it is not."""
    if not isinstance(storage, RDBStorage):
        return None
    from hpo.storage._fast_sql import is_fast

    return cast("SQLStorage", storage) if is_fast(storage) else None
