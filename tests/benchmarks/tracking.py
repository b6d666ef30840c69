"""What tracking costs: ``python tests/benchmarks/tracking.py [--n-trials 1000] [--n-epochs 20]``.

Tells a study of scripted trials to the MLflow tracker, over an SQLite store, and reads every
value back through MLflow's client. The driver's time a trial is what tracking takes from the
trial itself; the rest happens in a process of its own.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from hpo.observer import StudyInfo
from hpo.trackers.mlflow import MlflowTracker
from hpo.trial import Report, Trial, TrialRecord, TrialState

N_FOLDS = 5
PARAMS = {"lr": 0.01, "batch_size": 64, "optimizer": "torch.optim.Adam", "module__dropout": 0.1}


def score(number: int, epoch: int) -> float:
    """Return a value that differs for each trial and epoch."""
    return 1.0 - 1.0 / (1 + epoch) - number * 1e-6


def tell(tracker: MlflowTracker, number: int, n_epochs: int) -> float:
    """Tell a trial's life; return the seconds it took."""
    trial = Trial(number, PARAMS, seed=number)
    record = TrialRecord(trial, started=time.time())
    reports = []
    for epoch in range(1, n_epochs + 1):
        value = score(number, epoch)
        metrics = {"train_loss": (1.0 - value,) * N_FOLDS}
        reports.append(Report(number, epoch, value, (value,) * N_FOLDS, metrics, 0.1))
    began = time.perf_counter()
    tracker.on_trial_start(record)
    for report in reports:
        tracker.on_report(record, report)
    tracker.on_trial_end(
        TrialRecord(trial, TrialState.COMPLETE, started=record.started, ended=time.time())
    )
    return time.perf_counter() - began


def read_back(uri: str, n_trials: int, n_epochs: int) -> int:
    """Return the number of values read; fail if one is missing or wrong."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tracking")
    runs, token = [], None
    while token != "":
        page = client.search_runs(
            [experiment.experiment_id],
            "attributes.status = 'FINISHED' and tags.state = 'complete'",
            max_results=1000,
            page_token=token,
        )
        runs += [run for run in page if "mlflow.parentRunId" in run.data.tags]
        token = page.token or ""
    assert sorted(int(run.data.tags["number"]) for run in runs) == list(range(n_trials))
    n_values = 0
    for run in runs:
        number = int(run.data.tags["number"])
        expected = [(epoch, score(number, epoch)) for epoch in range(1, n_epochs + 1)]
        for key in ["score", *(f"score_fold_{fold}" for fold in range(N_FOLDS))]:
            points = client.get_metric_history(run.info.run_id, key)
            assert sorted((p.step, p.value) for p in points) == expected, (number, key)
            n_values += len(points)
    return n_values


def cpu_seconds() -> float:
    """Return the processor time of the processes that have ended, which are senders."""
    times = os.times()
    return times.children_user + times.children_system


def main(n_trials: int = 1000, n_epochs: int = 20) -> dict[str, float]:
    """Run the benchmark, print its figures and return them."""
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        tracker = MlflowTracker(uri, Path(folder) / "spool")
        tracker.on_study_start(StudyInfo("tracking", "tracking"))
        began, cpu_before = time.perf_counter(), cpu_seconds()
        seconds = [tell(tracker, number, n_epochs) for number in range(n_trials)]
        tracker.on_study_end({"n_trials": n_trials}, {}, {})
        message = tracker.close(timeout=600)
        sent, cpu = time.perf_counter() - began, cpu_seconds() - cpu_before
        assert message == "", message
        n_values = read_back(uri, n_trials, n_epochs)
    figures = {
        "driver_ms_mean": 1000 * statistics.mean(seconds),
        "driver_ms_max": 1000 * max(seconds),
        "sender_seconds": sent,
        "sender_cpu_seconds": cpu,
        "values_read_back": n_values,
    }
    print(f"{n_trials} trials x {n_epochs} epochs x {N_FOLDS} folds, SQLite store")
    print(f"  driver: {figures['driver_ms_mean']:.2f} ms a trial (target: at most 10)")
    print(f"          {figures['driver_ms_max']:.2f} ms the slowest")
    print(f"  sender: {sent:.1f} s for all ({1000 * sent / n_trials:.0f} ms a trial)")
    print(f"          {cpu:.1f} s of processor time, its start and the new database among them")
    print(f"  read back through MlflowClient: {n_values} values, all right")
    return figures


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "The ``noload`` loader", DeprecationWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--n-trials", type=int, default=1000)
    parser.add_argument("--n-epochs", type=int, default=20)
    options = parser.parse_args()
    main(options.n_trials, options.n_epochs)
