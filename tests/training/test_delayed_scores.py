"""Rows of a score that is 0 until the training is over."""

import numpy as np
import pytest
from skorch import NeuralNetClassifier
from torch import nn

from hpo.callbacks import EndOfTraining, OnceTrained
from hpo.training.objective import Objective
from hpo.trial import Trial


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "neg_log_loss"])
def test_the_rows_are_known_at_every_step(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 5)).astype("float32")
    y = (X[:, 0] > 0.3).astype("int64")
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=5,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        callbacks=[("end", EndOfTraining())],
        max_epochs=3,
        train_split=None,
        verbose=0,
    )
    objective = Objective(net, X, y, cv=3, scoring={name: OnceTrained(name)})
    objective.keeps_rows = True
    reports = list(objective.run(Trial(0, {}, 0)))
    assert [report.value for report in reports[:2]] == [0.0, 0.0]
    assert reports[2].value != 0.0
    for report in reports:
        start = 0
        for (_, valid), score in zip(objective.splits, report.fold_values, strict=True):
            rows = report.rows.scores[0][start : start + len(valid)]
            assert rows.mean() == pytest.approx(score)
            start += len(valid)
