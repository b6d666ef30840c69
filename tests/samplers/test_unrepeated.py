"""Finite spaces: no point twice, whoever proposes, and an end when all are tried."""

import math
from collections import Counter

import numpy as np
import optuna
import pytest
import scipy.stats as st

from hpo.samplers._unrepeated import UnrepeatedSampler
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.finite_points import MOST_POINTS, FinitePoints
from hpo.storage.stored_study import StoredStudy
from hpo.storage.trial_store import TrialStore
from hpo.storage.tried_points import key_of
from hpo.trial import Report, TrialRecord, TrialState

pytestmark = pytest.mark.slow

SMALL = SearchSpace.load(
    {
        "x": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
        "k": {"type": "int", "low": 1, "high": 3, "when": {"c": "a"}},
        "c": ["a", "b"],
    }
)
LARGE = SearchSpace.load({f"k{i}": range(20) for i in range(5)})


def run(store, n, score=lambda params: 0.5, state=TrialState.COMPLETE, reason=""):
    asked = []
    for _ in range(n):
        if store.exhausted:
            break
        trial = store.ask()
        report = Report(trial.number, 1, score(trial.params), (0.5,))
        store.tell(TrialRecord(trial, state, (report,), reason, max_steps=1))
        asked.append(trial.params)
    return asked


def store(space, sampler="random", seed=0, storage=None, **settings):
    made = make_sampler(sampler, seed, parallel=False, space=space, **settings)
    return TrialStore("s", space, storage, sampler=made, seed=seed)


def keys(points, space):
    return [key_of(space.keep(point), space.distributions) for point in points]


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "qmc", "optuna_tpe", "optuna_gp"])
def test_every_point_comes_once_and_then_no_more(sampler):
    book = store(SMALL, sampler)
    assert book.left == 16
    points = run(book, 40, lambda params: params["x"])
    assert len(points) == 16
    assert set(keys(points, SMALL)) == set(keys(SMALL.grid(), SMALL))
    assert book.left == 0


def test_random_points_are_even_over_those_that_are_left():
    first = Counter(str(sorted(run(store(SMALL, seed=seed), 1)[0].items())) for seed in range(320))
    assert len(first) == 16
    assert st.chisquare(list(first.values())).pvalue > 0.01


def test_of_a_space_that_is_too_large_to_list_no_random_point_comes_twice():
    assert LARGE.size(MOST_POINTS) is None
    tiny = SearchSpace.load({"a": range(150), "b": range(150)})
    assert FinitePoints.of(tiny) is None
    for space in (LARGE, tiny):
        book = store(space)
        assert book.left == math.inf
        points = keys(run(book, 400), space)
        assert len(set(points)) == 400


@pytest.mark.parametrize("sampler", ["tpe", "optuna_tpe", "gp"])
def test_until_a_point_would_come_twice_a_sampler_proposes_what_it_does_by_itself(sampler):
    wrapped = make_sampler(sampler, 3, parallel=False, space=LARGE)
    assert isinstance(wrapped, UnrepeatedSampler)
    alone = make_sampler(sampler, 3, parallel=False, space=LARGE)
    books = [TrialStore("s", LARGE, sampler=s, seed=3) for s in (wrapped, alone.inner)]
    mine, theirs = (run(book, 25, lambda params: params["k0"] / 20) for book in books)
    assert mine == theirs


def test_the_nearest_new_point_is_taken():
    points = FinitePoints(SMALL)
    rng = np.random.default_rng(0)
    here = {"c": "a", "x": 0.2, "k": 2}
    everything = range(len(points.stored))
    assert points.nearest(here, everything, rng) == here
    others = [i for i in everything if points.stored[i] != here]
    found = [points.nearest(here, others, rng) for _ in range(40)]
    assert set(keys(found, SMALL)) == set(keys([{**here, "x": x} for x in (0.1, 0.3)], SMALL))
    far = [i for i in everything if points.stored[i]["c"] == "b"]
    assert points.nearest(here, far, rng) == {"c": "b", "x": 0.2}


def test_a_point_is_the_same_however_its_numbers_were_rounded():
    kinds = SMALL.distributions
    assert key_of({"x": 0.1 + 0.2, "c": "b"}, kinds) == key_of({"x": 0.3, "c": "b"}, kinds)
    assert key_of({"k": 1}, {}) == key_of({"k": 1.0}, {}) != key_of({"k": True}, {})


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal"])
def test_enqueued_points_and_those_of_others_count(kind, tmp_path):
    url = {
        "memory": None,
        "sqlite": f"sqlite:///{tmp_path}/s",
        "journal": f"journal:///{tmp_path}/j",
    }
    book = store(SMALL, "tpe", storage=url[kind])
    book.enqueue([{"c": "b", "x": 0.1}, {"c": "a"}, {"c": "b", "x": 0.1}])
    points = run(book, 2)
    assert points[0] == {"c": "b", "x": 0.1}
    assert points[1]["c"] == "a"
    if kind != "memory":  # what leaves parameters open has been tried too
        book = store(SMALL, "random", storage=url[kind])
        book.enqueue([{"c": "a"}, {"x": 0.1}])
    points += run(book, 40)
    assert len(points) == len(set(keys(points, SMALL))) == 16


def test_a_point_that_leaves_parameters_open_is_filled_up_with_new_ones():
    book = store(SMALL, "tpe")
    run(book, 3)
    book.enqueue([{"x": 0.3, "c": "b"}])
    for _ in range(3):
        book._study.enqueue_trial({"c": "b"})
    asked = keys(run(book, 4), SMALL)
    assert len(set(asked)) == 4


def test_interrupted_points_are_tried_again():
    book = store(SMALL)
    run(book, 1, state=TrialState.INTERRUPTED, reason="Ctrl-C")
    assert book.left == 16
    book.fail_stale_trials()
    assert len(run(book, 40)) == 16


def test_a_sampler_that_is_given_is_taken_as_it_is():
    own = optuna.samplers.RandomSampler(seed=0)
    assert make_sampler(own, 0, parallel=False, space=SMALL) is own
    book = TrialStore("s", SMALL, sampler=own)
    points = run(book, 400)
    assert len(set(keys(points, SMALL))) == 16  # and ends when it has come to all of them
    assert book.left == 0


MIXED = SearchSpace.load([{"C": st.expon(scale=10), "p": [1]}, {"p": [2], "n": st.poisson(3)}, {}])


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal"])
@pytest.mark.parametrize("sampler", ["random", "tpe:n_startup_trials=2", "cmaes"])
def test_records_have_values_where_the_storage_has_quantiles(kind, sampler, tmp_path):
    url = {
        "memory": None,
        "sqlite": f"sqlite:///{tmp_path}/s",
        "journal": f"journal:///{tmp_path}/j",
    }
    book = store(MIXED, sampler, storage=url[kind])
    book.set_attr("space", MIXED.to_yaml())
    book.enqueue([{"C": 12.5}, {"p": 2, "n": 4}])
    asked = run(book, 12)
    assert asked[:2] == [{"p": 1, "C": 12.5}, {"p": 2, "n": 4}]
    assert [record.trial.params for record in book.records()] == asked
    assert {tuple(sorted(params)) for params in asked} <= {("C", "p"), ("n", "p"), ()}
    if kind != "memory":
        stored = optuna.load_study(study_name="s", storage=book._study._storage).trials
        assert all(0 < t.params.get("C", 0.5) < 1 for t in stored)
        read = StoredStudy("s", url[kind])
        assert [record.trial.params for record in read.records()] == asked
        again = store(MIXED, sampler, storage=url[kind])
        again.enqueue([{"C": 12.5}])
        assert again.ask().params != {"p": 1, "C": 12.5}
