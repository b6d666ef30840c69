"""Which sampler suits a search, and that a study which goes on is proposed the same."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import create_trial
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier
from torch import nn

from hpo import Study, StudyData
from hpo.exceptions import PluginError
from hpo.samplers.auto import LEAST_COMPLETE, MOST_TRIALS, AutoSampler, choice
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.study.prepared import PreparedStudy

NUMBERS = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
}
NAMES = {"kind": ["a", "b"], "other": ["c", "d"]}
CONDITION = {
    "depth": {"type": "int", "low": 1, "high": 3},
    "x": {"type": "float", "low": 0.0, "high": 1.0, "when": {"depth": [2]}},
}
MANY = {f"x{i}": NUMBERS["x"] for i in range(30)}


@pytest.mark.parametrize(
    ("space", "settings", "expected"),
    [
        (NUMBERS, {}, ("gp", "slow trials on a space of numbers")),
        ({**NUMBERS, "kind": ["a", "b"]}, {}, ("gp", "slow trials on a space of numbers")),
        (NUMBERS, {"slow": False}, ("tpe", "quick trials")),
        (NUMBERS, {"parallel": True}, ("tpe", "several trials at a time")),
        (NUMBERS, {"n_objectives": 2}, ("tpe", "several objectives")),
        (CONDITION, {}, ("tpe", "a space with conditions")),
        ([NUMBERS, {"kind": ["a"]}], {}, ("tpe", "a space with conditions")),
        ({**NAMES, "x": NUMBERS["x"]}, {}, ("tpe", "a space of names")),
        (MANY, {}, ("tpe", "more than 20 parameters")),
    ],
)
def test_the_choice_and_its_reason(space, settings, expected):
    known = {"slow": True, "parallel": False, **settings}
    space = SearchSpace.load(space)
    assert choice(space, **known) == expected
    parallel = known.pop("parallel")
    options = ",".join(f"{name}={str(value).lower()}" for name, value in known.items())
    sampler = make_sampler(f"auto:{options}", 0, parallel=parallel, space=space)
    assert isinstance(sampler, AutoSampler) == (expected[0] == "gp")


def test_an_unknown_option():
    with pytest.raises(PluginError, match="sampler 'auto' has no option 'fast'"):
        make_sampler("auto:fast=true", 0, parallel=False, space=SearchSpace.load(NUMBERS))
    with pytest.raises(PluginError, match="slow is true or false"):
        make_sampler("auto:slow=perhaps", 0, parallel=False, space=SearchSpace.load(NUMBERS))


def test_a_study_says_who_was_chosen_and_why():
    X, y = load_iris(return_X_y=True)

    def described(estimator, space, **settings):
        study = Study(
            name="s",
            estimator=estimator,
            data=StudyData(X=X.astype("float32"), y=y),
            search_space=space,
            storage=None,
            tracker="null",
            sampler="auto",
            **settings,
        )
        search = PreparedStudy(study).search
        return search.info(search.open("s", None), Path(), {}).params["sampler"]

    rate = {"lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}}
    net = NeuralNetClassifier(nn.Linear, module__in_features=4, module__out_features=3, lr=0.1)
    assert described(net, rate) == "auto (gp: slow trials on a space of numbers)"
    assert described(net, rate, costs=["seconds"]) == "auto (tpe: several objectives)"
    assert described(net, rate, n_jobs=2) == "auto (tpe: several trials at a time)"
    space = {"C": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}}
    assert described(LogisticRegression(), space) == "auto (tpe: quick trials)"


def study_of(n, space):
    sampler = make_sampler("auto", 3, parallel=False, space=space)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for i in range(n):
        params = {"x": (i * 0.37) % 1.0, "rate": 10 ** (-4 * ((i * 0.61) % 1.0))}
        trial = create_trial(
            params=params, distributions=dict(space.distributions), values=[-params["x"]]
        )
        study.add_trial(trial)
    return study


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (LEAST_COMPLETE - 1, "tpe"),
        (LEAST_COMPLETE, "gp"),
        (MOST_TRIALS, "gp"),
        (MOST_TRIALS + 1, "tpe"),
    ],
)
def test_who_proposes_depends_on_the_trials(n, expected):
    study = study_of(n, SearchSpace.load(NUMBERS))
    asked = []
    for name in ("gp", "tpe"):
        sampler = getattr(study.sampler, name)
        sampler.sample_relative = lambda *_, name=name: asked.append(name) or {}
    study.ask(dict(SearchSpace.load(NUMBERS).distributions))
    assert asked == [expected]


def test_a_study_that_goes_on_is_proposed_the_same():
    space = SearchSpace.load(NUMBERS)

    def search(study, n):
        for _ in range(n):
            trial = study.ask(dict(space.distributions))
            study.tell(trial, -abs(trial.params["x"] - 0.3))
        return [trial.params for trial in study.trials]

    whole = search(study_of(8, space), 6)
    first = study_of(8, space)
    search(first, 3)
    again = make_sampler("auto", 3, parallel=False, space=space)
    resumed = optuna.create_study(direction="maximize", sampler=again)
    resumed.add_trials(first.trials)
    assert search(resumed, 3) == whole
    assert min(abs(params["x"] - 0.3) for params in whole) < 0.1
