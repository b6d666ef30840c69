"""Which trials get their other folds."""

import math

import pytest

from hpo.pruners.median import MedianPruner
from hpo.pruners.nop import NopPruner
from hpo.racing import FoldRace
from hpo.trial import Report, Trial, TrialRecord, TrialState

N_STEPS = 4


def record(number, *scores, others=0, state=TrialState.RUNNING):
    screening = tuple(
        Report(number, s, score, (score, math.nan, math.nan), screening=True, last=s == N_STEPS)
        for s, score in enumerate(scores, start=1)
    )
    reports = tuple(Report(number, s, 0.5, (0.5,) * 3, n_screened=4) for s in range(1, others + 1))
    return TrialRecord(
        Trial(number, {}, number),
        state=state,
        reports=reports,
        screening=screening,
        max_steps=N_STEPS,
    )


def decided(race, number, *scores):
    made = record(number, *scores)
    race.store(made)
    return race.decide(made)


def test_the_first_trial_gets_all_its_folds():
    race = FoldRace(MedianPruner())
    assert not decided(race, 0, 0.1, 0.1, 0.1, 0.1).stop


def test_the_better_half_of_those_that_made_all_steps_get_the_others():
    race = FoldRace(NopPruner())
    scores = [0.5, 0.4, 0.6, 0.55, 0.45, 0.7]
    stops = [decided(race, i, 0.1, 0.2, 0.3, score).stop for i, score in enumerate(scores)]
    for i, score in enumerate(scores):
        better = sum(other > score for other in scores[:i])
        assert stops[i] == (better >= max(1, (i + 1) // 2))


def test_the_best_score_of_the_first_fold_counts():
    race = FoldRace(NopPruner())
    decided(race, 0, 0.5, 0.5, 0.5, 0.5)
    assert not decided(race, 1, 0.2, 0.9, 0.2, 0.2).stop
    last = decided(race, 2, 0.1, 0.1, 0.1, 0.4)
    assert last.stop
    assert last.reason == (
        "first fold, epoch 4, its last: the best score 0.4 is rank 3 of 3, the best one gets the "
        "other folds"
    )


@pytest.mark.parametrize("promote", [2, 3, 5])
def test_promote_says_how_many(promote):
    race = FoldRace(NopPruner(), promote)
    falling = [decided(race, i, 0.1, 0.1, 0.1, 1 - i / 100).stop for i in range(20)]
    assert falling.count(False) == 1 + sum(i < max(1, (i + 1) // promote) for i in range(1, 20))


def whole(number, score, state=TrialState.RUNNING):
    """A trial that makes one step, after its first fold."""
    report = Report(number, 1, score, (score, math.nan, math.nan), screening=True, last=True)
    return TrialRecord(Trial(number, {}, number), state=state, screening=(report,))


def promoted(scores):
    """Return which of some trials that make one step get the other folds."""
    race, found = FoldRace(MedianPruner()), []
    for i, score in enumerate(scores):
        race.store(whole(i, score))
        if race.decide(whole(i, score)).stop:
            race.store(whole(i, score, TrialState.PRUNED))
        else:
            found.append(i)
    return found


def test_the_best_quarter_of_trials_that_make_one_step_goes_on():
    scores = [0.5, 0.4, 0.6, 0.55, 0.45, 0.7, 0.3, 0.65, 0.64, 0.8]
    best = [i for i, s in enumerate(scores) if sum(o > s for o in scores[:i]) < max(1, i + 1 >> 2)]
    assert promoted(scores) == best == [0, 2, 5, 7, 9]


def test_of_equal_trials_that_make_one_step_a_quarter_goes_on():
    assert promoted([0.5] * 20) == [0, 7, 11, 15, 19]
    assert promoted([0.5] * 8 + [0.6] + [0.5] * 4) == [0, 7, 8]


def test_the_pruner_compares_first_folds_alone():
    race = FoldRace(MedianPruner())
    race.store(record(0, 0.6, 0.6, 0.6, 0.6, others=4, state=TrialState.COMPLETE))
    below = decided(race, 1, 0.55)
    assert below.stop
    assert below.reason.startswith("first fold, epoch 1 (rung 1 of 2): 0.55 is rank 2 of 2")
    assert not decided(race, 2, 0.65).stop


def test_trials_without_a_score_are_no_competition():
    race = FoldRace(NopPruner())
    assert not decided(race, 0, 0.1, 0.1, 0.1, math.nan).stop  # it fails
    assert not decided(race, 1, 0.1, 0.1, 0.1, 0.1).stop


def test_an_interrupted_trial_does_not_count_and_a_failed_one_does():
    race = FoldRace(NopPruner())
    race.store(record(0, 0.9, 0.9, 0.9, 0.9, others=1, state=TrialState.INTERRUPTED))
    assert not decided(race, 1, 0.5, 0.5, 0.5, 0.5).stop
    race.store(record(2, 0.9, 0.9, 0.9, 0.9, others=1, state=TrialState.FAILED))
    assert decided(race, 3, 0.6, 0.6, 0.6, 0.6).stop


def test_what_is_known_beforehand_counts():
    known = [record(i, 0.9, 0.9, 0.9, 0.9, others=4, state=TrialState.COMPLETE) for i in range(3)]
    assert decided(FoldRace(NopPruner(), records=known), 3, 0.5, 0.5, 0.5, 0.5).stop


def test_steps_of_one_fold_count_as_shares():
    assert record(0, 0.1, 0.1).n_steps == pytest.approx(2 / 3)
    assert record(0, 0.1, 0.1, 0.1, 0.1, others=3).n_steps == pytest.approx((4 + 2 * 3) / 3)
    assert record(0, 0.1, 0.1, 0.1, 0.1, others=4).n_steps == 4
