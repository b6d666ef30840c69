"""HPOSearchCV over nets of skorch."""

import os
import pickle
import signal

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.helper import SliceDict
from torch import nn

from hpo import HPOSearchCV
from hpo.exceptions import NoCompletedTrialError
from hpo.testing.backends import timeless

pytestmark = pytest.mark.slow

IRIS = load_iris(return_X_y=True)


def grid(estimator, space, **settings):
    return HPOSearchCV(
        estimator, space, **{"sampler": "grid", "pruner": "nop", "n_trials": None, **settings}
    )


def net(**settings):
    return NeuralNetClassifier(
        nn.Linear,
        **{
            "module__in_features": 4,
            "module__out_features": 3,
            "criterion": nn.CrossEntropyLoss,
            "max_epochs": 5,
            "lr": 0.1,
            "batch_size": 32,
            "iterator_train__shuffle": True,
            "train_split": None,
            "verbose": 0,
            **settings,
        },
    )


def iris_for_torch():
    return IRIS[0].astype("float32"), IRIS[1].astype("int64")


NET_SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
    "optimizer": ["torch.optim.SGD", "torch.optim.Adam"],
    "optimizer__momentum": {
        "type": "float",
        "low": 0.0,
        "high": 0.9,
        "when": {"optimizer": "torch.optim.SGD"},
    },
}


def test_a_net_is_searched_refitted_cloned_and_pickled():
    X, y = iris_for_torch()
    estimator = net(max_epochs=10, batch_size=16)
    search = HPOSearchCV(estimator, NET_SPACE, n_trials=12, random_state=0, cv=3).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_params_["optimizer"] in (torch.optim.SGD, torch.optim.Adam)
    assert search.result_.n_pruned > 0
    assert search.best_estimator_.max_epochs == search.n_steps_ == search.result_.best_step
    assert len(search.best_estimator_.history) == search.n_steps_
    assert search.score(X, y) > 0.8
    table = search.cv_results_
    assert table["rank_test_score"][search.best_index_] == 1
    assert table["param_optimizer__momentum"].mask.any()
    again = clone(search).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    loaded = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert list(map(timeless, loaded.result_.records)) == list(
        map(timeless, search.result_.records)
    )


def test_two_processes_give_the_results_of_one():
    X, y = iris_for_torch()
    space = {"lr": {"type": "float", "low": 0.01, "high": 0.2}, "module__bias": [True, False]}
    settings = {"sampler": "random", "pruner": "nop", "n_trials": 4, "cv": 3, "random_state": 1}
    one = HPOSearchCV(net(max_epochs=2), space, **settings).fit(X, y)
    two = HPOSearchCV(net(max_epochs=2), space, n_jobs=2, **settings).fit(X, y)
    for key, column in one.cv_results_.items():
        if "time" not in key:
            np.testing.assert_array_equal(column, two.cv_results_[key])
    assert one.best_params_ == two.best_params_
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_a_net_takes_a_dict_of_arrays_and_tensors():
    X, y = iris_for_torch()
    settings = {"sampler": "grid", "pruner": "nop", "cv": 3, "random_state": 0}
    for form in ({"input": X}, SliceDict(input=X), torch.as_tensor(X)):
        search = HPOSearchCV(net(), {"lr": [0.1]}, **settings)
        assert search.fit(form, torch.as_tensor(y)).best_score_ > 0.5


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_net_that_diverges_is_never_the_best():
    X, y = iris_for_torch()
    scorings = (
        {"nll": "neg_log_loss"},
        lambda e, X, y: {"nll": get_scorer("neg_log_loss")(e, X, y)},
    )
    for scoring in scorings:
        search = grid(net(), {"lr": [1e38, 0.01]}, scoring=scoring, refit="nll", random_state=0)
        search.fit(X * 1e3, y)
        assert search.best_params_ == {"lr": 0.01}
        assert search.cv_results_["rank_test_nll"].tolist() == [2, 1]
        assert "diverged" in search.result_.records[0].reason


def scored_twice(estimator, X, y):
    return {"nll": get_scorer("neg_log_loss")(estimator, X, y), "acc": estimator.score(X, y)}


def test_scores_that_a_function_names_are_not_mixed_with_losses_of_a_net():
    X, y = iris_for_torch()
    X[0] = np.inf
    rest = np.arange(1, 150, 3)
    train = np.setdiff1d(np.arange(150), rest)
    folds = [(train, rest), (train[1:], rest)]  # the first of them diverges
    search = grid(net(max_epochs=2), {"lr": [0.1]}, scoring=scored_twice, refit=False)
    search.fit(X[1:], y[1:])
    assert [key for key in search.cv_results_ if key.startswith("mean_test")] == [
        "mean_test_nll",
        "mean_test_acc",
    ]
    (record,) = search.result_.records
    assert record.value == search.cv_results_["mean_test_nll"][0]
    with pytest.raises(NoCompletedTrialError, match="diverged"):
        search.set_params(cv=folds).fit(X, y)


def test_a_search_of_a_net_is_nested():
    X, y = iris_for_torch()
    X = StandardScaler().fit_transform(X)
    nested = grid(net(batch_size=8), {"lr": [1e-6, 0.1]}, cv=2, random_state=0)
    scores = cross_val_score(nested, X, y, cv=KFold(2, shuffle=True, random_state=0))
    assert scores.min() > 0.6


class Impatient(Callback):
    """Presses Ctrl-C twice while the net is trained on all rows."""

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        if len(dataset_train) == 150:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_the_second_ctrl_c_ends_the_refit_of_a_net_too():
    # skorch takes the exception for a normal end of the training
    search = grid(net(callbacks=[Impatient()]), {"lr": [0.1]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*iris_for_torch())
