"""A study replayed under other rules."""

import pytest

from hpo._discovery import build
from hpo.backends.optuna import OptunaBackend
from hpo.pruners import BasePruner
from hpo.result import StudyResult
from hpo.review.audit import choices, replays
from hpo.testing import ScriptedObjective
from hpo.testing.backends import search
from hpo.trial import TrialState

RULES = ("nop", "median", "optuna_median", "halving:eta=3", "median:n_startup_trials=2")
N_STEPS = 12


def curve(trial):
    level = trial.params["x"]
    return [level * (1 - 0.8**step) + 0.05 * ((trial.number * step) % 3) for step in range(1, 13)]


def run(pruner, n_trials=25):
    records = search(
        OptunaBackend(), ScriptedObjective(curve, n_steps=N_STEPS), n_trials=n_trials, pruner=pruner
    )
    return StudyResult(name="s", records=tuple(records))


def pruners(*rules):
    return {rule: build("hpo.pruners", rule, BasePruner) for rule in rules}


@pytest.fixture(scope="module")
def full():
    return run("nop")


@pytest.mark.parametrize("rule", RULES)
def test_a_replay_is_what_the_study_would_have_been(rule, full):
    (replay,) = replays(full, pruners(rule))
    real = run(rule)
    assert replay.n_epochs == real.epochs_run
    assert replay.n_stopped == real.n_pruned
    assert replay.saved == pytest.approx(real.epochs_saved_fraction)
    assert replay.winner.number == real.winner.number
    assert replay.n_unknown == 0
    of_winner = real.records[full.winner.number]
    lost = of_winner.state is TrialState.PRUNED
    assert replay.stopped_winner_at == (of_winner.last_step if lost else None)
    assert replay.loss == pytest.approx(full.winner.value - real.winner.value)


def test_curves_that_were_cut_are_counted_as_far_as_they_are_known():
    cut = run("median")
    (replay,) = replays(cut, pruners("nop"))
    assert replay.n_unknown == cut.n_pruned > 0
    assert replay.n_epochs == cut.epochs_run
    assert replay.saved == 0


def test_choices_of_the_rules(full):
    best, cheapest = choices(full)
    assert (best.rule, best.winner, best.loss) == ("best", full.winner, 0.0)
    assert cheapest.rule == "one_se"
    assert cheapest.winner.refit_steps <= best.winner.refit_steps


def test_nothing_to_replay():
    empty = StudyResult(name="s", records=())
    assert replays(empty, pruners("median")) == []
    assert choices(empty) == []
