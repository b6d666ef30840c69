"""Remember a figure per trial record, so that long studies are not read again at each decision."""

from collections.abc import Callable
from typing import Generic, TypeVar

from hpo.trial import TrialRecord

__all__ = ["RecordCache"]

T = TypeVar("T")


class RecordCache(Generic[T]):
    """Calls ``figure(record)`` once for each record and keeps the answer.

    Records never change, they are replaced: the answer for a trial is thrown away when
    another record of the same number comes. A pickled cache is empty.

    Parameters
    ----------
    figure : callable
        A function of a module, so that it can be pickled.
    """

    def __init__(self, figure: Callable[[TrialRecord], T]) -> None:
        self._figure = figure
        self._kept: dict[int, tuple[TrialRecord, T]] = {}

    def __call__(self, record: TrialRecord) -> T:
        kept = self._kept.get(record.trial.number)
        if kept is None or kept[0] is not record:
            kept = self._kept[record.trial.number] = (record, self._figure(record))
        return kept[1]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_kept": {}}
