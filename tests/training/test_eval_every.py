"""Reports every few optimizer steps."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier
from torch import nn, optim

from hpo import HPOSearchCV, Study, run_study
from hpo.data import StudyData
from hpo.exceptions import DataError
from hpo.training.objective import Objective
from hpo.training.refit import refit
from hpo.trial import Trial

TRIAL = Trial(0, {}, seed=1)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 2))


def net(**kwargs):
    defaults = dict(
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.SGD,
        lr=0.1,
        batch_size=16,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return NeuralNetClassifier(Net, **{**defaults, **kwargs})


def data(n=96):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype("float32")
    return X, (X[:, 0] > 0).astype("int64")


def losses(reports):
    return np.array([report.metrics["train_loss"] for report in reports])


def test_slices_of_a_whole_epoch_are_epochs():
    # 64 rows to train on in 4 batches
    X, y = data()
    epochs = list(Objective(net(), X, y, cv=3, epochs=3).run(TRIAL))
    slices = list(Objective(net(), X, y, cv=3, epochs=3, eval_every=4).run(TRIAL))
    assert [r.fold_values for r in slices] == [r.fold_values for r in epochs]
    assert (losses(slices) == losses(epochs)).all()


def test_slices_make_the_same_steps_as_epochs():
    X, y = data()
    epochs = list(Objective(net(), X, y, cv=3, epochs=3).run(TRIAL))
    slices = list(Objective(net(), X, y, cv=3, epochs=12, eval_every=1).run(TRIAL))
    assert len(slices) == 12
    assert np.allclose(losses(slices).reshape(3, 4, 3).mean(axis=1), losses(epochs))
    assert slices[-1].fold_values == epochs[-1].fold_values


def test_accumulated_gradients_count_as_one_step():
    class Accumulating(NeuralNetClassifier):
        gradient_accumulation_steps = 2

    X, y = data()
    plain = Objective(net(), X, y, cv=3, epochs=2, eval_every=4)
    accumulating = Objective(
        Accumulating(
            Net, **{k: v for k, v in net().get_params(deep=False).items() if k != "module"}
        ),
        X,
        y,
        cv=3,
        epochs=2,
        eval_every=2,
    )
    assert (losses(plain.run(TRIAL)) == losses(accumulating.run(TRIAL))).all()


def test_the_refit_makes_as_many_slices():
    X, y = data()
    fitted = refit(net(), {}, X, y, n_steps=5, seed=0, eval_every=2)
    assert fitted.history[:, "train_batch_count"] == [2] * 5
    fitted.partial_fit(X, y)  # from here on it is the user's
    assert fitted.history[-1, "train_batch_count"] == 6


def test_a_study_counts_slices_everywhere():
    X, y = data()
    study = Study(
        name="slices",
        estimator=net(),
        data=StudyData(X=X, y=y),
        search_space={"lr": [0.01, 0.1]},
        cv=3,
        epochs=7,
        eval_every=3,
        n_trials=2,
        pruner=None,
        storage=None,
        tracker="null",
    )
    result = run_study(study)
    assert [record.last_step for record in result.records if record.state == "complete"] == [7, 7]
    assert len(result.estimator.history) == result.best_step
    search = HPOSearchCV(
        net(), {"lr": [0.01, 0.1]}, n_trials=2, cv=3, epochs=7, eval_every=3, random_state=0
    ).fit(X, y)
    assert len(search.best_estimator_.history) == search.n_steps_ <= 7
    assert search.best_estimator_.history[-1, "train_batch_count"] == 3


def test_only_nets_have_optimizer_steps():
    with pytest.raises(DataError, match=r"eval_every counts optimizer .* LogisticRegression"):
        Objective(LogisticRegression(), *data(), epochs=2, eval_every=2)


def test_a_training_part_without_a_whole_batch_says_so():
    objective = Objective(
        net(batch_size=200, iterator_train__drop_last=True), *data(), cv=3, epochs=1, eval_every=2
    )
    with torch.no_grad(), pytest.raises(ValueError, match="make batch_size smaller"):
        next(objective.run(TRIAL))
