"""A training that is put aside and gone on with is the training that ran through."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn, optim

from hpo.training.objective import Objective
from hpo.trial import Trial

TRIAL = Trial(3, {}, seed=5)
N_EPOCHS = 6


class Net(nn.Sequential):
    def __init__(self, n_features=5, dropout=0.3):
        first = nn.Linear(n_features, 8)
        super().__init__(first, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def net(**kwargs):
    defaults = dict(
        module=Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.SGD,
        optimizer__momentum=0.9,
        lr=0.05,
        batch_size=16,
        iterator_train__shuffle=True,
        verbose=0,
        train_split=ValidSplit(0.25, stratified=True),
        callbacks=[
            ("schedule", LRScheduler("StepLR", step_size=2, gamma=0.5)),
            ("clip", GradientNormClipping(0.5)),
            ("stop", EarlyStopping(monitor="train_loss", patience=3)),
        ],
    )
    return NeuralNetClassifier(**{**defaults, **kwargs})


def data(n=90, n_features=5):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_features)).astype("float32")
    return X, (X[:, 0] + X[:, 1] > 0).astype("int64") + (X[:, 2] > 1)


def timeless(reports):
    return [replace(r, seconds=0.0, fit_seconds=(), score_seconds=()) for r in reports]


def index_fit_params(objective, at):
    """Return the reports up to ``at``, and the state there."""
    run = objective.run(TRIAL)
    reports = [next(run) for _ in range(at)]
    state = run.state()
    run.close()
    return reports, state


def sgd():
    return SGDClassifier(random_state=None)


@pytest.mark.parametrize(
    "estimator",
    [
        net(),
        net(train_split=None),
        make_pipeline(StandardScaler(), net()),
        sgd(),
        # The greatest loss is that of the first epochs, whose weights the training ends with.
        net(callbacks=[("stop", EarlyStopping(patience=9, lower_is_better=False, load_best=True))]),
    ],
    ids=["net", "net without a validation part", "pipeline", "partial_fit", "best weights"],
)
@pytest.mark.parametrize("at", [0, 1, 4])
def test_going_on_changes_nothing(estimator, at):
    objective = Objective(estimator, *data(), cv=3, scoring="accuracy", epochs=N_EPOCHS)
    whole = timeless(objective.run(TRIAL))
    before, state = index_fit_params(objective, at)
    assert timeless([*before, *objective.resume(TRIAL, state)]) == whole


def test_the_data_are_not_in_the_state():
    sizes = []
    for n in (200, 2000):
        X, y = data(n, n_features=100)
        wide = net(batch_size=n, module__n_features=100)
        objective = Objective(wide, X, y, cv=3, scoring="accuracy", epochs=N_EPOCHS)
        sizes.append(len(index_fit_params(objective, 2)[1]))
    # What grows are row numbers and predictions of the net's own validation part.
    assert sizes[1] - sizes[0] < 0.1 * (2000 - 200) * 100 * 4


def test_another_trial_goes_on_with_the_weights_and_parameters_of_its_own():
    plain = net(callbacks=None)
    objective = Objective(plain, *data(), cv=3, scoring="accuracy", epochs=N_EPOCHS)
    _, state = index_fit_params(objective, 3)
    other = Trial(8, {}, seed=6)
    same = timeless(objective.resume(other, state))
    assert [(r.number, r.step) for r in same] == [(8, 4), (8, 5), (8, 6)]
    slow = timeless(objective.resume(other, state, changes={"lr": 1e-9}))
    losses = np.array([r.metrics["valid_loss"] for r in slow])
    assert np.ptp(losses, axis=0).max() < np.ptp([r.metrics["valid_loss"] for r in same])
    changed = objective.resume(other, state, changes={"optimizer__momentum": 0.0, "batch_size": 8})
    next(changed)
    fold = changed._folds[0].stepper.estimator
    assert fold.optimizer_.param_groups[0]["momentum"] == 0.0
    assert fold.history[-1]["train_batch_count"] > fold.history[0]["train_batch_count"]


@pytest.mark.parametrize("name", ["module__dropout", "optimizer", "criterion", "max_epochs"])
def test_what_needs_a_new_model_is_refused(name):
    objective = Objective(net(), *data(), cv=3, epochs=N_EPOCHS)
    _, state = index_fit_params(objective, 1)
    with pytest.raises(ValueError, match=f"{name} cannot change while the model trains"):
        objective.resume(TRIAL, state, changes={name: 0.5})


@pytest.mark.parametrize("at", [1, 3, 4])
def test_going_on_in_the_middle_of_an_epoch_changes_nothing(at):
    # 60 training rows, 45 of them without the net's own validation part: 3 batches an epoch
    objective = Objective(net(), *data(), cv=3, scoring="accuracy", epochs=6, eval_every=2)
    whole = timeless(objective.run(TRIAL))
    assert [r.step for r in whole] == [1, 2, 3, 4, 5, 6]
    before, state = index_fit_params(objective, at)
    assert timeless([*before, *objective.resume(TRIAL, state)]) == whole
