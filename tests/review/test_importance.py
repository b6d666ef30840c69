"""The importance of parameters: Optuna's numbers, and what chance gives."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial
from review._studies import SPACE, by_lr, sampled

from hpo.review.importance import _cells, axes_of, importances, ranked


@pytest.mark.parametrize("n_trials", [60, 150])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_numbers_are_optunas(n_trials, seed):
    result = sampled(SPACE, n_trials, by_lr, seed=seed, pruned_every=0)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="maximize")
    finally:
        optuna.logging.set_verbosity(before)
    for record in result.records:
        params = record.trial.params
        dists = {name: SPACE.distributions[name] for name in params}
        study.add_trial(create_trial(params=params, distributions=dists, value=record.value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "the importance may be inaccurate"
        theirs = PedAnovaImportanceEvaluator().evaluate(study)
    records = ranked(result)
    best = np.arange(n_trials) < 0.1 * n_trials
    axes = axes_of(result, records)
    ours = {name: _cells(axis, records).importance(best) for name, axis in axes.items()}
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_only_what_matters_is_more_than_chance():
    found = importances(sampled(SPACE, 120, by_lr))
    assert found[0].name == "lr"
    assert [each.name for each in found if each.is_more_than_chance] == ["lr"]
    assert sum(each.value for each in found) == pytest.approx(1.0)
    (momentum,) = (each for each in found if each.name == "momentum")
    assert momentum.n_trials < 120


def test_few_trials_say_nothing():
    assert importances(sampled(SPACE, 19, by_lr)) == []
    assert importances(sampled(SPACE, 20, by_lr)) != []


def test_pruned_trials_rank_below_complete_ones():
    order = [str(record.state) for record in ranked(sampled(SPACE, 30, by_lr))]
    assert order == ["complete"] * 20 + ["pruned"] * 10
