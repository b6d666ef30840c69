"""What tracking costs: ``python tests/benchmarks/tracking.py [--n-trials 1000] [--n-epochs 20]``.

Follows a study of scripted trials in a storage to an SQLite store of MLflow, and reads every
value back through MLflow's client. With ``--kills 50`` the follower is killed that often at
random moments, and started again.
"""

import argparse
import os
import random
import sqlite3
import tempfile
import time
import warnings
from contextlib import closing, suppress
from pathlib import Path

from hpo.observer import StudyInfo
from hpo.space import SearchSpace
from hpo.storage.study_facts import begin_session, end_session
from hpo.storage.trial_store import TrialStore
from hpo.trackers import Order, catch_up, start
from hpo.trackers.mlflow import MlflowTracker
from hpo.trial import Report, TrialRecord, TrialState

N_FOLDS = 5
SPACE = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "batch_size": {"type": "int", "low": 16, "high": 128},
    "optimizer": ["torch.optim.Adam", "torch.optim.SGD"],
    "module__dropout": {"type": "float", "low": 0.0, "high": 0.5},
}


def score(number: int, epoch: int) -> float:
    """Return a value that differs for each trial and epoch."""
    return 1.0 - 1.0 / (1 + epoch) - number * 1e-6


def add(store: TrialStore, n_epochs: int) -> None:
    """Store a trial from its start to its end."""
    trial = store.ask()
    reports = []
    started = time.time()
    for epoch in range(1, n_epochs + 1):
        value = score(trial.number, epoch)
        metrics = {"train_loss": (1.0 - value,) * N_FOLDS}
        folds = (value,) * N_FOLDS
        now = started + epoch * 0.1
        reports.append(Report(trial.number, epoch, value, folds, metrics, 0.1, time=now))
        store.report(reports[-1])
    end = {"started": started, "ended": started + n_epochs * 0.1}
    store.tell(TrialRecord(trial, TrialState.COMPLETE, tuple(reports), **end))


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
    """Return the processor time of the processes that have ended, which are followers."""
    times = os.times()
    return times.children_user + times.children_system


def n_runs(database: Path) -> int:
    """Return how many runs are in MLflow's database."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=0.0)) as connection:
        return int(connection.execute("select count(*) from runs").fetchone()[0])
    return 0


def kill(order: Order, database: Path, n_kills: int, dice: random.Random) -> int:
    """Start followers, and kill each at a random moment of its writing; return how many."""
    killed = 0
    for _ in range(n_kills):
        before = n_runs(database)
        process = start(order, watched=False)
        while n_runs(database) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(dice.uniform(0.0, 0.3))
        killed += process.poll() is None
        process.kill()
        process.wait()
    return killed


def main(n_trials: int = 1000, n_epochs: int = 20, n_kills: int = 0) -> dict[str, float]:
    """Run the benchmark, print its figures and return them."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HPO_CACHE"] = str(Path(folder) / "cache")
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        url = f"journal:///{Path(folder) / 'study.log'}"
        store = TrialStore("tracking", SearchSpace.load(SPACE), url)
        begin_session(store, StudyInfo(store.name, store.key))
        for _ in range(n_trials):
            add(store, n_epochs)
        end_session(store, {"n_trials": float(n_trials)}, {}, {}, "complete")
        order = Order.make(MlflowTracker(uri), store.name, store.key, url)
        killed = kill(order, Path(folder) / "mlflow.db", n_kills, random.Random(0))
        began, cpu_before = time.perf_counter(), cpu_seconds()
        outcome = catch_up(order)
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu_before
        assert outcome.complete, outcome
        n_values = read_back(uri, n_trials, n_epochs)
        again = catch_up(order)
        assert (again.trials, again.complete) == (0, True), again
    figures = {
        "follower_seconds": seconds,
        "follower_cpu_seconds": cpu,
        "killed": killed,
        "values_read_back": n_values,
    }
    print(f"{n_trials} trials x {n_epochs} epochs x {N_FOLDS} folds, SQLite store")
    if n_kills:
        print(f"  {killed} of {n_kills} followers killed at work; the last wrote")
        print(f"            {outcome.trials} trials")
    print(f"  follower: {seconds:.1f} s for all ({1000 * seconds / n_trials:.0f} ms a trial)")
    print(f"            {cpu:.1f} s of processor time, its start and the new database among them")
    print(f"  read back through MlflowClient: {n_values} values, all right, none twice")
    return figures


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "The ``noload`` loader", DeprecationWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--n-trials", type=int, default=1000)
    parser.add_argument("--n-epochs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    main(options.n_trials, options.n_epochs, options.kills)
