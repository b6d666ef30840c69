"""Notes of a fused executor on how its trials were trained."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hpo.executors.base import BaseExecutor, reason_of
from hpo.executors.fused.benchmark import Choice
from hpo.fused import NotFusibleError

__all__ = ["TrainingNotes", "reason_unbatched"]

N_WITH_TIMES = 3
"""Number of choices that are described with their times."""


class TrainingNotes:
    """How each trial was trained, why not in a batch, and what else the user should know.

    Parameters
    ----------
    pool : BaseExecutor
        The executor of the trials that are in no batch.
    """

    def __init__(self, pool: BaseExecutor) -> None:
        self._pool = pool
        self.reason_for_all = ""
        """Why no trial at all can be trained in a batch; empty if some may be."""
        self.extra: list[str] = []
        """Further sentences."""
        self._reasons: dict[str, list[int]] = {}
        self._choices: list[tuple[int, Choice]] = []
        self._ways: dict[int, tuple[str, str]] = {}

    def add_unbatched(self, numbers: Iterable[int], why: str) -> None:
        """Note why these trials are trained by the pool."""
        for number in numbers:
            self._reasons.setdefault(why, []).append(number)
            self._ways[number] = (self._pool.trained_by(number)[0], why)

    def add_batched(self, numbers: Iterable[int], way: str) -> None:
        """Note that these trials have made a step in a batch."""
        for number in numbers:
            self._ways[number] = (way, "")

    def add_choice(self, number: int, choice: Choice) -> None:
        """Note how the structure of a trial is trained."""
        self.extra += choice.failures
        if len(choice.tried) > 1:
            self._choices.append((number, choice))

    def trained_by(self, number: int) -> tuple[str, str]:
        """Return how a trial is trained, and why not in a batch; see `BaseExecutor.trained_by`."""
        if self.reason_for_all:
            return self._pool.trained_by(number)[0], self.reason_for_all
        return self._ways.get(number, ("", ""))

    def notes(self, n_trials: int) -> list[str]:
        """Return the notes as sentences, for a study that has started ``n_trials`` trials."""
        choices = [
            f"trials like trial {number} are trained {choice}"
            for number, choice in self._choices[:N_WITH_TIMES]
        ]
        others = Counter(choice.plan.name for _, choice in self._choices[N_WITH_TIMES:])
        if others:
            counts = ", ".join(f"{n} {name}" for name, n in others.most_common())
            choices.append(f"of further structures are trained: {counts}")
        return [*self._refusals(n_trials), *self.extra, *choices]

    def _refusals(self, n_trials: int) -> list[str]:
        """Return one sentence for each reason why trials are not trained in a batch."""
        n = self._pool.capacity
        by = f"trained by {n} worker process{'es' * (n > 1)}"
        if self.reason_for_all:
            return [f"All trials are {by}, because {self.reason_for_all}."]
        return [
            f"{_subject(numbers, n_trials)} {by}, because {why}."
            for why, numbers in self._reasons.items()
        ]


def _subject(numbers: Sequence[int], n_trials: int) -> str:
    """Return the subject of a sentence about some trials, with its verb."""
    if len(numbers) == n_trials and n_trials > 1:
        return f"All {n_trials} trials were"
    if len(numbers) == 1:
        return f"Trial {numbers[0]} was"
    return f"{len(numbers)} of {n_trials} trials (the first: trial {min(numbers)}) were"


def reason_unbatched(error: BaseException, what: str) -> str:
    """Return the reason of a `NotFusibleError`; for other errors, ``what`` failed and why."""
    if isinstance(error, NotFusibleError):
        return str(error)
    return (
        f"{what}: that raised {reason_of(error)}, which is a mistake of hpo's, to be reported, "
        "unless they fail of it alone too"
    )
