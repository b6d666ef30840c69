"""What each analysis finds, on winners whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo.analyses.confusion import Confusion
from hpo.analyses.ensemble import Ensemble
from hpo.analyses.features import Features, penultimate
from hpo.testing.analyses import trained_winner


class Fixed:
    """Predicts what it is told."""

    def __init__(self, predicted, classes=(0, 1, 2)):
        self._predicted = np.asarray(predicted)
        self._classes = np.asarray(classes)

    def predict(self, X):
        return self._predicted

    def predict_proba(self, X):
        return (self._predicted[:, None] == self._classes).astype(float)


@pytest.fixture(scope="module")
def winner():
    return trained_winner()


def test_confusion_counts_and_tells_the_hardest(winner):
    y = np.repeat([0, 1, 2], 20)
    predicted = y.copy()
    predicted[:5] = 2
    predicted[20] = 0
    known = replace(winner, y_test=y, estimator=Fixed(predicted))
    data = Confusion().compute(known)
    assert data["matrix"] == [[15, 0, 5], [1, 19, 0], [0, 0, 20]]
    assert data["accuracy"] == pytest.approx(54 / 60)
    assert data["worst_recall"] == pytest.approx(0.75)
    told = dict(Confusion().summarize(data))
    assert told["hardest classes"] == "left (recall 0.75), right (recall 0.95)"
    assert told["most confused"] == "left taken for top (5 of 20), right taken for left (1 of 20)"
    perfect = Confusion().compute(replace(known, estimator=Fixed(y)))
    assert "no test sample is mistaken" in Confusion().summarize(perfect)[0][1]


def test_confusion_of_a_class_that_the_test_part_lacks(winner):
    y = np.repeat([0, 1], 30)
    data = Confusion().compute(replace(winner, y_test=y, estimator=Fixed(y)))
    assert data["balanced_accuracy"] == 1.0
    Confusion().plot(data)
    Confusion().summarize(data)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)  # made first, runs last
        self.first = nn.Linear(2, 6)
        self.unused = nn.Linear(2, 2)

    def forward(self, X):
        return self.last(torch.relu(self.first(X)))


def test_features_are_what_goes_into_the_last_layer_that_runs():
    net = NeuralNetClassifier(
        TwoHeads, criterion=nn.CrossEntropyLoss, batch_size=7, train_split=None, verbose=0
    ).initialize()
    X = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    with torch.no_grad():
        expected = torch.relu(net.module_.first(torch.as_tensor(X)))
    assert penultimate(net, X) == pytest.approx(expected.numpy())


def test_features_need_a_linear_layer(winner):
    net = NeuralNetClassifier(nn.LayerNorm, module__normalized_shape=3, verbose=0).initialize()
    with pytest.raises(ValueError, match="nothing to look at"):
        penultimate(net, np.zeros((4, 3), dtype="float32"))
    with pytest.raises(ValueError, match="Fixed is no skorch net"):
        Features().compute(replace(winner, estimator=Fixed([0] * 60)))


def test_features_tell_how_far_the_classes_are_apart(winner):
    data = Features(n_samples=40).compute(winner)
    assert len(data["classes"]) == len(data["embeddings"]["t-SNE"]) == 40
    assert 0.6 < data["nearest_neighbour_accuracy"] <= 1
    shuffled = np.random.default_rng(0).permutation(winner.y_test)
    mixed = Features().compute(replace(winner, y_test=shuffled))
    assert mixed["nearest_neighbour_accuracy"] < 0.6
    assert "40 test samples" in Features().summarize(data)[0][1]


def test_an_ensemble_of_members_that_err_on_different_samples_is_better(winner):
    y = np.repeat([0, 1, 2], 20)
    members = []
    for i in range(3):
        predicted = y.copy()
        predicted[i::6] = (y[i::6] + 1) % 3
        members.append(Fixed(predicted))
    refits = iter(members[1:] + members[:1] * 3)
    known = replace(
        winner, y_test=y, estimator=members[0], refitter=lambda record, rows: next(refits)
    )
    data = Ensemble(k=3).compute(known)
    assert data["winner_accuracy"] == pytest.approx(50 / 60)
    assert data["average_members"] == pytest.approx([50 / 60] * 3)
    assert data["average_accuracy"] == 1.0
    assert data["average_gain"] == pytest.approx(10 / 60)
    expected = np.std([1.0] * 10 + [0.0] * 50, ddof=1) / np.sqrt(60)
    assert data["average_gain_se"] == pytest.approx(expected)
    assert data["bagging_gain"] == 0.0
    told = dict(Ensemble().summarize(data))
    assert "better" in told["3 best trials"]
    assert "not told apart" in told["3 bootstrap refits of it"]


def test_bags_are_drawn_with_replacement_and_hold_every_class(winner):
    asked = []
    y = np.array([0, 1] + [2] * 238)

    def refitter(record, rows):
        asked.append((record, rows))
        return winner.estimator

    Ensemble(k=2).compute(replace(winner, y=y, refitter=refitter))
    records = [record.number for record, rows in asked if rows is None]
    bags = [rows for _, rows in asked if rows is not None]
    assert records == [1]
    assert len(bags) == 2
    for rows in bags:
        assert len(rows) == len(y)
        assert len(set(rows)) < len(y)
        assert set(y[rows]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("make", "message"), [(lambda: Ensemble(k=1), "k must"), (lambda: Features(2), "n_samples")]
)
def test_options_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
