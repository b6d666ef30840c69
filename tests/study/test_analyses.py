"""Analyses in a study: made once, kept, told, and never fatal."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier
from torch import nn

from hpo import Study, StudyData, load_result, run_study
from hpo.analyses import BaseAnalysis
from hpo.exceptions import PluginError, StudyError
from hpo.review import write_report
from hpo.study.prepared import PreparedStudy


class Recorder(BaseAnalysis):
    title = "Recorded"

    def compute(self, winner):
        again = winner.refit(rows=np.arange(40))
        assert not hasattr(again, "nothing")
        return {"n": len(winner.X), "n_refit": again.n_seen_, "text": "no number"}

    def summarize(self, data):
        return [("n", str(data["n"]))]

    def plot(self, data):
        return Figure()


class Failing(Recorder):
    def compute(self, winner):
        raise RuntimeError("out of luck")


class Net(NeuralNetClassifier):
    def fit(self, X, y=None, **params):
        self.n_seen_ = len(X)
        return super().fit(X, y, **params)


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 2)).astype("float32")
    y = (X[:, 0] > 0).astype("int64")
    return StudyData(X=X[:80], y=y[:80], X_test=X[80:120], y_test=y[80:120], X_refit=X, y_refit=y)


def study(tmp_path, **changes):
    net = Net(
        nn.Linear,
        module__in_features=2,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        train_split=None,
        verbose=0,
    )
    fields = dict(
        name="analysed",
        estimator=net,
        data=data,
        search_space={"lr": [0.1, 0.5]},
        scoring="accuracy",
        cv=2,
        n_trials=2,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
    )
    return Study(**{**fields, **changes})


def test_a_net_that_classifies_a_held_out_test_part_is_analysed(tmp_path):
    result = run_study(study(tmp_path))
    assert list(result.analyses) == ["confusion", "features"]
    assert result.analyses["confusion"]["accuracy"] == result.test_score
    loaded = load_result("analysed", f"journal:///{tmp_path}/hpo.journal")
    assert loaded.analyses == result.analyses
    files = write_report(loaded, tmp_path / "report")
    assert {"confusion.png", "features.png"} <= set(files)
    assert "<h2>Confusion matrix</h2>" in files["report.html"].read_text()


def test_what_else_is_not_analysed_unless_asked(tmp_path):
    plain = study(tmp_path, estimator=LogisticRegression(), search_space={"C": [1.0, 2.0]})
    assert PreparedStudy(plain).analyses == []
    (asked,) = PreparedStudy(plain.replace(analyses=["confusion"])).analyses
    assert asked.name == "confusion"
    without_test_part = StudyData(X=data().X, y=data().y)
    assert PreparedStudy(study(tmp_path, data=without_test_part)).analyses == []
    assert PreparedStudy(study(tmp_path, analyses=[])).analyses == []


def test_options_and_mistakes_in_names(tmp_path):
    (ensemble,) = PreparedStudy(study(tmp_path, analyses=["ensemble:k=7"])).analyses
    assert ensemble.k == 7
    with pytest.raises(PluginError, match="no analysis 'confusoin', did you mean 'confusion'"):
        PreparedStudy(study(tmp_path, analyses=["confusoin"]))
    with pytest.raises(PluginError, match="no option 'n'"):
        PreparedStudy(study(tmp_path, analyses=["ensemble:n=7"]))
    with pytest.raises(StudyError, match="more than once"):
        PreparedStudy(study(tmp_path, analyses=["ensemble:k=7", "ensemble"]))


def test_what_cannot_be_made_is_refused_before_anything_is_trained(tmp_path):
    untested = study(tmp_path, data=StudyData(X=data().X, y=data().y))
    with pytest.raises(StudyError, match="'analyses' names confusion, ensemble, made on the held"):
        run_study(untested.replace(analyses=["confusion", "ensemble", Recorder()]))
    with pytest.raises(StudyError, match="'analyses' are made of the refitted winner"):
        run_study(study(tmp_path, analyses=["confusion"], refit=False))
    assert list(tmp_path.iterdir()) == []
    (found,) = run_study(untested.replace(analyses=[Recorder()])).analyses.values()
    assert found["n"] == 80


def test_one_that_fails_is_told_and_the_others_are_kept(tmp_path):
    result = run_study(study(tmp_path, analyses=[Failing(), "confusion"]))
    failed, confusion = result.analyses.values()
    reference = f"{__name__}:Failing"
    assert failed == {"error": "RuntimeError: out of luck", "class": reference}
    assert confusion["accuracy"] > 0
    page = write_report(result, tmp_path / "report")["report.html"].read_text()
    assert "out of luck" in page


def test_it_sees_what_the_winner_was_fitted_on_and_can_refit(tmp_path):
    result = run_study(study(tmp_path, analyses=[Recorder()]))
    (found,) = result.analyses.values()
    reference = f"{__name__}:Recorder"
    assert found == {"n": 160, "n_refit": 40, "text": "no number", "class": reference}


def test_a_refit_that_is_reused_keeps_its_analyses_and_a_new_one_is_made(tmp_path):
    first = run_study(study(tmp_path))
    again = run_study(study(tmp_path), reuse_refit=True)
    assert again.estimator is None
    assert again.analyses == first.analyses
    more = run_study(study(tmp_path, analyses=["ensemble:k=2"]), reuse_refit=True)
    assert list(more.analyses) == ["ensemble"]


def test_numbers_are_metrics_of_the_study(tmp_path):
    from hpo.study.runner import _summary

    result = run_study(study(tmp_path, analyses=["confusion", Failing()]))
    metrics, _ = _summary(result)
    assert metrics["confusion_accuracy"] == result.test_score
    assert not any("matrix" in name or "error" in name for name in metrics)
