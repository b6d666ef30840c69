"""The budget of a study: the limits that end it."""

import math
import time
from dataclasses import dataclass, field

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a study; the first one reached ends it.

    Parameters
    ----------
    n_trials : int or None
        Trials of the whole study, including earlier runs but not interrupted trials.
    timeout : float or None
        Wall time of this run in seconds.
    max_total_epochs : int or None
        Epochs (steps) of all trials of the study.
    trial_timeout : float or None
        Seconds that one trial may be in training.
    began : float
        `time.monotonic` at the start of this run.
    """

    n_trials: int | None = None
    timeout: float | None = None
    max_total_epochs: int | None = None
    trial_timeout: float | None = None
    began: float = field(default_factory=time.monotonic)

    def seconds_left(self) -> float | None:
        """Return the wall time left, None if there is no limit."""
        return None if self.timeout is None else self.timeout - (time.monotonic() - self.began)

    @property
    def deadline(self) -> float:
        """When, by `time.monotonic`, the wall time is spent; inf is never."""
        return math.inf if self.timeout is None else self.began + self.timeout

    def overdrawn(self, n_steps: float) -> str:
        """Return why running trials must end now; an empty string if they may continue.

        Parameters
        ----------
        n_steps : int
            Steps of all trials so far.
        """
        left = self.seconds_left()
        if left is not None and left <= 0:
            return f"the time budget of {self.timeout:g} s is spent"
        if self.max_total_epochs is not None and n_steps >= self.max_total_epochs:
            return f"the budget of {self.max_total_epochs} epochs is spent"
        return ""

    def trials_left(self, n_counted: int) -> float:
        """Return how many more trials may begin when ``n_counted`` count; inf without a limit."""
        return math.inf if self.n_trials is None else self.n_trials - n_counted
