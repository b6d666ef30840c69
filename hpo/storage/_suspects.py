"""Parameters with which drivers died: they are tried a last time, alone, and then no more.

One of the trials that run together may have killed their driver. So a suspect runs alone: if its
driver dies again, it is no other trial's doing. A driver that got further with a training than the
one before did not die of its parameters.
"""

from collections.abc import Callable, Mapping

from optuna.trial import FrozenTrial

from hpo.storage._agenda import Agenda
from hpo.storage._resuming import resumed_step

__all__ = ["MAX_RETRIES", "Suspects"]

MAX_RETRIES = 2
"""How often the parameters of a trial are tried again because its driver died."""


class Suspects:
    """Counts the deaths of drivers with the parameters of trials.

    Parameters
    ----------
    agenda : Agenda
    step_put_aside : callable
        Returns the step at which the training of a trial was put aside last; 0 if it was not.
    begun : mapping of int to FrozenTrial
        The trials that this driver runs, by number, as they were when they were asked for.
    """

    def __init__(
        self,
        agenda: Agenda,
        step_put_aside: Callable[[FrozenTrial], int],
        begun: Mapping[int, FrozenTrial],
    ) -> None:
        self._agenda = agenda
        self._step_put_aside = step_put_aside
        self._begun = begun
        self.starts: dict[int, int] = {}
        """The steps from which trials of this driver go on, by number."""

    def n_died_with(self, trial: FrozenTrial) -> int:
        """Return how many drivers died with the parameters of a trial whose own is dead."""
        start = resumed_step(trial)
        n_died = self._agenda.n_died(trial, start) + 1
        if n_died <= MAX_RETRIES:  # however far it came
            return n_died
        return n_died - (self._step_put_aside(trial) > start)

    @property
    def has_next(self) -> bool:
        """Whether the parameters that are asked for next get their last chance."""
        trial = self._agenda.next
        if trial is None or self._agenda.n_died(trial) < MAX_RETRIES:
            return False
        start = self._step_put_aside(self._agenda.predecessors(trial)[0])
        return self._agenda.n_died(trial, start) >= MAX_RETRIES

    def __contains__(self, number: int) -> bool:
        """Return whether a trial of this driver is the last one with its parameters."""
        start = self.starts.get(number, 0)
        return self._agenda.n_died(self._begun[number], start) >= MAX_RETRIES
