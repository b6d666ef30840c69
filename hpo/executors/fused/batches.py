"""The batches in training: where a trial belongs, which are trained next, what is in none."""

from collections.abc import Callable, Iterator
from itertools import count

from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.extract import ExtractedTrial
from hpo.executors.fused.mixing import Grouping
from hpo.fused import NotFusibleError

__all__ = ["MANY_STRUCTURES", "Batches"]

MANY_STRUCTURES = 16
"""Batches from which on not nearly every trial may have a new one."""

_APART = {
    "sizes": "trials with modules of other sizes are trained in batches of their own, because {}",
    "batch_size": "trials with other batch sizes are trained in batches of their own, because {}",
    "optimizer": "trials with other optimizers are trained in batches of their own, because {}",
}


class Batches:
    """The batches of a study, by their keys.

    Parameters
    ----------
    tell : callable
        ``tell(sentence)`` is told why trials that might share a batch are kept apart.

    Attributes
    ----------
    grouping : Grouping
    n_placed : int
        Number of trials that were looked at.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._batches: dict[str, TrialBatch] = {}
        self._refused: dict[str, str] = {}
        self.grouping = Grouping()
        self.n_placed = 0

    def __iter__(self) -> Iterator[TrialBatch]:
        return iter(list(self._batches.values()))

    @property
    def live(self) -> list[TrialBatch]:
        """The batches with trials."""
        return [batch for batch in self if batch.live]

    def selected(self) -> list[TrialBatch]:
        """Return the batches with few idle slots; if all have many, the fullest one."""
        live = self.live
        filled = [batch for batch in live if batch.is_filled]
        return filled or sorted(live, key=lambda batch: -batch.occupancy)[:1]

    def find(self, extracted: ExtractedTrial) -> TrialBatch | None:
        """Return the batch that a trial can be added to; None if it needs one of its own.

        Raises
        ------
        NotFusibleError
            If trials like it are not trained in batches, or nearly every trial would need its own.
        """
        batch = self._find(extracted)
        self.n_placed += 1
        if batch is None:
            n = len(self._batches)
            if n >= MANY_STRUCTURES and n > self.n_placed / 2:
                raise NotFusibleError(
                    "nearly every trial has a structure of its own, and only trials that differ in "
                    "numbers, optimizers, batch sizes or widths make a batch (choose depths and "
                    "other parts from a few values)"
                )
        return batch

    def _find(self, extracted: ExtractedTrial) -> TrialBatch | None:
        if extracted.key in self._refused:
            raise NotFusibleError(self._refused[extracted.key])
        for key in self._keys(extracted):
            if key in self._refused:
                raise NotFusibleError(self._refused[key])
            batch = self._batches.get(key)
            if batch is None:
                return None
            if not batch.takes(extracted):
                continue
            reason = batch.why_apart(extracted)
            if reason is None:
                return batch
            aspect, why = reason
            self._keep_apart(extracted, aspect)
            self._tell(_APART[aspect].format(why))
            return self._find(extracted)
        return None

    def _keys(self, extracted: ExtractedTrial) -> Iterator[str]:
        """Yield the keys of the batches in which a trial may be, one after the other."""
        key = self.grouping.key(extracted)
        return (f"{key} {n}" for n in count())

    def _keep_apart(self, extracted: ExtractedTrial, aspect: str) -> None:
        """From now on put trials that differ in an aspect into batches of their own."""
        self.grouping.keep_apart(extracted, aspect)
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            self.add(batch)

    def add(self, batch: TrialBatch) -> None:
        """Add a batch, which gets its key."""
        batch.key = next(key for key in self._keys(batch.first) if key not in self._batches)
        self._batches[batch.key] = batch

    def remove(self, batch: TrialBatch) -> None:
        """Forget a batch: the next trial like its own gets another one."""
        self._batches.pop(batch.key, None)

    def refuse(self, batch: TrialBatch, why: str) -> None:
        """Refuse all trials that would come to a batch."""
        self._refused[batch.key] = why

    def refuse_structure(self, extracted: ExtractedTrial, why: str) -> None:
        """Refuse all trials that differ from this one in numbers alone."""
        self._refused[extracted.key] = why

    def clear(self) -> None:
        """Forget all batches."""
        self._batches = {}
