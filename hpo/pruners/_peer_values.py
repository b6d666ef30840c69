"""The values of the peers at a step, in order, kept up to date from one decision to the next."""

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isnan

from hpo.trial import TrialRecord
from hpo.trial_records import Peers

__all__ = ["PeerValues", "StepValues"]

Counts = Callable[[TrialRecord, int], bool]
Value = Callable[[TrialRecord, int], float | None]


@dataclass(slots=True)
class StepValues:
    """The values of the peers at one step.

    Parameters
    ----------
    n_peers : int
        Number of peers that count.
    n_values : int
        Number of them that have a value, nan included.
    ordered : list of float
        Their values in ascending order, without nan.
    """

    n_peers: int = 0
    n_values: int = 0
    ordered: list[float] = field(default_factory=list)

    def add(self, value: float | None) -> None:
        """Add a peer that counts, with its value or None."""
        self.n_peers += 1
        if value is None:
            return
        self.n_values += 1
        if not isnan(value):
            insort(self.ordered, value)

    def n_above(self, value: float) -> int:
        """Return the number of values above ``value``."""
        return len(self.ordered) - bisect_right(self.ordered, value)

    def copy(self) -> "StepValues":
        """Return a copy."""
        return StepValues(self.n_peers, self.n_values, self.ordered.copy())


class PeerValues:
    """Collects the values of the peers at a step.

    Of the live `Peers` of a study, ended trials are read once for each step; of any other
    sequence all are read at each call. Nothing kept is pickled.

    Parameters
    ----------
    counts : callable
        ``counts(record, step)`` returns whether a peer counts.
    value : callable
        ``value(record, step)`` returns the value of a peer that counts, or None. Both must be
        picklable.
    """

    def __init__(self, counts: Counts, value: Value) -> None:
        self._counts = counts
        self._value = value
        # By step: the list of ended trials, how many of them have been read, and their values.
        self._kept: dict[int, tuple[Sequence[TrialRecord], int, StepValues]] = {}

    def at(self, step: int, peers: Sequence[TrialRecord]) -> StepValues:
        """Return the values at ``step``."""
        if not isinstance(peers, Peers):
            return self._added(StepValues(), peers, step)
        ended = peers.ended
        source, n_read, values = self._kept.get(step, (None, 0, StepValues()))
        if source is not ended:  # a record in it was replaced
            n_read, values = 0, StepValues()
        self._added(values, ended[n_read:], step)
        self._kept[step] = (ended, len(ended), values)
        running = [r for r in peers.running if self._counts(r, step)]
        return self._added(values.copy(), running, step) if running else values

    def _added(self, values: StepValues, records: Sequence[TrialRecord], step: int) -> StepValues:
        for record in records:
            if self._counts(record, step):
                values.add(self._value(record, step))
        return values

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_kept": {}}
