"""How long trials that are trained in other processes have been in training."""

import time
from collections import defaultdict
from collections.abc import Iterable

__all__ = ["TrainingClock"]

_MOST_SECONDS = 1.0
"""Longest time between two looks that counts: after more, the driver itself was held up."""


class TrainingClock:
    """Adds up the time that each trial is in training, from frequent looks at those that are.

    Only this counts: neither waiting for a worker, nor the start of one, nor a pause.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[int, float] = defaultdict(float)
        self._looked = time.monotonic()

    def look(self, training: Iterable[int], limit: float) -> list[int]:
        """Count the time since the last look for these trials.

        Parameters
        ----------
        training : iterable of int
            Numbers of the trials in training.
        limit : float
            Seconds that a trial may be in training.

        Returns
        -------
        list of int
            Those of them that have reached the limit.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _MOST_SECONDS), now
        overdue = []
        for number in training:
            self._seconds[number] += passed
            if self._seconds[number] >= limit:
                overdue.append(number)
        return overdue
