"""Spaces as scikit-learn's searches write them: arrays, distributions, lists of grids."""

import math
import pickle
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
import scipy.stats as st
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from hpo.exceptions import SpaceError
from hpo.space import SearchSpace


def only(spec):
    space = SearchSpace.load({"a": spec})
    assert SearchSpace.loads(space.to_yaml()) == space
    assert pickle.loads(pickle.dumps(space)) == space
    return space


def read_at(space, *stored):
    return [space.read({"a": value})["a"] for value in stored]


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (np.logspace(-2, 2, 3), [0.01, 1.0, 100.0]),
        (np.arange(3), [0, 1, 2]),
        (np.array(["x", "y"]), ["x", "y"]),
        (np.array([None, 1], dtype=object), [None, 1]),
        (torch.tensor([1, 3]), [1, 3]),
        (pd.Series([0.5, 0.25]), [0.5, 0.25]),
        (("x", None), ["x", None]),
        (range(3, 0, -1), [3, 2, 1]),
        ({"type": "categorical", "choices": np.array([1.5, 2.5])}, [1.5, 2.5]),
    ],
)
def test_arrays_are_lists_of_choices(spec, values):
    distribution = only(spec).distributions["a"]
    assert isinstance(distribution, CategoricalDistribution)
    assert list(distribution.choices) == values
    assert all(type(choice) in {int, float, str, type(None)} for choice in distribution.choices)


def test_a_range_is_an_int():
    assert only(range(1, 4)).distributions["a"] == IntDistribution(1, 3)
    assert only(range(2, 12, 4)).distributions["a"] == IntDistribution(2, 10, step=4)
    assert [p["a"] for p in only(range(2, 12, 4)).grid()] == [2, 6, 10]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (st.uniform(2, 3), FloatDistribution(2, 5)),
        (st.uniform(), FloatDistribution(0, 1)),
        (st.loguniform(1e-3, 10), FloatDistribution(1e-3, 10, log=True)),
        (st.reciprocal(1, 4), FloatDistribution(1, 4, log=True)),
        (st.loguniform(1, 4, scale=0.5), FloatDistribution(0.5, 2, log=True)),
        (st.randint(1, 5), IntDistribution(1, 4)),
        (st.randint(low=1, high=5, loc=2), IntDistribution(3, 6)),
        (
            {"type": "float", "distribution": "loguniform(0.1, 1)"},
            FloatDistribution(0.1, 1, log=True),
        ),
        ({"distribution": "scipy.stats.uniform(loc=1)"}, FloatDistribution(1, 2)),
    ],
)
def test_a_distribution_that_optuna_has_is_that(spec, expected):
    space = only(spec)
    assert space.distributions["a"] == expected
    assert not space.translates


OTHERS = [
    st.expon(scale=10),
    st.norm,
    st.norm(2, 3),
    st.lognorm(1.5),
    st.beta(2, 3),
    st.gamma(np.float64(2.0)),
    st.cauchy(),
    st.t(df=3),
    st.loguniform(1, 10, loc=1),
    st.poisson(3),
    st.geom(0.05),
    st.binom(20, 0.3),
    st.bernoulli(0.3),
]


@pytest.mark.parametrize("spec", OTHERS, ids=lambda d: getattr(d, "dist", d).name)
def test_any_other_distribution_is_searched_by_its_quantiles(spec):
    space = only(spec)
    frozen = spec if hasattr(spec, "dist") else spec()
    assert space.distributions["a"] == FloatDistribution(0.001, 0.999)
    assert space.translates
    quantiles = np.linspace(0.001, 0.999, 201)
    values = read_at(space, *quantiles)
    np.testing.assert_allclose(values, frozen.ppf(quantiles), rtol=1e-11)
    for value in values:  # what is given comes back as it was
        assert read_at(space, space.keep({"a": value})["a"]) == [value]
    assert {type(value) for value in values} == {int if hasattr(frozen, "pmf") else float}
    with pytest.raises(SpaceError, match="a: is continuous"):
        space.grid()


def test_random_points_are_drawn_from_the_distribution():
    space = only(st.expon(scale=10))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(400):
        trial = study.ask()
        stored = space.sample(lambda name, d: trial.suggest_float(name, d.low, d.high))  # noqa: B023
        drawn.append(space.read(stored)["a"])
    assert st.kstest(drawn, st.expon(scale=10).cdf).pvalue > 0.01


class Unknown(st.rv_continuous):
    def _pdf(self, x):
        return math.exp(-x)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (0.1, "must be {type"),
        ("1, 2, 3", "must be {type"),
        (np.ones((3, 2)), "give the list of its rows: list(array)"),
        (map(str, [1, 2]), "make a list of it"),
        ({1, 2}, "make a list of it"),
        (st.expon(scale=-1), "has no quantiles for expon(scale=-1): are its parameters in range?"),
        (Unknown(name="mine")(), "is none of scipy.stats' own: give it low and high"),
        (st.rv_histogram(np.histogram([1, 2, 3])), "is none of scipy.stats' own"),
        (st.Normal(), "is none of scipy.stats' own"),
        (np.random.default_rng(0), "must be {type"),
        ({"distribution": "exponn(1)"}, "scipy.stats has no distribution 'exponn', did you mean"),
        ({"distribution": "expon(a=1)"}, "scipy.stats refuses expon(a=1)"),
        ({"distribution": "expon(print(1))"}, "with numbers for its parameters"),
        ({"distribution": 3}, "`distribution` must be one of scipy.stats"),
        ({"distribution": "expon()", "low": 1}, "`distribution` and `low` exclude each other"),
        ({"type": "int", "distribution": "expon()"}, "`type` must be float for expon(), got 'int'"),
        ({"distribution": "expon()", "lwo": 1}, "unknown key 'lwo'"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_way_out(spec, told):
    with pytest.raises(SpaceError) as caught:
        SearchSpace.load({"a": spec, "b": [1]})
    (problem,) = caught.value.problems
    assert problem.startswith("mapping: a: ")
    assert told in problem


def test_an_empty_space_is_one_point():
    for source in ({}, [{}]):
        space = SearchSpace.load(source)
        assert space.grid() == [{}]
        assert space.size(1) == 1
        assert space.sample(None) == space.resolve({}) == space.keep({}) == {}
        assert SearchSpace.loads(space.to_yaml()) == space


# -- lists of grids ------------------------------------------------------------------------------

SCALERS = [StandardScaler(), MinMaxScaler()]
LISTS = [
    [
        {"kernel": ["rbf"], "C": [1, 10], "gamma": [0.1, 1.0]},
        {"kernel": ["poly"], "degree": [2, 3]},
    ],
    [{"C": [1, 10]}, {}, {"C": [0.5]}],
    [{"a": [True, None]}, {"a": [1, "x"]}, {"b": range(3)}],
    [{"s": [SCALERS[0]], "n": [1]}, {"s": SCALERS, "n": [2]}],
    [{"x": [1.5, 2.5]}],
]


def in_order(params):
    return [repr(sorted(point.items())) for point in params]


@pytest.mark.parametrize("grids", LISTS, ids=range(len(LISTS)))
def test_the_grid_of_a_list_is_that_of_scikit_learn(grids):
    space = SearchSpace.load(grids)
    points = space.grid()
    assert in_order(map(space.resolve, points)) == in_order(ParameterGrid(grids))
    assert space.size(100) == len(points)
    for point in points:
        assert space.read(space.keep(point)) == point
    stored = [repr(sorted(space.keep(point).items())) for point in points]
    assert len(set(stored)) == len(stored)


MIXED = [
    {"kernel": ["rbf"], "C": st.loguniform(0.1, 10), "gamma": st.expon(scale=0.1)},
    {
        "kernel": ["poly", "linear"],
        "degree": {"type": "int", "low": 2, "high": 4, "when": {"kernel": "poly"}},
    },
    {"kernel": ["rbf"], "C": {"type": "float", "low": 20, "high": 30}},
]


def test_a_trial_has_the_parameters_of_one_part():
    space = SearchSpace.load(MIXED)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds = set()
    for _ in range(60):
        trial = study.ask(dict(space.distributions))
        stored = space.sample(lambda name, _: trial.params[name])  # noqa: B023
        params = space.read(stored)
        resolved = space.resolve(params)
        SVC().set_params(**resolved)
        assert space.read(space.keep(params)) == params
        kinds.add((params["kernel"], tuple(params)))
        if params.get("C", 0) > 10:
            assert 20 <= params["C"] <= 30
            assert params.keys() == {"kernel", "C"}
    assert kinds == {
        ("rbf", ("kernel", "C", "gamma")),
        ("poly", ("kernel", "degree")),
        ("linear", ("kernel",)),
        ("rbf", ("kernel", "C")),
    }


def test_a_list_is_written_read_compared_and_described():
    space = SearchSpace.load(MIXED)
    again = SearchSpace.loads(space.to_yaml())
    assert again == space != SearchSpace.load(MIXED[::-1])
    assert again.names == space.names == ("kernel", "C", "gamma", "degree")
    assert again.distributions == space.distributions
    assert pickle.loads(pickle.dumps(space)) == space
    assert space.describe("C") == "float 0.1 .. 10.0, log; or float 20.0 .. 30.0"
    assert SearchSpace.load([{"C": [1, 2]}]) == SearchSpace.load({"C": [1, 2]})
    space.check(SVC())
    with pytest.raises(
        SpaceError, match=r"grids\[1\]: degree: 'degree' is not a parameter"
    ) as told:
        space.check(LogisticRegression())
    assert "grids[0]: C" not in str(told.value)


def test_what_all_parts_define_alike_is_one_parameter_for_the_sampler():
    space = SearchSpace.load([{"a": [1, 2], "b": [1]}, {"a": [1, 2]}, {"a": [1, 2]}])
    assert set(space.distributions) == {"@grid", "a", "b"}
    assert "a" not in space.conditions


def test_different_objects_with_one_label_are_told_apart():
    first, second = (lambda x: x), (lambda x: -x)
    space = SearchSpace.load([{"f": [first], "n": [1]}, {"f": [second], "n": [2]}])
    found = [space.resolve(point)["f"] for point in space.grid()]
    assert found == [first, second]


# -- points --------------------------------------------------------------------------------------

SPACE = SearchSpace.load(
    {
        "optimizer": [torch.optim.SGD, torch.optim.Adam],
        "momentum": {
            "type": "float",
            "low": 0,
            "high": 0.9,
            "when": {"optimizer": torch.optim.SGD},
        },
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "width": {"type": "int", "low": 8, "high": 64, "step": 8},
        "drop": {"type": "float", "low": 0, "high": 1, "step": 0.1},
        "layers": [(64,), (32, 32)],
        "batch": [16, 32],
        "scaler": [StandardScaler(), StandardScaler(with_mean=False)],
        "gamma": st.expon(scale=0.1),
    }
)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("optimizer", torch.optim.Adam, "torch.optim.Adam"),
        ("optimizer", "torch.optim.Adam", "torch.optim.Adam"),
        ("optimizer", "torch.optim.adam.Adam", "torch.optim.Adam"),
        ("lr", np.float32(0.5), 0.5),
        ("lr", 1, 1.0),
        ("batch", np.int64(32), 32),
        ("batch", 32.0, 32),
        ("width", np.int64(16), 16),
        ("width", 16.0, 16),
        ("width", torch.tensor(16), 16),
        ("drop", 0.1 + 0.2, 0.1 + 0.2),
        ("layers", (32, 32), "(32, 32)"),
        ("layers", [32, 32], "(32, 32)"),
        ("layers", "(32, 32)", "(32, 32)"),
        ("scaler", StandardScaler(with_mean=False), "StandardScaler(with_mean=False)"),
        ("gamma", 0.25, 0.25),
    ],
)
def test_a_given_value_is_read_as_trials_have_it(name, given, expected):
    ((point),) = SPACE.points([{name: given}], "enqueue")
    assert point == {name: expected}
    assert type(point[name]) is type(expected)
    assert SPACE.read(SPACE.keep(point)) == point


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({"learning_rate": 0.1}, "learning_rate: is not in the search space; it has optimizer"),
        ({"widht": 8}, "widht: is not in the search space, did you mean 'width'?"),
        ({3: 8}, "3: is not in the search space; it has"),
        (
            {"optimizer": torch.optim.RMSprop},
            "optimizer: <class 'torch.optim.rmsprop.RMSprop'> is none",
        ),
        ({"optimizer": "torch.optim.Adma"}, "did you mean 'torch.optim.Adam'?"),
        ({"lr": 2.0}, "lr: 2.0 is outside its range, 0.0001 .. 1.0."),
        ({"lr": "0.1"}, "lr: must be a number, got '0.1'."),
        ({"lr": True}, "lr: must be a number, got True."),
        ({"lr": math.nan}, "lr: must be a number, got nan."),
        ({"width": 12}, "width: 12 is off its steps, 8 .. 64 by 8."),
        ({"width": 8.5}, "width: 8.5 is no integer."),
        ({"drop": 0.15}, "drop: 0.15 is off its steps, 0.0 .. 1.0 by 0.1."),
        ({"gamma": 5.0}, "gamma: 5.0 is outside its range, 0.00010005"),
        (
            {"momentum": 0.5},
            "momentum: exists only when optimizer is torch.optim.SGD: give optimizer too.",
        ),
        (
            {"momentum": 0.5, "optimizer": torch.optim.Adam},
            "momentum: exists only when optimizer is torch.optim.SGD, which the point does not "
            "say.",
        ),
        ([("lr", 0.1)], "must be a mapping of names to values. Got [('lr', 0.1)] instead."),
    ],
)
def test_a_point_that_no_trial_can_have_is_told(point, told):
    with pytest.raises(SpaceError) as caught:
        SPACE.points([{"lr": 0.1}, point], "enqueue")
    (problem,) = caught.value.problems
    assert problem.startswith("enqueue[1]: ")
    assert told in problem


def test_all_mistakes_in_points_come_at_once():
    with pytest.raises(SpaceError) as caught:
        SPACE.points([{"lr": 9, "width": 9, "nothing": 1}, 7], "enqueue")
    assert len(caught.value.problems) == 4
    for wrong in ({"lr": 0.1}, "lr", 3, None):
        with pytest.raises(SpaceError, match="enqueue: must be a list of mappings"):
            SPACE.points(wrong, "enqueue")


def test_a_point_belongs_to_the_part_of_a_list_that_it_fits():
    space = SearchSpace.load(MIXED)
    assert space.points([{"C": 25}], "enqueue") == ({"C": 25.0},)
    assert space.keep({"C": 25.0}) == {"@grid": 2, "C@2": 25.0}
    assert space.keep({"kernel": "linear"}) == {"@grid": 1, "kernel@1": "linear"}
    with pytest.raises(SpaceError, match="kernel: 'sigmoid' is none of its choices"):
        space.points([{"kernel": "sigmoid"}], "enqueue")
    with pytest.raises(SpaceError, match="no point of the space"):
        space.keep({"kernel": "sigmoid"})


def test_no_warning_is_given():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for spec in OTHERS:
            only(spec)
