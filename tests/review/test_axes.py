"""An axis is what the space says, and what the values say where there is no space."""

import math
from dataclasses import replace

import pytest
from review._studies import SPACE, by_lr, sampled
from scipy import stats

from hpo.review import parameters
from hpo.review._axes import axes_of, has_epochs
from hpo.space import SearchSpace


@pytest.fixture
def result():
    return sampled(SPACE, 40, by_lr)


def test_the_scale_is_that_of_the_space(result):
    axes = axes_of(result)
    assert list(axes) == list(SPACE)
    assert {name for name, axis in axes.items() if axis.log} == {"lr", "width"}
    assert (axes["lr"].low, axes["lr"].high) == (1e-4, 1.0)
    assert axes["optimizer"].choices == ("SGD", "Adam")
    panels = {axes.get_xlabel(): axes.get_xscale() for axes in parameters(result).axes}
    assert panels["lr"] == "log"
    assert panels["max_depth"] == "linear"


def test_without_a_space_only_floats_are_guessed_to_be_logarithmic(result):
    axes = axes_of(replace(result, space=None))
    assert axes["lr"].log
    assert not axes["max_depth"].log
    assert not axes["momentum"].log
    given = axes_of(result, log_names=["max_depth"])
    assert [name for name, axis in given.items() if axis.log] == ["max_depth"]


def test_places_and_values_are_inverse(result):
    for axis in axes_of(result).values():
        if axis.is_number:
            for place in (0.0, 0.3, 1.0):
                assert axis.place(axis.value_at(place)) == pytest.approx(place)
    lr = axes_of(result)["lr"]
    assert lr.place(0.01) == pytest.approx(0.5)
    assert math.isnan(lr.place(-1.0))


def test_distributions_and_lists_of_spaces_have_axes():
    space = SearchSpace.load(
        [
            {"C": stats.loguniform(1e-3, 1e3), "gamma": stats.expon(scale=10)},
            {"C": [1, 10], "kernel": ["linear"]},
        ]
    )
    axes = axes_of(sampled(space, 30, lambda _: 0.5))
    assert axes["gamma"].is_number
    assert axes["gamma"].low < 1 < axes["gamma"].high
    assert not axes["C"].is_number, "two kinds of C have no common scale"
    assert axes["C"].parameter is None


def test_trials_that_report_once_have_no_epochs():
    assert has_epochs(sampled(SPACE, 3, by_lr))
    assert not has_epochs(sampled(SPACE, 3, by_lr, n_steps=1))
