"""The records of a study's trials, with the figures that are needed at every step."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import overload

from hpo.trial import TrialRecord, TrialState

__all__ = ["Peers", "TrialRecords"]


class TrialRecords:
    """The records of all trials of a study, by number.

    All figures are kept up to date with each record, since a study may have thousands of them.

    Parameters
    ----------
    records : iterable of TrialRecord
    """

    def __init__(self, records: Iterable[TrialRecord] = ()) -> None:
        self._records: dict[int, TrialRecord] = {}
        self._running: dict[int, None] = {}  # in the order in which they started
        self._interrupted: set[int] = set()
        self._resumed: set[int] = set()
        self.ended: list[TrialRecord] = []
        """Records of ended trials in the order of their ends, without those that others go on with.

        This list only grows; once a record in it is replaced, the attribute is another list.
        """
        self.n_steps = 0.0
        """Total number of steps that were made in all trials."""
        for record in records:
            self.store(record)

    @property
    def n_counted(self) -> int:
        """Number of trials without interrupted ones."""
        return len(self._records) - len(self._interrupted)

    def store(self, record: TrialRecord) -> None:
        """Add the record of a trial, or replace it."""
        number, old = record.number, self._records.get(record.number)
        self._records[number] = record
        self.n_steps += record.n_made - (old.n_made if old else 0)
        if record.interrupted:
            self._interrupted.add(number)
        else:
            self._interrupted.discard(number)
        if record.state is TrialState.RUNNING:
            self._running[number] = None
        else:
            self._running.pop(number, None)
        resumed = record.trial.resumed_from
        is_first = resumed is not None and resumed not in self._resumed
        if resumed is not None:
            self._resumed.add(resumed)
        if is_first or (old is not None and old.state is not TrialState.RUNNING):
            ended = (r for r in self._records.values() if r.number not in self._running)
            self.ended = [r for r in ended if r.number not in self._resumed]
        elif record.state is not TrialState.RUNNING:
            self.ended.append(record)

    def __getitem__(self, number: int) -> TrialRecord:
        return self._records[number]

    @property
    def numbers(self) -> Collection[int]:
        """Numbers of all trials that have records."""
        return self._records.keys()

    @property
    def running(self) -> tuple[TrialRecord, ...]:
        """Records of the running trials."""
        return tuple(self._records[number] for number in self._running)

    @property
    def by_number(self) -> tuple[TrialRecord, ...]:
        """All records, in the order of their numbers."""
        return tuple(self._records[number] for number in sorted(self._records))

    def n_interrupted_before(self, number: int) -> int:
        """Return the number of interrupted trials with smaller numbers."""
        return sum(interrupted < number for interrupted in self._interrupted)

    def is_resumed(self, number: int) -> bool:
        """Return whether another trial goes on with this one, in whose place it stands."""
        return number in self._resumed

    def peers_of(self, number: int) -> "Peers":
        """Return the records of all trials but ``number``."""
        return Peers(self, number)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, number: object) -> bool:
        return number in self._records


class Peers(Sequence[TrialRecord]):
    """The records of all trials of a study but one, as they are now: nothing is copied.

    Interrupted trials that others go on with are left out too: those have the same reports.

    Parameters
    ----------
    records : TrialRecords
    number : int
        Number of the trial that is left out.
    """

    def __init__(self, records: TrialRecords, number: int) -> None:
        self._records = records
        self._number = number

    @property
    def ended(self) -> Sequence[TrialRecord]:
        """Records of ended trials in the order of their ends.

        A pruner can keep figures of them from one decision to the next: as long as this is the same
        list, only records at its end are new. The trial that is left out is among them once it
        has ended.
        """
        return self._records.ended

    @property
    def running(self) -> tuple[TrialRecord, ...]:
        """Records of the running trials but the one that is left out."""
        return tuple(r for r in self._records.running if r.number != self._number)

    def __iter__(self) -> Iterator[TrialRecord]:
        number = self._number
        records = self._records
        return (r for r in records if r.number != number and not records.is_resumed(r.number))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> TrialRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[TrialRecord]: ...

    def __getitem__(self, index: int | slice) -> TrialRecord | list[TrialRecord]:
        return list(self)[index]
