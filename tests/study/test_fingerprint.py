"""Whether it is the same study: by contents, in every process, and in words where it is not."""

import functools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.model_selection import GroupKFold
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, run_study
from hpo.exceptions import StudyError
from hpo.space import SearchSpace
from hpo.storage.open import open_storage
from hpo.storage.trial_store import TrialStore
from hpo.study.prepared import PreparedStudy

CODE = """
import json, sys
from pathlib import Path
from hpo.cli._study_file import load_study_file
from hpo.study.prepared import PreparedStudy

path = Path(sys.argv[1])
print(json.dumps(PreparedStudy(load_study_file(path).study, path.parent).search.fingerprint))
"""
X, y = load_iris(return_X_y=True)
X = X.astype("float32")


@pytest.mark.parametrize("study", ["digits_mlp"])
def test_it_is_the_same_in_every_process(study):
    """skorch keeps sets among a net's parameters, and sets have another order in each process."""
    path = Path(__file__).parents[2] / "studies" / f"{study}.py"
    marks = {
        subprocess.run(
            [sys.executable, "-c", CODE, str(path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(marks) == 1


# -- what is the same study and what is not ------------------------------------------------------


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, X):
        return self.layers(X)


class Holding(Callback):
    def __init__(self, items):
        self.items = items


def net(module=Net, **params):
    known = {"criterion": nn.CrossEntropyLoss, "max_epochs": 1, "train_split": None, "verbose": 0}
    return NeuralNetClassifier(module, **{**known, **params})


def holding():
    """Return a net with something that cannot be compared."""
    return net(callbacks=[("own", Holding(iter([1])))])


def sgd(momentum):
    return functools.partial(torch.optim.SGD, momentum=momentum)


def times(factor):
    return lambda output: factor * output


def weighted(weight):
    return StudyData(X=X, y=y, sample_weight=weight)


def grouped(n):
    return StudyData(X=X, y=y, groups=np.arange(len(y)) % n)


def changed(array):
    array = array.copy()
    array[7] += 1
    return array


@pytest.fixture
def study(tmp_path):
    return Study(
        name="iris",
        estimator=SGDClassifier(random_state=0),
        data=StudyData(X=X, y=y),
        search_space={"alpha": {"type": "float", "low": 1e-4, "high": 1.0, "log": True}},
        scoring="accuracy",
        cv=3,
        n_trials=2,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
        refit=False,
    )


SAME = {
    "data in another layout": (
        {"data": StudyData(X=X, y=y)},
        {"data": StudyData(X=np.asfortranarray(X), y=np.repeat(y, 2)[::2])},
    ),
    "data as tensors": (
        {"data": StudyData(X=X, y=y)},
        {"data": StudyData(X=torch.from_numpy(X), y=torch.from_numpy(y))},
    ),
    "data from a function": ({"data": StudyData(X=X, y=y)}, {"data": lambda: weighted(None)}),
    "the held-out part": (
        {"data": StudyData(X=X, y=y)},
        {"data": StudyData(X=X, y=y, X_test=X, y_test=y)},
    ),
    "how it is searched": (
        {},
        {"sampler": "random", "pruner": "nop", "n_trials": 3, "n_jobs": 1, "executor": "process"},
    ),
    "how much it tells": ({}, {"estimator": SGDClassifier(random_state=0, verbose=0, n_jobs=1)}),
    "a number of numpy's": ({}, {"estimator": SGDClassifier(random_state=np.int64(0))}),
    "the order of parameters": (
        {"estimator": net(), "search_space": {"lr": [0.1, 0.2], "module__width": [4, 8]}},
        {"estimator": net(), "search_space": {"module__width": [4, 8], "lr": [0.1, 0.2]}},
    ),
    "equal objects": (
        {"estimator": net(), "search_space": {"optimizer": [sgd(0.0), sgd(0.9)]}},
        {"estimator": net(), "search_space": {"optimizer": [sgd(0.0), sgd(0.9)]}},
    ),
}
OTHER = {
    "data: X: another 150 x 4 float32 array": ({}, {"data": StudyData(X=changed(X), y=y)}),
    "data: X: 150 x 4 float32 array -> 150 x 4 float64 array": (
        {},
        {"data": StudyData(X=X.astype("float64"), y=y)},
    ),
    "data: y: another 150 int64 array": ({}, {"data": StudyData(X=X, y=y[::-1].copy())}),
    "fit parameters: none -> sample_weight": ({}, {"data": weighted(np.ones(150))}),
    "fit parameters: sample_weight: another 150 float64 array": (
        {"data": weighted(np.ones(150))},
        {"data": weighted(changed(np.ones(150)))},
    ),
    "folds: another division into 3 folds": (
        {"data": grouped(5), "cv": GroupKFold(3)},
        {"data": grouped(6), "cv": GroupKFold(3)},
    ),
    "folds: division into 3 folds -> division into 4 folds": ({}, {"cv": 4}),
    "estimator: SGDClassifier -> LogisticRegression": (
        {"search_space": {"fit_intercept": [True, False]}},
        {"search_space": {"fit_intercept": [True, False]}, "estimator": LogisticRegression()},
    ),
    "estimator: penalty: 'l2' -> 'l1'": (
        {},
        {"estimator": SGDClassifier(random_state=0, penalty="l1")},
    ),
    "estimator: optimizer: functools.partial(SGD, momentum=0.0) -> "
    "functools.partial(SGD, momentum=0.9)": (
        {"estimator": net(optimizer=sgd(0.0)), "search_space": {"lr": [0.1, 0.2]}},
        {"estimator": net(optimizer=sgd(0.9)), "search_space": {"lr": [0.1, 0.2]}},
    ),
    "estimator: criterion__weight: float32 array [1.0, 1.0, 1.0] -> "
    "float32 array [1.0, 1.0, 2.0]": (
        {"estimator": net(criterion__weight=torch.ones(3)), "search_space": {"lr": [0.1, 0.2]}},
        {
            "estimator": net(criterion__weight=torch.tensor([1.0, 1.0, 2.0])),
            "search_space": {"lr": [0.1, 0.2]},
        },
    ),
    "scoring: _kwargs: {'average': 'macro', 'beta': 1} -> {'average': 'macro', 'beta': 2}": (
        {"scoring": make_scorer(fbeta_score, average="macro", beta=1)},
        {"scoring": make_scorer(fbeta_score, average="macro", beta=2)},
    ),
    "metric: 'accuracy' -> 'f1_macro'": (
        {"scoring": ["accuracy", "f1_macro"]},
        {"scoring": ["accuracy", "f1_macro"], "metric": "f1_macro"},
    ),
    "epochs: None -> 2": ({}, {"epochs": 2}),
    "seed: 0 -> 1": ({}, {"seed": 1}),
    "search space: alpha: low 0.0001 -> 0.001": (
        {},
        {"search_space": {"alpha": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}}},
    ),
    "search space: penalty: new": (
        {"search_space": {"alpha": [0.1, 0.2]}},
        {"search_space": {"alpha": [0.1, 0.2], "penalty": ["l1", "l2"]}},
    ),
    "search space: penalty: no longer searched": (
        {"search_space": {"alpha": [0.1, 0.2], "penalty": ["l1", "l2"]}},
        {"search_space": {"alpha": [0.1, 0.2]}},
    ),
    "search space: alpha: the choice 0.3 is new": (
        {"search_space": {"alpha": [0.1, 0.2]}},
        {"search_space": {"alpha": [0.1, 0.2, 0.3]}},
    ),
    "search space: alpha: its choices in another order": (
        {"search_space": {"alpha": [0.1, 0.2]}},
        {"search_space": {"alpha": [0.2, 0.1]}},
    ),
    f"search space: predict_nonlinearity: another {__name__}.times.<locals>.<lambda>": (
        {"estimator": net(), "search_space": {"predict_nonlinearity": ["auto", times(1)]}},
        {"estimator": net(), "search_space": {"predict_nonlinearity": ["auto", times(2)]}},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_study_goes_on(study, name):
    first, second = (PreparedStudy(study.replace(**changes)) for changes in SAME[name])
    assert first.store().name == second.store().name == "iris"


@pytest.mark.parametrize("told", OTHER)
def test_another_one_is_refused_with_what_differs(study, told):
    first, second = (PreparedStudy(study.replace(**changes)) for changes in OTHER[told])
    first.store()
    with pytest.raises(StudyError) as caught:
        second.store()
    assert told in [line.strip() for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_a_name_of_its_own_tells_the_same(study, name):
    first, second = (
        PreparedStudy(study.replace(**changes)).search for changes in {**SAME, **OTHER}[name]
    )
    assert (first.default_name() == second.default_name()) is (name in SAME)


def test_a_refused_study_loses_nothing(study):
    run_study(study)
    with pytest.raises(StudyError, match="epochs: None -> 2"):
        run_study(study.replace(epochs=2))
    result = run_study(study.replace(data=StudyData(X=np.asfortranarray(X), y=y), n_trials=3))
    assert (result.name, result.n_trials) == ("iris", 3)


def test_the_whole_message(study):
    run_study(study)
    other = study.replace(seed=1, estimator=SGDClassifier(random_state=0, alpha=0.5))
    with pytest.raises(StudyError) as caught:
        run_study(other)
    assert str(caught.value) == (
        f"The study 'iris' in {study.storage} was made with something else, so its trials cannot "
        "be compared with new ones:\n"
        "  estimator: alpha: 0.0001 -> 0.5\n"
        "  folds: another division into 3 folds\n"
        "  seed: 0 -> 1\n"
        "Start anew under the same name with --fresh (run_study(study, fresh=True)), which keeps "
        "the old trials, or give this study another name."
    )


def test_costs_are_part_of_it(study):
    costs = study.replace(costs=("seconds",))
    run_study(costs)
    scoring = ["accuracy", "f1_macro"]
    with pytest.raises(StudyError, match=r"costs: \['seconds'\] -> \['f1_macro'\]"):
        run_study(costs.replace(costs=("f1_macro",), scoring=scoring))


# -- code ----------------------------------------------------------------------------------------

OWN = """
from sklearn.linear_model import SGDClassifier
FACTOR = 1
class Own(SGDClassifier):
    def fit(self, X, y):
        return super().fit(FACTOR * X, y)
"""


def own(*change):
    namespace = {"__name__": "own"}
    exec(OWN.replace(*change) if change else OWN, namespace)
    return namespace["Own"](random_state=0)


def test_changed_code_is_refused_unless_it_is_accepted(study):
    run_study(study.replace(estimator=own()))
    other = study.replace(estimator=own("fit(FACTOR", "fit(-FACTOR"), n_trials=3)
    with pytest.raises(StudyError) as caught:
        run_study(other)
    assert str(caught.value).splitlines()[1:3] == [
        "  code: Own.fit changed",
        "Go on with --accept-code (run_study(study, accept_code=True)), if what has changed bears "
        "on no score.",
    ]
    result = run_study(other, accept_code=True)
    assert (result.name, result.n_trials) == ("iris", 3)
    assert run_study(other.replace(n_trials=4)).n_trials == 4  # and from then on
    with pytest.raises(StudyError, match=r"code: FACTOR, Own\.fit changed"):
        run_study(study.replace(estimator=own("FACTOR = 1", "FACTOR = 2"), n_trials=5))


def test_code_is_not_accepted_with_anything_else(study):
    run_study(study.replace(estimator=own()))
    other = study.replace(estimator=own("FACTOR = 1", "FACTOR = 2"), seed=1)
    with pytest.raises(StudyError, match=r"seed: 0 -> 1\nStart anew"):
        run_study(other, accept_code=True)


def test_what_says_nothing_does_not_count(study):
    run_study(study.replace(estimator=own()))
    same = own("        return", "        # scaled\n        return")
    assert run_study(study.replace(estimator=same, n_trials=3)).n_trials == 3


def test_code_of_another_python_is_told_as_such(study, monkeypatch):
    run_study(study.replace(estimator=own()))
    store = TrialStore("iris", SearchSpace.load({}), study.storage)
    kept = store.get_attr("fingerprint")
    store.set_attr(
        "fingerprint", {**kept, "python": "3.10", "code": dict.fromkeys(kept["code"], "x")}
    )
    with pytest.raises(StudyError, match=r"that of Python 3\.10 does not compare with 3"):
        run_study(study.replace(estimator=own(), n_trials=3))


# -- older and foreign studies -------------------------------------------------------------------


def test_a_study_of_the_first_version_is_recognised(study):
    run_study(study)
    store = TrialStore("iris", SearchSpace.load({}), study.storage)
    store.set_attr("fingerprint", {"estimator": "0a1b", "data": "2c3d", "search space": "4e5f"})
    with pytest.raises(StudyError, match=r"made by hpo 0\.1\.0.*\nGo on with --accept-code"):
        run_study(study.replace(n_trials=3))
    assert run_study(study.replace(n_trials=3), accept_code=True).n_trials == 3
    assert run_study(study.replace(n_trials=4)).n_trials == 4


def test_one_of_the_first_version_with_another_space_is_not_accepted(study):
    run_study(study)
    TrialStore("iris", SearchSpace.load({}), study.storage).set_attr(
        "fingerprint", {"estimator": "0a1b"}
    )
    other = study.replace(search_space={"alpha": [0.1, 0.2]})
    with pytest.raises(StudyError, match="search space: another one"):
        run_study(other, accept_code=True)


def test_a_study_of_a_newer_version_is_refused(study):
    run_study(study)
    TrialStore("iris", SearchSpace.load({}), study.storage).set_attr("fingerprint", {"format": 99})
    with pytest.raises(StudyError, match="newer hpo"):
        run_study(study, accept_code=True)


def test_a_study_of_another_program_is_refused(study):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = optuna.create_study(
            storage=open_storage(study.storage), study_name="iris", direction="maximize"
        )
        theirs.optimize(lambda trial: trial.suggest_float("alpha", 1e-4, 1.0, log=True), n_trials=1)
    with pytest.raises(StudyError, match="has 1 trials and nothing that tells"):
        run_study(study)


# -- what cannot be compared ---------------------------------------------------------------------


def unknown(study):
    return study.replace(estimator=holding(), search_space={"lr": [0.1, 0.2, 0.3]})


def test_what_cannot_be_compared_is_told_at_once_and_refused_later(study):
    with pytest.warns(UserWarning, match="will not be recognised.* a list_iterator, which cannot"):
        run_study(unknown(study))
    with pytest.raises(
        StudyError, match=r"estimator: callbacks: own: items: a list_iterator.*\nGo on with --acc"
    ):
        run_study(unknown(study).replace(n_trials=3))
    assert run_study(unknown(study).replace(n_trials=3), accept_code=True).n_trials == 3


def test_weights_of_a_module_that_is_an_instance(study):
    space = {"lr": [0.1, 0.2]}
    run_study(study.replace(estimator=net(Net()), search_space=space))
    with pytest.raises(StudyError, match=r"weights\n.*call torch.manual_seed before it is made"):
        run_study(study.replace(estimator=net(Net()), search_space=space))


def test_a_password_is_not_told(study, monkeypatch):
    run_study(study)
    monkeypatch.setattr("hpo.study.opening.shown", lambda url: "postgresql://me:***@host/db")
    with pytest.raises(StudyError, match=r"'iris' in postgresql://me:\*\*\*@host/db was"):
        run_study(study.replace(seed=1))


def test_what_is_kept_has_a_place_in_every_database(study):
    """MySQL's ``TEXT`` holds 65,535 bytes."""
    layers = [nn.Linear(4, 4) for _ in range(300)]
    estimator = net(nn.Sequential(*layers, nn.Linear(4, 3)))
    run_study(study.replace(estimator=estimator, search_space={"lr": [0.1, 0.2]}, n_trials=1))
    kept = TrialStore("iris", SearchSpace.load({}), study.storage).get_attr("fingerprint")
    assert len(json.dumps(kept)) < 65_535


@pytest.mark.parametrize(("n_functions", "told"), [(40, "f7"), (900, "Big"), (9, "f7")])
def test_code_has_its_place_too(study, n_functions, told):
    def big(factor):
        methods = "".join(
            f"    def f{i}_{'x' * 40}(self):\n        return {i}\n" for i in range(n_functions)
        )
        namespace = {"__name__": "own", "SGDClassifier": SGDClassifier}
        exec(
            f"class Big(SGDClassifier):\n{methods}".replace("return 7", f"return {factor}"),
            namespace,
        )
        return namespace["Big"](random_state=0)

    first, second = (PreparedStudy(study.replace(estimator=big(factor))) for factor in (1, 2))
    store = first.store()
    assert len(json.dumps(store.get_attr("fingerprint"))) < 65_535
    with pytest.raises(StudyError, match=f"code: (Big.)?{told}.* changed"):
        second.store()


# -- the refit -----------------------------------------------------------------------------------


def test_a_refit_is_used_again_for_the_same_test_part_alone(study):
    def held_out(rows):
        return StudyData(X=X, y=y, X_test=X[rows], y_test=y[rows])

    first = run_study(study.replace(refit=True, data=held_out(slice(0, 60))), reuse_refit=True)
    again = run_study(study.replace(refit=True, data=held_out(slice(0, 60))), reuse_refit=True)
    other = run_study(study.replace(refit=True, data=held_out(slice(60, 150))), reuse_refit=True)
    assert again.estimator is None
    assert again.test_score == first.test_score
    assert other.estimator is not None
    assert other.test_score == other.estimator.score(X[60:], y[60:])


# -- HPOSearchCV ---------------------------------------------------------------------------------


def search(storage, scoring="accuracy", **changes):
    space = {"alpha": [0.01, 0.1]}
    known = {"n_trials": 2, "cv": 3, "sampler": "grid", "storage": storage, "random_state": 0}
    estimator = changes.pop("estimator", SGDClassifier(random_state=0))
    return HPOSearchCV(estimator, space, scoring=scoring, **{**known, **changes})


def test_another_search_has_another_name_and_its_own_result(study):
    beta = {b: make_scorer(fbeta_score, average="macro", beta=b) for b in (0.3, 3)}
    alone = {b: search(None, beta[b]).fit(X, y).best_score_ for b in beta}
    kept = {b: search(study.storage, beta[b]).fit(X, y) for b in beta}
    assert {b: kept[b].best_score_ for b in beta} == alone
    assert kept[0.3].result_.name != kept[3].result_.name
    again = search(study.storage, beta[3]).fit(np.asfortranarray(X), y)
    assert again.result_.name == kept[3].result_.name
    assert again.result_.seconds == pytest.approx(kept[3].result_.seconds, abs=0.5)


def test_what_cannot_be_compared_is_never_taken_for_the_same(study):
    names = set()
    for _ in range(2):
        known = {"n_trials": 1, "cv": 2, "storage": study.storage, "refit": False}
        found = HPOSearchCV(holding(), {"lr": [0.1]}, **known)
        with pytest.warns(UserWarning, match="will not be recognised"):
            found.fit(X, y)
        names.add(found.result_.name)
    assert len(names) == 2


def test_a_search_with_a_name_is_refused_if_it_is_another_one(study):
    search(study.storage, study_name="mine").fit(X, y)
    with pytest.raises(StudyError, match=r"scoring: 'accuracy' -> 'f1_macro'\nGive this search an"):
        search(study.storage, "f1_macro", study_name="mine").fit(X, y)


def test_a_search_accepts_changed_code(study):
    search(study.storage, study_name="mine", estimator=own()).fit(X, y)
    other = own("FACTOR = 1", "FACTOR = 2")
    with pytest.raises(StudyError, match=r"Go on with HPOSearchCV\(..., accept_code=True\), if"):
        search(study.storage, study_name="mine", estimator=other).fit(X, y)
    search(study.storage, study_name="mine", estimator=other, accept_code=True).fit(X, y)


@pytest.mark.parametrize("flag", ["extend", "accept_code"])
def test_without_a_name_there_is_nothing_to_accept(study, flag):
    with pytest.raises(StudyError, match="give a storage and a study_name"):
        search(study.storage, **{flag: True}).fit(X, y)


def test_fit_and_score_parameters_are_part_of_it(study):
    weights = [np.ones(len(y)), np.linspace(0.1, 2, len(y))]
    names = {search(study.storage).fit(X, y, sample_weight=w).result_.name for w in weights}
    assert len(names) == 2


def test_training_scores_are_part_of_it(study):
    search(study.storage).fit(X, y)
    found = search(study.storage, return_train_score=True).fit(X, y)
    assert np.isfinite(found.cv_results_["mean_train_score"]).all()
