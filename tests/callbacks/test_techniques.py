"""The callbacks together, on a module that hpo knows nothing of."""

import pickle

import numpy as np
from skorch import NeuralNetClassifier
from torch import nn, optim

from hpo import Study, run_study
from hpo.callbacks import GradientClipping, LRSchedule, WeightAveraging, WeightInit
from hpo.data import StudyData
from hpo.trial import TrialState

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype("int64")
EPOCHS = 4


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first, self.norm = nn.Linear(6, width), nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 2)

    def forward(self, X):
        return self.last(self.norm(self.first(X)).relu())


def study(space, **kwargs):
    net = NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.SGD,
        lr=0.1,
        max_epochs=EPOCHS,
        batch_size=32,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        callbacks=[
            ("init", WeightInit()),
            ("schedule", LRSchedule(epochs=EPOCHS)),
            ("clipping", GradientClipping()),
            ("averaging", WeightAveraging()),
        ],
    )
    data = StudyData(X=X[:100], y=Y[:100], X_test=X[100:], y_test=Y[100:])
    fixed = dict(name="own", estimator=net, data=data, search_space=space, cv=2, scoring="accuracy")
    return Study(**fixed, storage=None, tracker="null", **kwargs)


SPACE = {
    "callbacks__init__scheme": ["default", "orthogonal"],
    "callbacks__schedule__policy": ["cosine", "one_cycle", "plateau"],
    "callbacks__schedule__warmup_epochs": [0, 1],
    "callbacks__clipping__kind": ["none", "norm", "value"],
    "callbacks__averaging__kind": ["none", "swa", "ema"],
}


def test_a_search_turns_them_all_on_a_module_of_ones_own():
    result = run_study(study(SPACE, n_trials=8, sampler="random", pruner="nop"))
    assert result.n_complete == 8
    assert {"lr", "grad_norm", "grad_norm_max"} <= set(result.records[0].reports[0].metrics)
    assert np.isfinite(result.test_score)
    copy = pickle.loads(pickle.dumps(result.estimator))
    assert (copy.predict(X) == result.estimator.predict(X)).all()


def test_a_value_that_is_refused_ends_its_trial_and_not_the_study():
    space = {"callbacks__schedule__gamma": [0.5, 2.0], "callbacks__schedule__policy": ["step"]}
    result = run_study(study(space, n_trials=None, sampler="grid", pruner="nop"))
    kept, refused = result.records
    assert kept.state is TrialState.COMPLETE
    assert refused.state is TrialState.FAILED
    assert "gamma must be from above 0 to below 1. Got 2.0" in refused.error
