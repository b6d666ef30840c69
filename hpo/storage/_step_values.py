"""The values of steps on their way to Optuna's storage."""

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
    """Writes values down: at once where that is cheap, those of a second together in a database.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    id_of : callable
        ``id_of(number)`` is what the storage knows a trial by.
    """

    def __init__(self, storage: BaseStorage, id_of: Callable[[int], int]) -> None:
        self._id_of = id_of
        self.database = _database(storage)
        """The storage, if it is a database."""
        self._waiting: dict[int, dict[int, float]] = {}
        self._written = 0.0

    def add(self, trial: optuna.Trial, step: int, value: float) -> None:
        """Take in the value of a step, counted from 0."""
        if self.database is None:
            trial.report(value, step)
            return
        self._waiting.setdefault(trial.number, {})[step] = value
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self._written = time.monotonic()
            for number in list(self._waiting):
                self._write(number)

    def together(self) -> AbstractContextManager[None]:
        """Return a block in which a database is written in one go, at the block's end."""
        return self.database.together() if self.database else nullcontext()

    def finish(self, trial: optuna.Trial) -> None:
        """Write down what is left of a trial, before it is told."""
        self._write(trial.number)

    def _write(self, number: int) -> None:
        values = self._waiting.pop(number, None)
        if values and self.database is not None:
            self.database.set_intermediate_values(self._id_of(number), values)


def _database(storage: BaseStorage) -> "SQLStorage | None":
    """Return the storage if it is a database; SQLAlchemy is not loaded to find that it is none."""
    if not isinstance(storage, RDBStorage):
        return None
    from hpo.storage._fast_sql import is_fast

    return cast("SQLStorage", storage) if is_fast(storage) else None
