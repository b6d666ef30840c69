"""Rows, labels and targets as people have them, given to hpo's own nets."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from skorch.dataset import ValidSplit
from torch import nn

from hpo import HPOSearchCV, nets
from hpo.modules import MLP
from hpo.nets import (
    CausalLMNet,
    ContrastiveClassifier,
    FineTuningClassifier,
    ImageClassifier,
    NextSymbolNet,
    RegularizedClassifier,
    RegularizedRegressor,
    ScaledTargetMixin,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype("float32")
PLACES = np.digitize(X[:, 0] + 0.3 * X[:, 1], [-0.5, 0.5])
TARGET = (X @ np.array([1.0, -2.0, 0.5, 3.0])).astype("float32")


def classifier(cls=RegularizedClassifier, n_classes=3, **settings):
    known = {"max_epochs": 12, "lr": 0.2, "batch_size": 16, "verbose": 0}
    made = {"module__n_features": 4, "module__n_classes": n_classes}
    return cls(MLP, **{**made, **known, **settings})


def regressor(cls=RegularizedRegressor, **settings):
    known = {"max_epochs": 12, "lr": 0.02, "batch_size": 16, "verbose": 0}
    return cls(MLP, **{"module__n_features": 4, "module__n_classes": 1, **known, **settings})


def fitted(net, rows, labels, seed=0):
    torch.manual_seed(seed)
    return net.fit(rows, labels)


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.module_.parameters()])


NAMES = np.array(["cat", "dog", "eel"])
LABELS = {
    "text": NAMES[PLACES],
    "objects": NAMES[PLACES].astype(object),
    "a list": NAMES[PLACES].tolist(),
    "a series": pd.Series(NAMES[PLACES]),
    "from 1": PLACES + 1,
    "any numbers": np.array([-3, 4, 70])[PLACES],
    "floats": PLACES.astype("float64"),
    "int32": PLACES.astype("int32"),
    "a column": PLACES[:, None],
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("cls", [RegularizedClassifier, ImageClassifier, FineTuningClassifier])
def test_labels_of_any_kind_train_as_their_places_do_and_are_predicted(cls, kind):
    labels = LABELS[kind]
    net, plain = fitted(classifier(cls), X, labels), fitted(classifier(cls), X, PLACES)
    assert torch.equal(weights(net), weights(plain))
    right = np.asarray(labels).ravel()
    assert set(net.predict(X).tolist()) <= set(right.tolist())
    assert net.score(X, labels) == plain.score(X, PLACES) > 0.8
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert set(clone(net).get_params()) == set(classifier(cls).get_params())


def test_truth_values_are_predicted_as_such():
    net = fitted(classifier(n_classes=2), X, PLACES > 0)
    assert net.predict(X).dtype == bool
    assert net.score(X, PLACES > 0) > 0.8


def test_places_of_outputs_stay_what_they_are():
    """A head of ten outputs, of which three are used, keeps their numbers, and so do all folds."""
    used = np.array([1, 4, 9])[PLACES]
    net = fitted(classifier(n_classes=10, max_epochs=40), X, used)
    np.testing.assert_array_equal(net.predict_proba(X).argmax(1), net.predict(X))
    assert net.score(X, used) > 0.8


def test_an_untrained_output_is_never_predicted():
    net = classifier(n_classes=7, lr=0.0, max_epochs=1)
    assert set(fitted(net, X, NAMES[PLACES]).predict(X)) <= set(NAMES)


def test_what_the_criterion_ignores_is_no_label():
    labels = np.where(np.arange(90) % 5 == 0, -100, PLACES + 1)
    net = fitted(classifier(), X, labels)
    kept = np.flatnonzero(labels != -100)
    other = fitted(classifier(), X, np.where(labels == -100, -100, PLACES))
    assert torch.equal(weights(net), weights(other))
    assert (net.predict(X)[kept] == labels[kept]).mean() > 0.7


def test_names_given_for_places_change_nothing():
    net = fitted(classifier(classes=["a", "b", "c"]), X, PLACES)
    assert net.score(X, PLACES) > 0.8


def test_later_data_may_not_bring_other_labels():
    net = fitted(classifier(), X, NAMES[PLACES])
    net.partial_fit(X[:40], NAMES[PLACES][:40])
    assert net.score(X, NAMES[PLACES]) > 0.8
    with pytest.raises(ValueError, match="did not see: 'fox'"):
        net.partial_fit(X[:2], np.array(["cat", "fox"]))
    assert fitted(net, X, PLACES + 1).score(X, PLACES + 1) > 0.8  # fit begins anew


def test_labels_beyond_the_classes_given_are_refused():
    with pytest.raises(ValueError, match=r"none of the classes \[1, 2\]: 3"):
        classifier(classes=[1, 2], n_classes=2).fit(X, PLACES + 1)
    with pytest.raises(ValueError, match="'eel' is none of the classes"):
        classifier(classes=["cat", "dog"]).fit(X, NAMES[PLACES])


def test_scores_in_the_course_of_a_training_compare_labels_with_labels():
    scores = [
        ("acc", EpochScoring("accuracy", name="acc", on_train=True, lower_is_better=False)),
    ]
    for labels in (PLACES, NAMES[PLACES], PLACES + 1):
        net = classifier(callbacks=scores, train_split=ValidSplit(3, stratified=True))
        history = fitted(net, X, labels).history
        assert history[-1, "acc"] > 0.8
        assert history[-1, "valid_acc"] > 0.7


def deep(rows):
    return rows.astype("float64")


def test_float64_rows_train_as_float32_ones_do():
    assert torch.equal(
        weights(fitted(classifier(), deep(X), PLACES)), weights(fitted(classifier(), X, PLACES))
    )
    net = fitted(regressor(), deep(X), deep(TARGET[:, None]))
    assert torch.equal(weights(net), weights(fitted(regressor(), X, TARGET[:, None])))
    np.testing.assert_array_equal(net.predict(deep(X)), net.predict(X))


class Double(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, rows):
        return self.layer(rows)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, left, right):
        return self.layer(torch.cat([left, right], 1))


def test_a_module_in_float64_keeps_its_type_and_a_dict_is_cast_too():
    net = RegularizedClassifier(Double, max_epochs=1, verbose=0).fit(deep(X), PLACES)
    assert net.forward(deep(X)).dtype == torch.float64
    parts = {"left": deep(X[:, :1]), "right": X[:, 1:]}
    assert (
        RegularizedClassifier(Named, max_epochs=20, lr=0.2, verbose=0)
        .fit(parts, PLACES)
        .score(parts, PLACES)
        > 0.7
    )


class Scaled(ScaledTargetMixin, RegularizedRegressor):
    pass


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, rows):
        return self.layer(rows).squeeze(1)


@pytest.mark.parametrize("cls", [RegularizedRegressor, Scaled])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_a_flat_target_trains_as_a_column_does_and_is_predicted_flat(cls, kind):
    target = (10 * TARGET).astype(kind)
    settings = {"lr": 0.0005} if cls is RegularizedRegressor else {}
    flat = fitted(regressor(cls, **settings), X, target)
    column = fitted(regressor(cls, **settings), X, target[:, None])
    assert torch.equal(weights(flat), weights(column))
    assert flat.predict(X).shape == (90,)
    assert column.predict(X).shape == (90, 1)
    assert flat.score(X, target) == column.score(X, target[:, None]) > 0.9


def test_a_column_is_learned_by_a_module_that_returns_flat_outputs():
    nets = [RegularizedRegressor(Flat, max_epochs=20, lr=0.05, verbose=0) for _ in range(2)]
    column, flat = fitted(nets[0], X, TARGET[:, None]), fitted(nets[1], X, TARGET)
    assert torch.equal(weights(column), weights(flat))
    assert column.predict(X).shape == (90, 1)
    assert column.score(X, TARGET[:, None]) > 0.9


def test_labels_of_folds_that_lack_one_stand_for_the_same_outputs():
    """Rows sorted by label in unshuffled folds: each fold's training lacks some or all of one."""
    order = np.argsort(PLACES, kind="stable")
    folds = list(KFold(5).split(X))
    scores = []
    for labels in (PLACES[order], PLACES[order] + 1, NAMES[PLACES][order]):
        search = HPOSearchCV(
            classifier(),
            {"lr": [0.2]},
            n_trials=1,
            cv=folds,
            scoring={"acc": "accuracy", "nll": neg_log_loss},
            refit="acc",
            random_state=0,
        ).fit(X[order], labels)
        scores.append([search.cv_results_[f"mean_test_{name}"][0] for name in ("acc", "nll")])
    assert scores[0] == scores[1] == scores[2]


def neg_log_loss(net, rows, labels):
    right = np.searchsorted(np.asarray(net.classes_), labels)
    return np.log(net.predict_proba(rows)[np.arange(len(rows)), right]).mean()


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "roc_auc_ovr"])
def test_a_search_gives_the_score_of_the_places(scoring):
    found = [
        HPOSearchCV(
            classifier(), {"lr": [0.1, 0.2]}, n_trials=2, cv=3, scoring=scoring, random_state=0
        ).fit(deep(X), labels)
        for labels in (PLACES, PLACES + 1, NAMES[PLACES])
    ]
    assert found[0].best_score_ == found[1].best_score_ == found[2].best_score_ > 0.5
    assert set(found[2].predict(X)) <= set(NAMES)
    assert get_scorer(scoring)(found[2], X, NAMES[PLACES]) > 0.5


def test_float64_rows_are_fused_and_labels_that_are_encoded_are_not():
    space = {"lr": {"type": "float", "low": 0.05, "high": 0.2}}
    settings = {"n_trials": 3, "cv": 2, "executor": "fused:n_jobs=1", "pruner": "nop"}
    fused = HPOSearchCV(classifier(), space, random_state=0, **settings)
    assert fused.fit(deep(X), PLACES).result_.notes == ()  # or it would say what was not fused
    assert fused.best_score_ > 0.7
    why = "encoded by the net"
    with pytest.warns(UserWarning, match=why):
        other = HPOSearchCV(classifier(), space, random_state=0, **settings).fit(X, PLACES + 1)
    assert why in " ".join(other.result_.notes)
    assert other.result_.n_complete == 3
    alone = {**settings, "executor": "serial"}
    serial = HPOSearchCV(classifier(), space, random_state=0, **alone).fit(X, PLACES + 1)
    assert serial.best_score_ == other.best_score_


def test_a_flat_target_is_fused():
    space = {"lr": {"type": "float", "low": 0.005, "high": 0.02}}
    settings = {"n_trials": 3, "cv": 2, "pruner": "nop", "random_state": 0}
    fused = HPOSearchCV(regressor(), space, executor="fused:n_jobs=1", **settings).fit(X, TARGET)
    assert fused.result_.notes == ()
    serial = HPOSearchCV(regressor(), space, **settings).fit(X, TARGET)
    assert fused.best_score_ == pytest.approx(serial.best_score_, rel=0.5)


@pytest.mark.parametrize(
    "cls",
    [
        RegularizedClassifier,
        RegularizedRegressor,
        FineTuningClassifier,
        ImageClassifier,
        NextSymbolNet,
        CausalLMNet,
        ContrastiveClassifier,
    ],
)
def test_no_net_sets_a_part_of_the_fold_aside(cls):
    assert cls(MLP).train_split is None
    given = ValidSplit(3)
    if cls is not ContrastiveClassifier:
        assert cls(MLP, train_split=given).get_params()["train_split"] is given


def test_every_net_is_in_the_list_above():
    found = {
        name
        for name in nets.__all__
        if isinstance(cls := getattr(nets, name), type) and hasattr(cls, "fit_loop")
    }
    assert found == {
        "RegularizedClassifier",
        "RegularizedRegressor",
        "FineTuningClassifier",
        "ImageClassifier",
        "NextSymbolNet",
        "CausalLMNet",
        "ContrastiveClassifier",
    }


def test_a_plain_net_is_as_it_was():
    assert NeuralNetClassifier(MLP).train_split is not None
