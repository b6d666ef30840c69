"""What is made of out-of-fold predictions."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from hpo import Study, StudyData, run_study
from hpo.analyses.calibration import Calibration
from hpo.analyses.ensemble_selection import EnsembleSelection
from hpo.out_of_fold import OutOfFold
from hpo.testing.analyses import trained_winner


@pytest.fixture(scope="module")
def winner():
    return trained_winner()


def predictions(number, proba, y):
    return OutOfFold(
        number=number,
        rows=np.arange(len(y)),
        folds=np.arange(len(y)) % 4,
        kind="predict_proba",
        step=1,
        predictions=proba,
        last_predictions=proba,
        y=y,
        classes=np.array([0, 1, 2]),
    )


def test_confident_and_wrong_is_badly_calibrated(winner):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    sure = np.full((600, 3), 0.05)
    said = np.where(rng.random(600) < 0.6, y, (y + 1) % 3)
    sure[np.arange(600), said] = 0.9
    data = Calibration().compute(replace(winner, oof=lambda n: predictions(n, sure, y)))
    assert data["calibration_error"] == pytest.approx(0.3, abs=0.05)
    assert "overconfident" in dict(Calibration().summarize(data))["calibration error"]
    honest = np.full((600, 3), 0.2)
    honest[np.arange(600), said] = 0.6
    data = Calibration().compute(replace(winner, oof=lambda n: predictions(n, honest, y)))
    assert data["calibration_error"] < 0.05


def test_a_class_that_is_never_named_is_told(winner):
    y = np.repeat([0, 1, 2], [180, 20, 10])
    proba = np.tile([0.8, 0.1, 0.1], (210, 1))
    data = Calibration().compute(replace(winner, oof=lambda n: predictions(n, proba, y)))
    told = dict(Calibration().summarize(data))
    assert told["smallest recall"].startswith("right 0 of 20, top 0 of 10")
    assert "most frequent class" in told["no better than"]


def test_trials_that_err_on_different_rows_vote_better_together(winner):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)

    def voter(number):
        own = np.random.default_rng(number)
        proba = own.dirichlet([1, 1, 1], size=600)
        proba[np.arange(600), y] += 0.35 * own.random(600)
        return predictions(number, proba / proba.sum(axis=1, keepdims=True), y)

    data = EnsembleSelection().compute(replace(winner, oof=voter))
    assert data["gain"] > 2 * data["gain_se"]
    assert sum(n for _, n in data["members"]) == 10
    assert "(better)" in dict(EnsembleSelection().summarize(data))["gain on the best trial"]


def test_on_noise_the_selection_gains_nothing(winner):
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=300)
    noise = {
        n: predictions(n, np.random.default_rng(n).dirichlet([1, 1, 1], size=300), y)
        for n in range(3)
    }
    data = EnsembleSelection().compute(replace(winner, oof=noise.__getitem__))
    assert data["accuracy"] == pytest.approx(1 / 3, abs=0.06)
    assert abs(data["gain"]) < 2.5 * data["gain_se"]


def test_what_is_missing_is_said(winner):
    for analysis in (Calibration(), EnsembleSelection()):
        with pytest.raises(ValueError, match="No out-of-fold predictions"):
            analysis.compute(replace(winner, oof=None))
    with pytest.raises(ValueError, match="must be 1 or more"):
        EnsembleSelection(k=0)


def test_in_a_study():
    X, y = make_classification(200, random_state=0)
    study = Study(
        name="votes",
        estimator=RandomForestClassifier(5, random_state=0),
        data=StudyData(X=X, y=y),
        search_space={"max_depth": {"type": "int", "low": 1, "high": 6}},
        n_trials=4,
        cv=3,
        storage=None,
        tracker="null",
        analyses=["calibration", "ensemble_selection:k=5"],
    )
    found = run_study(study).analyses
    assert set(found) == {"calibration", "ensemble_selection"}
    assert not any("error" in data for data in found.values())
