"""Targets of any unit."""

import numpy as np
import pandas as pd
import pytest
import torch

from hpo import run_study
from hpo.cli._study_file import load_study_file
from hpo.modules import MLP
from hpo.nets import RegularizedRegressor, ScaledTargetMixin


class Net(ScaledTargetMixin, RegularizedRegressor):
    pass


def fitted(y, **options):
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    net = Net(
        MLP,
        module__n_features=3,
        module__n_classes=y(X).shape[1],
        optimizer=torch.optim.Adam,
        lr=0.02,
        max_epochs=15,
        batch_size=50,
        train_split=None,
        verbose=0,
        **options,
    )
    torch.manual_seed(0)
    return net.fit(X, y(X)), X


def test_the_unit_of_the_target_changes_the_predictions_alone():
    dollars, X = fitted(lambda X: X[:, :1])
    cents, _ = fitted(lambda X: 100_000 * X[:, :1] + 3_000_000)
    assert dollars.score(X, X[:, :1]) > 0.95
    np.testing.assert_allclose(
        cents.predict(X), 100_000 * dollars.predict(X) + 3_000_000, rtol=1e-3
    )
    losses = [net.history[-1, "train_loss"] for net in (dollars, cents)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_each_column_has_its_own_and_a_constant_one_is_kept():
    net, X = fitted(lambda X: np.stack([1000 * X[:, 0], np.full(len(X), 7)], 1))
    np.testing.assert_allclose(net.target_std_, [1000, 1], rtol=0.1)
    assert np.isfinite(net.predict(X)).all()
    assert abs(net.predict(X)[:, 1] - 7).max() < 1.5


def test_without_a_target_it_says_what_it_needs():
    net = Net(MLP, module__n_features=3, module__n_classes=1, train_split=None, verbose=0)
    with pytest.raises(ValueError, match="needs y as an array"):
        net.fit(torch.utils.data.TensorDataset(torch.zeros(4, 3), torch.zeros(4, 1)), y=None)


def test_a_table_with_numbers_to_predict_is_a_study(tmp_path, repository):
    file = repository / "studies" / "own_table.py"
    frame = pd.DataFrame({"x": np.arange(120.0), "c": ["a", "b", "c"] * 40})
    frame["price"] = 1e6 + 5000 * frame["x"] + 1e5 * (frame["c"] == "a")
    frame.to_csv(tmp_path / "houses.csv", index=False)
    options = {"table": tmp_path / "houses.csv", "target": "price"}
    study = load_study_file(file, options).study
    small = study.replace(n_trials=2, cv=2, pruner="nop", storage=None, tracker="null")
    result = run_study(small, folder=file.parent)
    assert result.n_complete == 2
    assert result.test_score > 0
    predicted = result.estimator.predict(study.data.X_test)
    assert predicted.mean() == pytest.approx(study.data.y_test.mean(), rel=0.2)
