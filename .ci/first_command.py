"""Check what the quick start has left in the current folder: a winner, and its runs in MLflow."""

from mlflow import MlflowClient

from hpo import load_result

N_TRIALS = 30
LEAST_SCORE = 0.97

result = load_result("digits_mlp", "journal:///hpo.journal")
assert result.n_trials == N_TRIALS, result.n_trials
assert result.best_score >= LEAST_SCORE, result.best_score

client = MlflowClient("sqlite:///mlflow.db")
(experiment,) = [e for e in client.search_experiments() if e.name == "digits_mlp"]
runs = client.search_runs([experiment.experiment_id], max_results=1000)
children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
(parent,) = [run for run in runs if run not in children]
assert len(children) == N_TRIALS, len(children)
assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
assert parent.info.status == "FINISHED", parent.info.status
assert parent.data.metrics["best_score"] == result.best_score
print(f"quick start: best {result.best_score:.4f}, one parent and {len(children)} child runs")
