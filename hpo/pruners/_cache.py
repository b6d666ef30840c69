"""Cache a value per trial record, so that long studies are not read again at each decision."""

from collections.abc import Callable
from typing import Generic, TypeVar

from hpo.trial import TrialRecord

__all__ = ["RecordCache"]

T = TypeVar("T")


class RecordCache(Generic[T]):
    """Calls ``figure(record)`` once for each record and caches the result.

    Records never change, they are replaced: the cached value of a trial is discarded when
    another record with the same number comes. The cache is not pickled.

    Parameters
    ----------
    figure : callable
        A module-level function, so that it can be pickled.
    """

    def __init__(self, figure: Callable[[TrialRecord], T]) -> None:
        self._figure = figure
        # The attributes' names enter the fingerprint of an estimator that contains a pruner.
        self._kept: dict[int, tuple[TrialRecord, T]] = {}

    def __call__(self, record: TrialRecord) -> T:
        cached = self._kept.get(record.trial.number)
        if cached is None or cached[0] is not record:
            cached = self._kept[record.trial.number] = (record, self._figure(record))
        return cached[1]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_kept": {}}
