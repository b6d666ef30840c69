"""The time left, on recorded durations of trials: what is told must be near the truth."""

import math
import random
from itertools import pairwise

import pytest

from hpo.display.progress import Plan, Progress
from hpo.display.text import time_span
from hpo.display.time_left import Range, Running, refit_seconds, rest_of_search
from hpo.trial import Report, Trial, TrialRecord, TrialState

_TEXTS = (
    "3.4 2.1 0.9 6.6 1 0.3 0.2 0.3 0.1 7.8 0.1 0.1 1.2 0.1 0.9 0.3 0.4 0.8 0.1 7.2 5.2 "
    "0.4 0.3 6.3 0.3 4.9 4.9 0.5 5.9 0.6 1.3 6.6 0.4 0.3 6.2 8.8 9.9 0.2 0.7 5.2 ",
    "2.2 3.1 1.2 14.6 3.1 9.4 0.3 6.8 0.2 0.6 0.4 8.6 0.3 0.3 0.3 0.8 0.6 0.3 5.6 5.6 7.3 "
    "5.4 0.3 4.9 0.2 5.6 0.2 0.1 2.4 0.2 2.3 0.1 2.1 0.3 0.7 0.1 2.1 0.2 0.2 0.2 ",
    "1.1 5.6 1.9 2.5 3 0.5 0.3 0.4 2.2 2.6 0.1 4 0.7 0.4 0.1 0.1 0.1 1.1 0.2 0.1 0.1 0.1 "
    "0.1 0.3 0.1 0.2 0.1 0.1 0.9 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.1 0.3 0.1 0.1 ",
)
RECORDED = [tuple(map(float, text.split())) for text in _TEXTS]
"""Seconds of the 40 trials of `studies/digits_mlp.py` under three seeds, most of them pruned."""


def _replay(durations, n_places):
    """Yield ranges and the truth at each end from a third of the trials on."""
    now = [0.0]
    progress = Progress(Plan(n_trials=len(durations), refit=False), lambda: now[0])
    waiting = list(enumerate(durations))
    running = {}
    ranges = []
    while waiting or running:
        while waiting and len(running) < n_places:
            number, seconds = waiting.pop(0)
            running[number] = now[0] + seconds
            progress.started(TrialRecord(Trial(number, {}, 0)))
        number = min(running, key=running.__getitem__)
        now[0] = running.pop(number)
        progress.ended(TrialRecord(Trial(number, {}, 0), TrialState.PRUNED))
        if progress.n_done >= len(durations) / 3 and running | dict(waiting):
            ranges.append((now[0], progress.time_left()))
    return [(left, now[0] - at) for at, left in ranges]


def _shares(replays):
    """Return in which share of moments the truth is in the range, and 25 % or less beside it."""
    told = [pair for replay in replays for pair in replay]
    inside = [left.low <= truth <= left.high for left, truth in told]
    near = [0.75 * left.low <= truth <= 1.25 * left.high + 1 for left, truth in told]
    return sum(inside) / len(told), sum(near) / len(told)


@pytest.mark.parametrize("n_places", [1, 4])
def test_pruned_trials_in_any_order(n_places):
    """As many pruned ones early as late: nine of ten moments are told rightly."""
    rng = random.Random(0)
    orders = [rng.sample(d, len(d)) for d in RECORDED for _ in range(3)]
    inside, near = _shares([_replay(order, n_places) for order in orders])
    assert inside > 0.65
    assert near > 0.85


def test_as_recorded():
    """Searches go on otherwise than they began, which nobody can know."""
    inside, near = _shares([_replay(durations, 1) for durations in RECORDED])
    assert inside > 0.45
    assert near > 0.6


def test_trials_that_are_alike_are_told_closely():
    rng = random.Random(1)
    durations = [5 * math.exp(rng.gauss(0, 0.2)) for _ in range(40)]
    replay = _replay(durations, 1)
    for left, truth in replay[:-3]:
        assert 0.75 * truth <= left.low <= left.high <= 1.45 * truth
    assert _shares([replay])[0] > 0.8


def test_the_range_narrows_and_never_jumps_by_itself():
    rng = random.Random(2)
    told = _replay([5 * math.exp(rng.gauss(0, 0.2)) for _ in range(60)], 2)
    for (a, _), (b, _) in pairwise(told):
        assert 0.5 * a.high - 5 <= b.high <= 1.3 * a.high + 5


def test_it_is_the_same_when_asked_again():
    args = [1.0, 5.0, 0.5], [Running(0.5, 1, 4)], 10, 2
    assert rest_of_search(*args) == rest_of_search(*args)


def test_many_trials_are_cheap_and_in_proportion():
    low, high = rest_of_search([2.0, 2.0, 2.0], [], 100_000, 4)
    assert low == high == pytest.approx(50_000)


def test_a_running_trial_takes_no_longer_than_its_steps():
    low, high = rest_of_search([100.0, 100.0], [Running(9.0, 9, 10)], 0, 1)
    assert low == high == pytest.approx(1.0)


def test_several_at_a_time_take_less():
    one, four = (rest_of_search([4.0] * 5, [], 40, n) for n in (1, 4))
    assert one == Range(160, 160)
    assert four == Range(40, 40)


def _record(number, seconds, state=TrialState.COMPLETE):
    report = Report(number, 1, 0.5, (0.4, 0.5, 0.6), seconds=seconds)
    return TrialRecord(Trial(number, {}, 0), state, (report,), max_steps=1)


def test_the_refit_is_included():
    now = [0.0]
    left = {}
    for refit in (True, False):
        progress = Progress(Plan(n_trials=10, refit=refit), lambda: now[0])
        for number in range(4):
            progress.started(TrialRecord(Trial(number, {}, 0), max_steps=1))
            now[0] += 10
            progress.ended(_record(number, 10.0))
        left[refit] = progress.time_left()
    assert left[False] == Range(60, 60)
    assert left[True] == Range(65, 65)
    assert refit_seconds(10.0, 3) == 5.0
    assert refit_seconds(10.0, 1) == 10.0


def test_nested_searches_and_finalists_are_included():
    """Of ten trials, four were made by an earlier run."""
    now = [0.0]
    earlier = tuple(_record(number, 10.0) for number in range(4))
    plan = Plan(n_trials=10, earlier=earlier, refit=True, n_finalists=2, n_outer=3)
    progress = Progress(plan, lambda: now[0])
    for number in range(4, 8):
        progress.started(TrialRecord(Trial(number, {}, 0), max_steps=1))
        now[0] += 10
        progress.ended(_record(number, 10.0))
    whole, refit, finalists = 100, 5, 2 * 10
    nested = 2 * (whole + refit)
    after = refit + finalists
    told = progress.time_left()
    assert told == pytest.approx((20 + after + 0.75 * nested, 20 + after + 1.25 * nested))
    for number in range(8, 10):
        progress.started(TrialRecord(Trial(number, {}, 0), max_steps=1))
        now[0] += 10
        progress.ended(_record(number, 10.0))
    now[0] += 50  # of the first outer fold
    left = after + 0.75 * nested - 50, after + 1.25 * nested - 50
    assert progress.time_left() == pytest.approx(left)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.2, 0.8, "up to 1 s"),
        (5.0, 95.0, "up to 1.5 min"),
        (12.3, 17.8, "12-18 s"),
        (22.0, 43.0, "20-45 s"),
        (301, 420, "5-7 min"),
        (55, 130, "1-2 min"),
        (61, 80, "60-80 s"),
        (300, 300, "about 5 min"),
        (4000, 9000, "1-2.5 h"),
        (36000, 90000, "10-25 h"),
    ],
)
def test_a_range_in_words(low, high, text):
    assert time_span(low, high) == text
