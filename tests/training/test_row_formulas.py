"""Each row's share of a score: their mean is the score, and they vary as the score does."""

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpo.training.row_formulas import _FORMULAS, row_formula
from hpo.training.row_scores import is_mean, watched
from hpo.training.scoring import Scoring

REGRESSING = {
    name for name in _FORMULAS if name in {"r2", "explained_variance"} or name.endswith("_error")
}
CLASSIFYING = sorted(set(_FORMULAS) - REGRESSING)
OF_TWO = {"f1", "precision", "recall", "jaccard", "roc_auc", "average_precision", "neg_brier_score"}
OF_MORE = {"top_k_accuracy"}
VALUES = {"neg_log_loss", "neg_brier_score", "top_k_accuracy", "roc_auc_ovr"}


def judged(estimator, scoring, X, y):
    """Return the score, and the rows' shares of it."""
    scoring = Scoring(estimator, scoring)
    with watched(estimator, len(y)) as predicted:
        score = scoring(estimator, X, y)["score"]
    formula = row_formula(scoring, estimator)
    return score, None if formula is None else formula(predicted, y)


def split(n=400, **kinds):
    X, y = make_classification(n, 8, flip_y=0.2, class_sep=0.7, random_state=0, **kinds)
    return train_test_split(X, y, train_size=0.5, random_state=0)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(10, random_state=0),
        SVC(),
        KNeighborsClassifier(),
    ],
)
@pytest.mark.parametrize("name", [None, *sorted(set(CLASSIFYING) - OF_MORE)])
def test_mean_of_the_rows_is_the_score_of_a_classifier(name, estimator):
    if name in {*VALUES, "roc_auc_ovr_weighted"} and isinstance(estimator, SVC):
        pytest.skip("it has no probabilities")
    X, X_valid, y, y_valid = split(weights=[0.7])
    score, rows = judged(estimator.fit(X, y), name, X_valid, y_valid)
    assert rows is not None
    assert rows.shape == (200,)
    assert is_mean(rows, score), (rows.mean(), score)


@pytest.mark.parametrize("name", sorted(set(CLASSIFYING) - OF_TWO))
def test_several_classes(name):
    X, X_valid, y, y_valid = split(n_classes=4, n_informative=5)
    score, rows = judged(LogisticRegression().fit(X, y), name, X_valid, y_valid)
    assert is_mean(rows, score)


@pytest.mark.parametrize("name", [None, *sorted(REGRESSING)])
def test_mean_of_the_rows_is_the_score_of_a_regression(name):
    """Of one output, and of two."""
    X, y = make_regression(200, 5, noise=20.0, random_state=0)
    if name is not None and "squared_log" in name:
        y -= y.min()
    X, X_valid, y, y_valid = X[:100], X[100:], y[:100], y[100:]
    for targets, truth in ((y, y_valid), (np.c_[y, y[::-1]], np.c_[y_valid, y_valid[::-1]])):
        estimator = KNeighborsRegressor().fit(X, targets)
        score, rows = judged(estimator, name, X_valid, truth)
        assert rows.shape == (100,)
        assert is_mean(rows, score)


VARYING = ["f1", "roc_auc", "balanced_accuracy", "r2", "average_precision", "matthews_corrcoef"]
VARYING += ["f1_weighted", "precision_macro", "jaccard_weighted", "explained_variance"]


@pytest.mark.parametrize("name", VARYING)
def test_rows_vary_as_the_score_does(name):
    if name in REGRESSING:
        X, y = make_regression(800, 5, noise=60.0, random_state=0)
        estimator = LinearRegression().fit(X[:400], y[:400])
        X, y = X[400:], y[400:]
    else:
        X, X_valid, y, y_valid = split(800)
        estimator, X, y = LogisticRegression().fit(X, y), X_valid, y_valid
    _, rows = judged(estimator, name, X, y)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(y), size=len(y)) for _ in range(200)]
    scores = [get_scorer(name)(estimator, X[bag], y[bag]) for bag in drawn]
    linear = [rows[bag].mean() for bag in drawn]
    assert np.corrcoef(scores, linear)[0, 1] > 0.97
    assert np.std(linear) == pytest.approx(np.std(scores), rel=0.1)


@pytest.mark.parametrize("name", ["roc_auc_ovr", "roc_auc_ovr_weighted", "matthews_corrcoef"])
def test_rows_of_several_classes_vary_as_the_score_does(name):
    X, X_valid, y, y_valid = split(800, n_classes=3, n_informative=5, weights=[0.5, 0.3])
    estimator = LogisticRegression().fit(X, y)
    _, rows = judged(estimator, name, X_valid, y_valid)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(400, size=400) for _ in range(100)]
    scores = [get_scorer(name)(estimator, X_valid[bag], y_valid[bag]) for bag in drawn]
    linear = [rows[bag].mean() for bag in drawn]
    assert np.corrcoef(scores, linear)[0, 1] > 0.97


@pytest.mark.parametrize("name", ["average_precision", "roc_auc"])
def test_ties_of_values(name):
    """A small tree gives many rows the same value."""
    X, X_valid, y, y_valid = split()
    estimator = DecisionTreeClassifier(max_depth=2).fit(X, y)
    score, rows = judged(estimator, name, X_valid, y_valid)
    assert is_mean(rows, score)


def test_a_scorer_with_options_and_a_function_have_no_rows():
    from sklearn.metrics import fbeta_score, make_scorer

    X, _, y, _ = split()
    estimator = LogisticRegression().fit(X, y)
    for scoring in (make_scorer(fbeta_score, beta=2), lambda e, X, y: e.score(X, y)):
        assert row_formula(Scoring(estimator, scoring), estimator) is None
