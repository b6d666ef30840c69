"""Laws of search spaces: reading, writing, sampling, resolving and grids."""

import copy
import importlib
import itertools
import math
import pickle
import random
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid
from sklearn.svm import SVC

from hpo.exceptions import SpaceError
from hpo.space import SearchSpace

FILES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))

MOMENTUM = {
    "momentum": {"type": "float", "low": 0, "high": 0.9, "step": 0.45, "when": {"opt": "sgd"}},
    "nesterov": {"type": "categorical", "choices": [True, False], "when": {"momentum_on": [2, 3]}},
    "momentum_on": {"type": "int", "low": 1, "high": 3, "when": {"opt": ["sgd", "rms"]}},
    "opt": {"type": "categorical", "choices": ["adam", "sgd", "rms"]},
}

names = st.text(string.ascii_letters + string.digits + "_-. é☃", min_size=1, max_size=8)
text = st.text(max_size=8).filter(lambda s: "." not in s)
finite = st.floats(-1e6, 1e6)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(), text)
floats = st.tuples(finite, finite).map(
    lambda pair: {"type": "float", "low": min(pair), "high": max(pair)}
)
logs = st.tuples(st.floats(1e-9, 1e6), st.floats(1e-9, 1e6)).map(
    lambda pair: {"type": "float", "low": min(pair), "high": max(pair), "log": True}
)
ints = st.tuples(st.integers(-50, 50), st.integers(0, 20), st.integers(1, 4)).map(
    lambda t: (
        {"type": "int", "low": t[0], "high": t[0] + t[1] * t[2]} | ({"step": t[2]} if t[1] else {})
    )
)
lists = st.lists(st.integers(-9, 9), min_size=1, max_size=3)
choices = st.lists(
    st.one_of(scalars, lists), min_size=1, max_size=5, unique_by=lambda v: repr(_key(v))
)
categoricals = choices.map(lambda values: {"type": "categorical", "choices": values})


def _key(value):
    """What counts as equal: True, 1 and 1.0, and nan and nan."""
    if isinstance(value, bool | int | float):
        return float(value) + 0.0
    return value


@st.composite
def spaces(draw, finite_only=False):
    """A valid space in the short form; later parameters may depend on earlier ones."""
    kinds = [ints, categoricals] if finite_only else [ints, categoricals, floats, logs]
    data = draw(st.dictionaries(names, st.one_of(kinds), min_size=1, max_size=5))
    made = list(data)
    for i, name in enumerate(made[1:], start=1):
        parent = data[made[draw(st.integers(0, i - 1))]]
        if parent["type"] == "float" or draw(st.booleans()):
            continue
        if parent["type"] == "int":
            values = list(range(parent["low"], parent["high"] + 1, parent.get("step", 1)))
        else:
            values = parent["choices"]
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        where = next(key for key in made if data[key] is parent)
        data[name] = {**data[name], "when": {where: chosen}}
    order = draw(st.permutations(made))
    return {name: data[name] for name in order}


def any_value(rng):
    def suggest(name, distribution):
        if isinstance(distribution, CategoricalDistribution):
            return rng.choice(distribution.choices)
        if isinstance(distribution, IntDistribution):
            return rng.randrange(distribution.low, distribution.high + 1, distribution.step)
        return rng.uniform(distribution.low, distribution.high)

    return suggest


def same_params(first, second):
    return repr(first) == repr(second)  # tells 1 from True, and nan equals itself


# ----- laws ----------------------------------------------------------------------------


@given(spaces())
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back_equal(data):
    space = SearchSpace.load(data)
    again = SearchSpace.loads(space.to_yaml())
    assert again == space
    assert again.names == space.names
    assert again.distributions == space.distributions
    assert repr(dict(again.conditions)) == repr(dict(space.conditions))
    assert again.fingerprint == space.fingerprint


@given(spaces(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_sample_holds_a_parameter_exactly_when_its_conditions_are_fulfilled(data, rng):
    space = SearchSpace.load(data)
    asked = []
    suggest = any_value(rng)
    params = space.sample(lambda name, d: asked.append(name) or suggest(name, d))
    assert asked == list(params) == [n for n in space.names if space.is_active(n, params)]
    for name in space:
        when = space.conditions.get(name, {})
        fulfilled = all(
            parent in params and repr(params[parent]) in map(repr, allowed)
            for parent, allowed in when.items()
        )
        assert (name in params) == fulfilled


@given(spaces())
@settings(max_examples=60, deadline=None)
def test_parents_come_before_children_and_pickling_keeps_all(data):
    space = SearchSpace.load(data)
    for name, when in space.conditions.items():
        assert all(space.names.index(parent) < space.names.index(name) for parent in when)
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.names == space.names
    assert hash(again) == hash(space)


@given(
    st.dictionaries(names, st.lists(scalars, min_size=1, max_size=3, unique_by=_key), min_size=1)
)
@settings(max_examples=60, deadline=None)
def test_the_grid_of_an_unconditional_space_is_scikit_learns(data):
    data = dict(itertools.islice(data.items(), 4))
    grid = SearchSpace.load(data).grid()
    expected = list(ParameterGrid(data))
    assert len(grid) == len(expected)
    assert all(map(same_params, grid, expected))


@given(spaces(finite_only=True))
@settings(max_examples=60, deadline=None)
def test_the_grid_is_the_product_without_inactive_children_and_duplicates(data):
    data = {
        name: spec if spec["type"] == "categorical" else {**spec, "high": spec["low"]}
        for name, spec in itertools.islice(data.items(), 4)
    }
    for spec in data.values():
        spec.pop("step", None)
        spec.pop("when", None) if spec.get("when", {}).keys() - data.keys() else None
    try:
        space = SearchSpace.load(data)
    except SpaceError:  # the shrunk int no longer takes the value that a child waits for
        return
    values = {
        name: d.choices if isinstance(d, CategoricalDistribution) else [d.low]
        for name, d in space.distributions.items()
    }
    expected = {}
    for params in ParameterGrid(values):
        active = {k: v for k, v in params.items() if space.is_active(k, params)}
        expected.setdefault(repr(active))
    assert list(map(repr, space.grid())) == list(expected)


@given(spaces())
@settings(max_examples=30, deadline=None)
def test_optuna_stores_what_a_space_samples(data):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = SearchSpace.load(data)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    params = space.sample(trial._suggest)  # what suggest_float and the others call
    study.tell(trial, 0.0)
    space.resolve(study.trials[0].params)
    assert study.trials[0].params.keys() == params.keys()


# ----- the file ------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_space_loads_and_samples(path):
    space = SearchSpace.load(path)
    assert space.source == str(path)
    params = space.sample(any_value(random.Random(0)))
    space.resolve(params)
    assert SearchSpace.loads(space.to_yaml()) == space
    assert all(space.describe(name) for name in space)


def test_there_are_shipped_spaces():
    assert "mlp" in {path.stem for path in FILES}


@pytest.mark.parametrize("low", ["1e-4", "+1e-4", "1.e-4", "1E-4", ".0001", "'1e-4'", "1.0e-04"])
def test_one_e_minus_four_is_a_number_wherever_it_stands(low):
    bounds = SearchSpace.loads(f"lr: {{type: float, low: {low}, high: 1E5}}").distributions["lr"]
    assert bounds == FloatDistribution(1e-4, 1e5)
    if "'" not in low:
        (value,) = SearchSpace.loads(f"lr: [{low}]").distributions["lr"].choices
        assert value == 1e-4
        assert type(value) is float


def test_yaml_1_2_words():
    space = SearchSpace.loads(
        "a: [yes, no, on, off, true, False, null, 012, 0x10, .nan, 2020-01-01]"
    )
    expected = ("yes", "no", "on", "off", True, False, None, 12, 16, math.nan, "2020-01-01")
    assert repr(space.distributions["a"].choices) == repr(expected)


def test_aliases_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &range {type: int, low: 1, high: 3}\nb: *range\n")
    space = SearchSpace.load(str(path))
    assert space.distributions == {"a": IntDistribution(1, 3), "b": IntDistribution(1, 3)}


# ----- values --------------------------------------------------------------------------


def test_optuna_distributions_and_lists_equal_the_short_form():
    short = SearchSpace.load(
        {
            "a": {"type": "float", "low": 1, "high": "10", "log": True},
            "b": {"type": "float", "low": 0, "high": 1, "step": 0.5},
            "c": {"type": "int", "low": 1.0, "high": np.int64(9), "step": 4},
            "d": {"type": "categorical", "choices": ["x", None]},
            "e": {"type": "int", "low": 1, "high": 9, "log": True},
        }
    )
    objects = SearchSpace.load(
        {
            "e": IntDistribution(1, 9, log=True),
            "d": ("x", None),
            "c": IntDistribution(1, 9, step=4),
            "b": FloatDistribution(0, 1, step=0.5),
            "a": FloatDistribution(1, 10, log=True),
        }
    )
    assert short == objects
    assert short.fingerprint == objects.fingerprint
    assert short.distributions == objects.distributions
    assert SearchSpace.load(short) is short


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({"a": [1, 2.0]}, False),  # 2 and 2.0 are told apart
        ({"a": [2, 1]}, False),  # a storage keeps the place of a choice
        ({"a": [1, 2], "b": [1]}, False),
        ({"a": {"type": "categorical", "choices": (1, 2)}}, True),
    ],
)
def test_equality(change, equal):
    space = SearchSpace.load({"a": [1, 2]})
    assert (SearchSpace.load(change) == space) is equal
    assert (SearchSpace.load(change).fingerprint == space.fingerprint) is equal
    assert space != {"a": [1, 2]}


def test_the_fingerprint_is_the_same_everywhere():
    assert SearchSpace.load(MOMENTUM).fingerprint == "31b85e9a288e4d7b"


def test_high_is_lowered_to_what_step_reaches_without_a_warning():
    space = SearchSpace.load(
        {
            "a": {"type": "float", "low": 0, "high": 1, "step": 0.3},
            "b": {"type": "int", "low": 1, "high": 10, "step": 4},
        }
    )
    assert space.describe("a") == "float 0.0 .. 0.9, step 0.3"
    assert space.describe("b") == "int 1 .. 9, step 4"
    assert [row["a"] for row in space.grid()[::3]] == [0.0, 0.3, 0.6, 0.9]


def a_function():
    return 1


def test_within_lists_a_boolean_is_not_a_number():
    kinds = {"type": "categorical", "choices": [False, [0]]}
    rate = {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": [False]}}
    space = SearchSpace.load({"kind": kinds, "rate": rate})
    assert space.conditions["rate"] == {"kind": (False,)}
    assert SearchSpace.loads(space.to_yaml()) == space
    with pytest.raises(SpaceError, match=r"`when` names \[False\], which 'kind' never takes"):
        SearchSpace.load({"kind": kinds, "rate": {**rate, "when": {"kind": [[False]]}}})


def test_choices_are_stored_as_primitives_and_resolve_to_what_was_given():
    svc, sizes, function = SVC(C=2), (64, 64), lambda: None
    given = [torch.optim.Adam, a_function, svc, sizes, [8, 8], "sqrt", np.float64(0.5), function]
    space = SearchSpace.load({"x": given})
    stored = space.distributions["x"].choices
    assert stored[0] == "torch.optim.Adam"  # as in a file, not torch.optim.adam.Adam
    assert stored[1].endswith(".a_function")
    assert stored[2:7] == ("SVC(C=2)", "(64, 64)", "[8,8]", "sqrt", 0.5)
    assert type(stored[6]) is float
    assert "0x" not in stored[7]
    for value, label in zip(given, stored, strict=True):
        back = space.resolve({"x": label})["x"]
        assert back == value if isinstance(value, float) else back is value


def test_a_class_and_its_path_in_a_file_are_the_same_choice():
    by_class = SearchSpace.load({"optimizer": [torch.optim.SGD]})
    by_path = SearchSpace.loads("optimizer: [torch.optim.SGD]")
    assert by_class == by_path
    assert by_path.resolve({"optimizer": "torch.optim.SGD"}) == {"optimizer": torch.optim.SGD}


def test_a_space_is_read_from_a_storage_without_the_classes_that_it_names(tmp_path, monkeypatch):
    """Which may take seconds to import, or be gone."""
    (tmp_path / "kinds_of_a_study.py").write_text("class A: pass\nclass B: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    rate = {"type": "float", "low": 0, "high": 1, "when": {"kind": ["kinds_of_a_study.B", None]}}
    forms = {"kind": ["kinds_of_a_study.A", "kinds_of_a_study.B", None], "rate": rate}
    for definition in (forms, [forms, {"x": [1, 2]}]):
        text = SearchSpace.load(definition).to_yaml()
        del sys.modules["kinds_of_a_study"]
        read = SearchSpace.from_storage(text, "s")
        assert "kinds_of_a_study" not in sys.modules
        assert read == SearchSpace.loads(text)
    (tmp_path / "kinds_of_a_study.py").write_text("class A: pass\n")
    del sys.modules["kinds_of_a_study"]
    importlib.invalidate_caches()
    assert SearchSpace.from_storage(text, "s") == read
    with pytest.raises(SpaceError, match="kinds_of_a_study has no 'B'"):
        SearchSpace.loads(text)
    monkeypatch.delitem(sys.modules, "kinds_of_a_study", raising=False)


def test_labels_are_unique():
    space = SearchSpace.load({"x": [[1], "[1]", SVC(), SVC()]})
    assert space.distributions["x"].choices == ("[1] #2", "[1]", "SVC()", "SVC() #2")
    assert SearchSpace.loads(space.to_yaml()) == space


def test_text_that_names_no_module_stays_text():
    space = SearchSpace.load({"x": ["no_such_module.Thing", "a.b c", "sqrt", "1.5", "v1.2"]})
    for choice in space.distributions["x"].choices:
        assert space.resolve({"x": choice}) == {"x": choice}


def test_resolve_refuses_what_the_space_does_not_hold():
    space = SearchSpace.load({"x": [1, 2]})
    with pytest.raises(SpaceError) as caught:
        space.resolve({"y": 1, "x": 3})
    assert caught.value.problems == (
        "mapping: y: is not in the space.",
        "mapping: x: 3 is none of its choices.",
    )


# ----- conditions ----------------------------------------------------------------------


def test_conditions_may_stand_before_their_parents_and_depend_on_each_other():
    space = SearchSpace.load(MOMENTUM)
    assert space.names == ("opt", "momentum", "momentum_on", "nesterov")
    assert space.is_active("nesterov", {"opt": "rms", "momentum_on": 2})
    assert not space.is_active("nesterov", {"opt": "rms", "momentum_on": 1})
    assert not space.is_active("nesterov", {"opt": "adam", "momentum_on": 2})
    assert not space.is_active("nesterov", {"momentum_on": 2})
    assert space.conditions["momentum"] == {"opt": ("sgd",)}
    assert space.describe("momentum_on") == "int 1 .. 3, when opt is sgd or rms"


def test_the_grid_of_a_conditional_space():
    sgd = [{"opt": "sgd", "momentum_on": m, "momentum": v} for v in (0.0, 0.45, 0.9) for m in (1,)]
    grid = SearchSpace.load(MOMENTUM).grid()
    assert len(grid) == 1 + 3 * (1 + 2 * 2) + (1 + 2 * 2)
    assert {"opt": "adam"} in grid
    assert all(row in grid for row in sgd)
    assert {"opt": "rms", "momentum_on": 3, "nesterov": False} in grid


@pytest.mark.parametrize(
    "wanted",
    [torch.optim.SGD, "torch.optim.SGD", ["torch.optim.sgd.SGD"], {torch.optim.SGD}],
    ids=["class", "path", "longer path", "set"],
)
def test_when_takes_classes_and_paths(wanted):
    space = SearchSpace.load(
        {
            "optimizer": ["torch.optim.SGD", torch.optim.Adam],
            "optimizer__momentum": {
                "type": "float",
                "low": 0,
                "high": 1,
                "when": {"optimizer": wanted},
            },
        }
    )
    assert space.conditions == {"optimizer__momentum": {"optimizer": ("torch.optim.SGD",)}}


def test_when_tells_a_list_that_is_a_choice_from_a_list_of_choices():
    space = SearchSpace.load(
        {
            "sizes": [[1, 2], [3], [4]],
            "a": {"type": "int", "low": 1, "high": 2, "when": {"sizes": [1, 2]}},
            "b": {"type": "int", "low": 1, "high": 2, "when": {"sizes": [[3], "[4]"]}},
        }
    )
    assert space.conditions == {"a": {"sizes": ("[1,2]",)}, "b": {"sizes": ("[3]", "[4]")}}


# ----- grids and the rest --------------------------------------------------------------


def test_a_continuous_space_has_no_grid():
    space = SearchSpace.load(
        {"a": FloatDistribution(0, 1), "b": [1], "c": FloatDistribution(1, 2, log=True)}
    )
    with pytest.raises(SpaceError) as caught:
        space.grid()
    assert caught.value.problems == (
        "mapping: a: is continuous, so it has no grid; give it a step or choices.",
        "mapping: c: is continuous, so it has no grid; give it a step or choices.",
    )


def test_a_grid_that_fills_the_memory_is_refused():
    space = SearchSpace.load(
        {"a": IntDistribution(1, 10**12), "b": FloatDistribution(0, 1e9, step=0.1)}
    )
    with pytest.raises(SpaceError, match="more than 1,000,000 combinations; give larger steps"):
        space.grid()


def test_describe():
    space = SearchSpace.load(
        {
            "a": FloatDistribution(1e-5, 0.1, log=True),
            "b": IntDistribution(1, 5),
            "c": [1, "x", None],
        }
    )
    assert [space.describe(name) for name in space] == [
        "float 1e-05 .. 0.1, log",
        "int 1 .. 5",
        "categorical: 1, x, None",
    ]


def test_a_space_is_a_collection_of_names_and_cannot_be_changed():
    space = SearchSpace.load({"a": [1], "b": [2]})
    assert list(space) == ["a", "b"]
    assert len(space) == 2
    assert "a" in space
    assert "c" not in space
    assert "a, b" in repr(space)
    with pytest.raises(AttributeError, match="immutable"):
        space.names = ()
    with pytest.raises(TypeError):
        space.distributions["a"] = None
    with pytest.raises(TypeError):
        space.conditions["a"] = None
    assert copy.deepcopy(space) == space


def test_objects_survive_pickling():
    space = pickle.loads(pickle.dumps(SearchSpace.load({"clf": [LogisticRegression(C=3), SVC]})))
    first, second = (space.resolve({"clf": c})["clf"] for c in space.distributions["clf"].choices)
    assert first.C == 3
    assert second is SVC


def test_importing_the_module_loads_no_heavy_library():
    heavy = "{'torch', 'sklearn', 'skorch', 'ruamel.yaml'}"
    code = f"import sys, hpo.space; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
