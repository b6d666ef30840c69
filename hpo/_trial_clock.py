"""How long each trial has been running, by a clock that nobody sets."""

import math
import time

from hpo.budget import Budget

__all__ = ["TrialClock"]


class TrialClock:
    """Knows which running trials have had their time.

    Parameters
    ----------
    budget : Budget
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._began: dict[int, float] = {}

    def start(self, number: int) -> None:
        """Begin to count the time of trial ``number``."""
        self._began[number] = time.monotonic()

    def stop(self, number: int) -> None:
        """Count the time of trial ``number`` no longer."""
        self._began.pop(number, None)

    @property
    def overdue(self) -> list[int]:
        """Numbers of the trials that have taken longer than a trial may."""
        limit = self._budget.trial_timeout
        if limit is None:
            return []
        now = time.monotonic()
        return [number for number, began in self._began.items() if now - began >= limit]

    @property
    def deadline(self) -> float:
        """When, by `time.monotonic`, the run or the first of its trials must end; inf is never."""
        limits = [math.inf]
        if self._budget.timeout is not None:
            limits.append(self._budget.began + self._budget.timeout)
        if self._budget.trial_timeout is not None and self._began:
            limits.append(min(self._began.values()) + self._budget.trial_timeout)
        return min(limits)
