import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from hpo.callbacks import EndOfTraining, OnceTrained
from hpo.modules import MLP
from hpo.training.objective import Objective
from hpo.trial import Trial


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    return X, (X[:, 0] + rng.normal(size=90) > 0).astype(np.int64)


def classifier(max_epochs=30, callbacks=(), **params):
    return NeuralNetClassifier(
        MLP,
        module__n_features=4,
        module__n_classes=2,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=max_epochs,
        callbacks=[*callbacks, ("end", EndOfTraining())],
        verbose=0,
        **params,
    )


def reports(net, data):
    objective = Objective(net, *data, cv=StratifiedKFold(2), scoring=OnceTrained())
    return list(objective.run(Trial(0, {}, 1)))


def test_a_score_counts_at_the_last_epoch(data):
    values = [report.value for report in reports(classifier(4, train_split=None), data)]
    assert values[:3] == [0, 0, 0]
    assert values[3] > 0.5


def test_a_fold_that_stops_early_counts_from_there(data):
    stopping = ("stop", EarlyStopping(patience=2, sink=None))
    made = reports(classifier(callbacks=[stopping], train_split=ValidSplit(3)), data)
    assert len(made) < 30
    stopped = [next(i for i, r in enumerate(made) if r.fold_values[fold]) for fold in (0, 1)]
    assert max(stopped) == len(made) - 1
    assert min(made[-1].fold_values) > 0


def test_a_fitted_net_or_pipeline_is_scored(data):
    X, y = data
    torch.manual_seed(0)
    net = make_pipeline(StandardScaler(), classifier(2, train_split=None)).fit(X, y)
    score = OnceTrained("balanced_accuracy")(net, X, y)
    assert score == balanced_accuracy_score(y, net.predict(X)) > 0


def test_it_needs_the_callback(data):
    net = classifier(1, train_split=None).set_params(callbacks=None).fit(*data)
    with pytest.raises(ValueError, match=r"^OnceTrained needs a net with the callback"):
        OnceTrained()(net, *data)
