"""The time that a search has left, as a range, from how long its trials took.

Trials differ: a pruned one takes a second where a complete one takes minutes, and how many are
pruned changes as a search goes on. One number would claim more than is known. So the rest of the
search is played many times with durations of trials that have ended, recent ones more often, and
each time with other shares of them (the Bayesian bootstrap, Rubin 1981). How much more often is
drawn anew for each play too, because nobody knows how fast the trials change. The range holds nine
of ten outcomes. ``tests/benchmarks/time_left.py`` measures how near it comes.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Range", "Running", "nested_seconds", "refit_seconds", "rest_of_search"]

N_PLAYS = 160
N_DRAWN = 200
"""Trials that are drawn at most for each play; the time of more is in proportion."""
LEFT_OUT = 0.05
"""Share of the plays below the range, and above it."""
N_REMEMBERED = 400
"""Trials that are drawn from at most: the last ones."""
OFF_BY = 0.25
"""Share by which what is like something measured may differ from it."""
_SHORTEST_MEMORY = 3.0
_MEMORIES = 8
"""A trial counts half as much as one that ended some others later: an eighth of all, to all."""


class Range(NamedTuple):
    """A range of seconds."""

    low: float
    high: float

    def plus(self, seconds: float) -> "Range":
        """Return the range moved by ``seconds``, at 0 or above."""
        return Range(max(0.0, self.low + seconds), max(0.0, self.high + seconds))


class Running(NamedTuple):
    """A trial in training: its age in seconds, the steps made, and its steps (0 if unknown)."""

    age: float
    step: float = 0
    max_steps: int = 0

    @property
    def longest(self) -> float:
        """Seconds that it takes from now on if nothing stops it; inf if unknown."""
        if not self.step or not self.max_steps:
            return float("inf")
        return max(0, self.max_steps - self.step) * self.age / self.step


def rest_of_search(
    durations: Sequence[float], running: Sequence[Running], n_to_start: int, n_places: int
) -> Range:
    """Return how long the rest of a search takes.

    Parameters
    ----------
    durations : sequence of float, length n_ended
        Seconds of the trials that have ended, in the order of their ends; one at least.
    running : sequence of Running
    n_to_start : int
        Trials that have not begun.
    n_places : int
        Trials at a time.

    Returns
    -------
    Range
        Equal arguments give an equal range.
    """
    rng = random.Random(len(durations))  # the picture must not flicker
    durations = durations[-N_REMEMBERED:]
    plays = sorted(
        _play(durations, _shares(len(durations), rng), running, n_to_start, max(1, n_places), rng)
        for _ in range(N_PLAYS)
    )
    i = int(LEFT_OUT * N_PLAYS)
    return Range(plays[i], plays[-1 - i])


def _shares(n: int, rng: random.Random) -> list[float]:
    """Draw how much each of ``n`` trials counts, the last ones more."""
    memory = max(_SHORTEST_MEMORY, n * _MEMORIES ** -rng.random())
    return [0.5 ** (age / memory) for age in range(n - 1, -1, -1)]


def _play(  # noqa: PLR0917 - called once
    durations: Sequence[float],
    shares: Sequence[float],
    running: Sequence[Running],
    n_to_start: int,
    n_places: int,
    rng: random.Random,
) -> float:
    """Return the seconds of one possible rest of the search."""
    weights = [rng.gammavariate(share, 1.0) + 1e-12 for share in shares]
    rests = [_rest_of_trial(trial, durations, weights, rng) for trial in running]
    free = [*rests, *[0.0] * (n_places - len(rests))]
    # Of several trials at a time the short ones end first: the others count too, or all that
    # is known would be of short ones.
    seen = [*durations, *(trial.age + rest for trial, rest in zip(running, rests, strict=True))]
    weights += [rng.gammavariate(1.0, 1.0) for _ in running]
    n_drawn = min(n_to_start, N_DRAWN)
    for seconds in rng.choices(seen, weights, k=n_drawn):
        place = min(range(len(free)), key=free.__getitem__)
        free[place] += seconds
    if n_drawn < n_to_start:
        return sum(free) / len(free) * n_to_start / n_drawn
    return max(free)


def _rest_of_trial(
    trial: Running, durations: Sequence[float], weights: Sequence[float], rng: random.Random
) -> float:
    """Draw how long a running trial still takes, from the trials that took longer than its age."""
    longer = [i for i, seconds in enumerate(durations) if seconds > trial.age]
    if longer:
        (i,) = rng.choices(longer, [weights[i] for i in longer])
        rest = durations[i] - trial.age
    else:
        rest = 2 * trial.age * rng.random()
    return min(rest, trial.longest)


def refit_seconds(seconds: float, n_folds: int) -> float:
    """Return about how long a winner's training on all the data takes.

    Parameters
    ----------
    seconds : float
        Those of its trial, over all folds, up to the epoch that the refit ends with.
    n_folds : int
        A trial trains on ``n_folds - 1`` times the data, the refit once.
    """
    return seconds / max(1, n_folds - 1)


def nested_seconds(search: float, refit: float, n_outer: int) -> Range:
    """Return about how long the outer folds of a nested cross-validation take.

    Parameters
    ----------
    search, refit : float
        Seconds of the whole search of the study, and of its winner's refit. Each outer fold makes
        both, on all rows but its own.
    n_outer : int
        Outer folds.
    """
    seconds = (n_outer - 1) * (search + refit)
    return Range((1 - OFF_BY) * seconds, (1 + OFF_BY) * seconds)
