"""Trials that advance together are judged together, whoever is named first."""

import pytest

from hpo.backends.optuna import OptunaBackend
from hpo.budget import Budget
from hpo.pruners.halving import HalvingPruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.testing.lockstep import LockstepExecutor
from hpo.testing.scripted import ScriptedObjective
from hpo.trial import TrialState
from hpo.trial_manager import TrialManager

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})
N_STEPS = 34  # rungs at 2, 4, 8, 16, 32


def rising(trial):
    return [trial.params["x"]] * N_STEPS


def search(n_trials, n_slots, sampler="tpe", pruner=None):
    store = TrialStore("s", SPACE, sampler=make_sampler(sampler, 0, parallel=True, space=SPACE))
    objective = ScriptedObjective(rising, n_steps=N_STEPS)
    trials = TrialManager(
        store, pruner or HalvingPruner(), Budget(n_trials), max_steps=objective.max_steps
    )
    with LockstepExecutor(objective, n_slots) as executor:
        OptunaBackend().run(trials, executor)
    return trials.records


def test_sixteen_sobol_points_are_halved_to_one():
    records = search(16, 16)
    ranked = sorted(records, key=lambda r: r.trial.params["x"])
    assert [r.last_step for r in ranked] == [2] * 8 + [4] * 4 + [8] * 2 + [16] + [N_STEPS]
    assert [r.state for r in ranked] == [TrialState.PRUNED] * 15 + [TrialState.COMPLETE]


def test_the_same_search_asks_for_the_same_trials_again():
    first, second = search(60, 8), search(60, 8)
    assert [r.trial.params for r in first] == [r.trial.params for r in second]
    assert len({r.trial.params["x"] for r in first}) == 60


@pytest.mark.parametrize("n_slots", [1, 8, 16])
def test_cohorts_find_the_optimum(n_slots):
    best = max(r.value for r in search(60, n_slots) if r.state is TrialState.COMPLETE)
    assert best > 0.95
