"""What to do next: with evidence, and with a line that a search space takes."""

import math
from dataclasses import replace

import pytest
from review._studies import SPACE, by_lr, sampled

from hpo.review.advice import advice
from hpo.space import SearchSpace


def of(space, score, n_trials=200, **fields):
    result = sampled(SearchSpace.load(space), n_trials, score, pruned_every=0, **fields)
    return {each.name: each for each in advice(result)}


def line_of(each):
    space = SearchSpace.loads(each.line)
    (name,) = space
    assert name == each.name
    return space.distributions[name]


def test_a_range_that_the_best_crowd_against_is_widened():
    space = {
        "lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "depth": {"type": "int", "low": 1, "high": 5},
    }
    given = of(space, lambda p: math.log10(p["lr"]) / 10 + 0.001 * p["depth"])
    lr = given["lr"]
    assert lr.what == "Widen lr beyond 0.1."
    assert "of the best 20 of 200 complete trials lie in the upper tenth of its range" in (
        lr.evidence
    )
    wider = line_of(lr)
    assert (wider.low, wider.high, wider.log) == (1e-4, 3.0, True)
    depth = of(space, lambda p: p["depth"])["depth"]
    assert (line_of(depth).low, line_of(depth).high) == (1, 7)


def test_a_lower_end_is_widened_down_to_nothing_else():
    space = {"width": {"type": "int", "low": 16, "high": 256, "log": True}}
    wider = line_of(of(space, lambda p: -p["width"])["width"])
    assert (wider.low, wider.high) == (4, 256)
    share = of({"dropout": {"type": "float", "low": 0.0, "high": 0.5}}, lambda p: -p["dropout"])
    assert share["dropout"].what == (
        "dropout does best at 0, the end of what it can be: fix it there."
    )
    assert SearchSpace.loads(share["dropout"].line).values("dropout") == (0.0,)
    upper = of({"dropout": {"type": "float", "low": 0.0, "high": 0.9}}, lambda p: p["dropout"])
    assert line_of(upper["dropout"]).high == 1.0, "a share is not more than 1"


def test_a_linear_range_whose_best_values_are_its_smallest_becomes_logarithmic():
    space = {"tol": {"type": "float", "low": 1e-5, "high": 1e-2}}
    tol = of(space, lambda p: -p["tol"])["tol"]
    assert tol.what == "Search tol on a log scale."
    assert line_of(tol).log


def test_what_did_nothing_is_fixed_as_the_winner_has_it():
    result = sampled(SPACE, 200, by_lr, pruned_every=0)
    given = {each.name: each for each in advice(result)}
    assert "lr" not in given
    assert "optimizer" not in given, "another parameter depends on it"
    noise = given["noise"]
    assert "No effect of noise was seen" in noise.what
    assert "of 20 studies" in noise.evidence
    (value,) = SearchSpace.loads(noise.line).values("noise")
    assert value == result.best_params["noise"]


@pytest.mark.parametrize("n_trials", [0, 1, 19])
def test_few_trials_advise_nothing(n_trials):
    assert not advice(sampled(SPACE, n_trials, by_lr, pruned_every=0))


def test_a_flat_score_and_an_unknown_space_advise_nothing():
    flat = sampled(SPACE, 200, lambda p: 0.5 + 1e-3 * p["noise"] % 1e-4, pruned_every=0)
    assert not [each for each in advice(flat) if each.what.startswith("Widen")]
    assert not advice(replace(flat, space=None))


def test_where_all_trials_are_is_no_advice():
    """A sampler's favourite corner: the best trials are there because all are."""
    space = SearchSpace.load(SPACE)
    result = sampled(space, 200, by_lr, pruned_every=0)
    records = []
    for record in result.records:
        params = {**record.trial.params, "noise": 0.999}
        records.append(replace(record, trial=replace(record.trial, params=params)))
    given = advice(replace(result, records=tuple(records)))
    assert "noise" not in {each.name for each in given if each.what.startswith("Widen")}
