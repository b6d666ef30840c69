"""What a fused executor tells of how its trials were trained."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hpo.executors.base import BaseExecutor
from hpo.executors.fused.benchmark import Choice

__all__ = ["Told"]

N_SHOWN = 3
"""Choices that are told with their times."""


class Told:
    """How each trial was trained, why not in a batch, and what else is to be known.

    Parameters
    ----------
    pool : BaseExecutor
        What trains the trials that are in no batch.
    """

    def __init__(self, pool: BaseExecutor) -> None:
        self._pool = pool
        self.why_none = ""
        """Why no trial at all can be trained in a batch; empty where some may be."""
        self.more: list[str] = []
        """Further sentences."""
        self._why: dict[str, list[int]] = {}
        self._choices: list[tuple[int, Choice]] = []
        self._ways: dict[int, tuple[str, str]] = {}

    def alone(self, numbers: Iterable[int], why: str) -> None:
        """Note why these trials are trained by the pool."""
        for number in numbers:
            self._why.setdefault(why, []).append(number)
            self._ways[number] = (self._pool.trained_by(number)[0], why)

    def in_batch(self, numbers: Iterable[int], way: str) -> None:
        """Note that these trials have made a step in a batch."""
        for number in numbers:
            self._ways[number] = (way, "")

    def chosen(self, number: int, choice: Choice) -> None:
        """Note how the structure of a trial is trained."""
        self.more += choice.failures
        if len(choice.tried) > 1:
            self._choices.append((number, choice))

    def trained_by(self, number: int) -> tuple[str, str]:
        """Return how a trial is trained, and why not in a batch; see `BaseExecutor.trained_by`."""
        if self.why_none:
            return self._pool.trained_by(number)[0], self.why_none
        return self._ways.get(number, ("", ""))

    def notes(self, n_trials: int) -> list[str]:
        """Return it in sentences, for a study of so many trials as yet."""
        shown = [
            f"trials like trial {number} are trained {choice}"
            for number, choice in self._choices[:N_SHOWN]
        ]
        rest = Counter(choice.plan.name for _, choice in self._choices[N_SHOWN:])
        if rest:
            told = ", ".join(f"{n} {name}" for name, n in rest.most_common())
            shown.append(f"of further structures are trained: {told}")
        return [*self._refusals(n_trials), *self.more, *shown]

    def _refusals(self, n_trials: int) -> list[str]:
        """Return one sentence for each reason why trials are not trained in a batch."""
        n = self._pool.capacity
        by = f"trained by {n} worker process{'es' * (n > 1)}"
        if self.why_none:
            return [f"All trials are {by}, because {self.why_none}."]
        return [
            f"{_trials(numbers, n_trials)} {by}, because {why}."
            for why, numbers in self._why.items()
        ]


def _trials(numbers: Sequence[int], n_trials: int) -> str:
    """Return which trials are meant, of how many."""
    if len(numbers) == n_trials and n_trials > 1:
        return f"All {n_trials} trials were"
    if len(numbers) == 1:
        return f"Trial {numbers[0]} was"
    return f"{len(numbers)} of {n_trials} trials (the first: trial {min(numbers)}) were"
