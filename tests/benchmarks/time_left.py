"""How near the time left is to the truth: ``python tests/benchmarks/time_left.py``.

Searches are simulated from their seeds: a trial has a time per epoch of its own (log-normal) and
is pruned at each epoch with some probability, which stays, rises as the search goes on, or is
nought; one in eight runs to its end whatever happens. At the end of each trial from a third of the
search on, the range that `Progress` tells is compared with the time that was left in truth.

The last column is what anybody could reach: the share of moments in which the *expected* time of
the remaining trials, known from the simulation's own law, is within a quarter of the truth.
"""

import argparse
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hpo.display.progress import Plan, Progress
from hpo.display.time_left import Range
from hpo.trial import Trial, TrialRecord, TrialState

EPOCHS = 30
KINDS = ("no pruning", "pruning", "heavier and heavier")
NEAR = 0.25


class Moment(NamedTuple):
    """What is told at the end of a trial, and what comes true, in seconds."""

    n_ended: int
    told: Range
    truth: float


def durations_of(kind: str, n: int, seed: int) -> list[float]:
    """Return the seconds of the trials of a search."""
    rng = random.Random(seed)
    seconds = []
    for i in range(n):
        hazard = {"no pruning": 0.0, "pruning": 0.12}.get(kind, 0.04 + 0.2 * i / n)
        stays = i < 5 or rng.random() < 1 / 8
        epochs = 2
        while epochs < EPOCHS and (stays or rng.random() >= hazard):
            epochs += 1
        seconds.append(epochs * 0.1 * math.exp(rng.gauss(0, 0.5)))
    return seconds


def moments(durations: Sequence[float], n_workers: int) -> Iterator[Moment]:
    """Replay a search, and yield what is told at the end of each trial from a third of it on."""
    now = [0.0]
    n = len(durations)
    progress = Progress(Plan(n_trials=n, refit=False), lambda: now[0])
    waiting = list(enumerate(durations))
    ends: dict[int, float] = {}
    told = []
    while waiting or ends:
        while waiting and len(ends) < n_workers:
            number, seconds = waiting.pop(0)
            ends[number] = now[0] + seconds
            progress.started(TrialRecord(Trial(number, {}, 0)))
        number = min(ends, key=ends.__getitem__)
        now[0] = ends.pop(number)
        progress.ended(TrialRecord(Trial(number, {}, 0), TrialState.PRUNED))
        left = progress.time_left() if progress.n_done >= n / 3 and (waiting or ends) else None
        if left is not None:
            told.append((now[0], progress.n_done, left))
    return (Moment(n_done, left, now[0] - at) for at, n_done, left in told)


def is_near(seconds: float, truth: float) -> bool:
    """Return whether a time is within a quarter of the truth."""
    return abs(seconds - truth) <= NEAR * truth


def measure(kind: str, *, n_trials: int, n_searches: int, n_workers: int) -> dict[str, float]:
    """Return the shares of moments in which something is near the truth, and the range's width."""
    laws = [durations_of(kind, n_trials, 10_000 + seed) for seed in range(20 * n_searches)]
    expected = [statistics.fmean(column) for column in zip(*laws, strict=True)]
    found = [
        each
        for seed in range(n_searches)
        for each in moments(durations_of(kind, n_trials, seed), n_workers)
    ]
    inside, beside, middle, known, widths = [], [], [], [], []
    for n_ended, (low, high), truth in found:
        inside.append(low <= truth <= high)
        beside.append((1 - NEAR) * low <= truth <= (1 + NEAR) * high)
        middle.append(is_near((low + high) / 2, truth))
        known.append(is_near(sum(expected[n_ended:]) / n_workers, truth))
        widths.append((high - low) / truth if truth else 0.0)
    return {
        "in the range": statistics.fmean(inside),
        "within 25 % of it": statistics.fmean(beside),
        "middle within 25 %": statistics.fmean(middle),
        "width / truth": statistics.median(widths),
        "the law's mean within 25 %": statistics.fmean(known) if n_workers == 1 else math.nan,
    }


def main(args: Sequence[str] | None = None) -> dict[tuple[str, int], dict[str, float]]:
    """Print a table, and return its figures by kind and number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n-trials", type=int, default=60)
    parser.add_argument("--searches", type=int, default=12)
    sizes = parser.parse_args(args)
    figures = {}
    for kind in KINDS:
        for n_workers in (1, 4):
            shares = measure(
                kind, n_trials=sizes.n_trials, n_searches=sizes.searches, n_workers=n_workers
            )
            if not figures:
                print(f"| searches | workers | {' | '.join(shares)} |")
                print("|---" * (len(shares) + 2) + "|")
            cells = ["-" if math.isnan(each) else f"{each:.2f}" for each in shares.values()]
            print(f"| {kind} | {n_workers} | {' | '.join(cells)} |", flush=True)
            figures[kind, n_workers] = shares
    return figures


if __name__ == "__main__":
    main()
