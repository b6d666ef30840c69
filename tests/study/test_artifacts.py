"""What a winner recommends and saves of itself becomes part of the study."""

import io

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier

from hpo import Study, load_result, run_study
from hpo.cli._tables import winner_table
from hpo.data import StudyData

# of MLflow about its own database library
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


class Telling(SGDClassifier):
    def recommendation(self):
        return f"SGD(alpha={self.alpha:.3g})"

    def save_artifacts(self, folder):
        (folder / "weights").mkdir()
        (folder / "weights" / "coef.txt").write_text(str(self.coef_))


def test_it_is_shown_read_back_and_kept_in_mlflow(tmp_path):
    X, y = load_iris(return_X_y=True)
    study = Study(
        name="telling",
        estimator=Telling(random_state=0),
        data=StudyData(X=X, y=y),
        search_space={"alpha": [1e-4, 1e-2]},
        cv=3,
        n_trials=2,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )
    result = run_study(study)
    told = f"SGD(alpha={result.best_params['alpha']:.3g})"
    assert result.recommendation == told
    again = load_result("telling", study.storage)
    assert again.recommendation == told
    shown = Console(file=io.StringIO(), width=80)
    shown.print(winner_table(again))
    assert f"recommended  {told}" in shown.file.getvalue()
    client = MlflowClient(study.tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'telling'")
    runs = client.search_runs([experiment.experiment_id], filter_string="params.seed = '0'")
    names = {item.path for run in runs for item in client.list_artifacts(run.info.run_id)}
    kept = [item.path for run in runs for item in client.list_artifacts(run.info.run_id, "weights")]
    assert {"report.html", "weights"} <= names
    assert "model.pkl" not in names  # it is a model of MLflow
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.name == "winner"
    assert kept == ["weights/coef.txt"]
