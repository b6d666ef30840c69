"""Deaths at random moments: ``python tests/benchmarks/ray_faults.py [--repeats 20]``.

A study on Ray Tune one of whose workers, or whose driver, is killed with SIGKILL while it runs,
and which is run again where its driver died. Afterwards no finished trial is lost or there
twice, and MLflow and the storage tell the same.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
import ray
from _bench import report, table, verdict

from hpo import load_result
from hpo.backends.ray.cluster import connected
from hpo.result import StudyResult

N_TRIALS = 12

STUDY = """
    import sys, time
    from sklearn.datasets import load_iris
    from sklearn.linear_model import SGDClassifier
    from hpo import Study, run_study
    from hpo.data import StudyData
    from hpo.trackers.mlflow import MlflowTracker
    from hpo._stop_signal import StopSignal
    from pathlib import Path

    class Slow(SGDClassifier):
        def partial_fit(self, X, y, classes=None, sample_weight=None):
            time.sleep(0.01)
            return super().partial_fit(X, y, classes, sample_weight)

    class Shown:
        def __getattr__(self, name):
            return lambda *args, **kwargs: ""

        def on_report(self, record, report):
            print(record.number, report.step, flush=True)

    home = Path(sys.argv[1])
    X, y = load_iris(return_X_y=True)
    study = Study(
        name="faults", estimator=Slow(), data=StudyData(X=X, y=y),
        search_space={"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}},
        cv=3, epochs=8, n_trials=int(sys.argv[2]), pruner="median:n_startup_trials=2",
        backend=f"ray:max_concurrent=2,max_failures=3,address={sys.argv[3]}", refit=False,
        storage=f"journal:///{home / 'hpo.journal'}",
        tracker=MlflowTracker(f"sqlite:///{home / 'mlflow.db'}"),
    )
    run_study(study, observers=[Shown()])
"""


def start(home: Path, address: str) -> subprocess.Popen[str]:
    """Start a driver of the study in ``home``."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STUDY), str(home), str(N_TRIALS), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_reports(driver: subprocess.Popen[str], n: int) -> None:
    """Read the driver's first ``n`` reports."""
    assert driver.stdout is not None
    for _ in range(n):
        if not driver.stdout.readline():
            return


def workers() -> list[psutil.Process]:
    """Return the processes that train, which Ray names after the method they run."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if _title(process).endswith("Trainable.train")]


def _title(process: psutil.Process) -> str:
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:  # it has just ended
        return ""


def kill_a_worker(driver: subprocess.Popen[str], dice: random.Random) -> int:
    """Kill a worker in a step; return how many were."""
    wait_for_reports(driver, dice.randint(1, 30))
    time.sleep(dice.uniform(0.0, 0.05))
    while driver.poll() is None:
        for process in workers():
            process.send_signal(signal.SIGKILL)
            return 1
        time.sleep(0.01)  # all of them are between two steps
    return 0


def kill_the_driver(driver: subprocess.Popen[str], dice: random.Random) -> int:
    """Kill the driver; its actors die with it."""
    wait_for_reports(driver, dice.randint(1, 30))
    time.sleep(dice.uniform(0.0, 0.05))
    if driver.poll() is not None:
        return 0
    driver.send_signal(signal.SIGKILL)
    return 1


def finish(driver: subprocess.Popen[str]) -> None:
    """Let the driver end; raise if it failed."""
    _, errors = driver.communicate(timeout=300)
    if driver.returncode:
        raise RuntimeError(f"The driver ended with {driver.returncode}:\n{errors}")


def complaints(home: Path, before: StudyResult | None) -> list[str]:
    """Return what is wrong with the study in ``home``; ``before`` is how it stood at a death."""
    from mlflow.tracking import MlflowClient

    result = load_result("faults", f"journal:///{home / 'hpo.journal'}")
    wrong = []
    counted = [record for record in result.records if not record.interrupted]
    if len(counted) != N_TRIALS or result.n_failed:
        wrong.append(f"{len(counted)} trials, {result.n_failed} failed")
    for record in result.records:
        if [r.step for r in record.reports] != list(range(1, record.last_step + 1)):
            wrong.append(f"trial {record.number}: steps {[r.step for r in record.reports]}")
    now = {record.number: record for record in result.records}
    for record in before.records if before else ():
        if record.ended and repr(now.get(record.number)) != repr(record):
            wrong.append(f"trial {record.number} was finished and is not what it was")
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("faults")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    told = Counter(
        (int(r.data.tags["number"]), r.data.tags["state"]) for r in runs if "number" in r.data.tags
    )
    kept = Counter((record.number, str(record.state)) for record in result.records)
    if told != kept:
        wrong.append(f"MLflow and the storage differ: {told - kept} {kept - told}")
    return wrong


def one_round(kind: str, dice: random.Random, address: str) -> tuple[int, list[str]]:
    """Run a study in which somebody dies; return the deaths and what is wrong afterwards."""
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        home, before = Path(folder), None
        driver = start(home, address)
        deaths = (kill_a_worker if kind == "worker" else kill_the_driver)(driver, dice)
        if kind == "driver" and deaths:
            driver.wait()
            before = load_result("faults", f"journal:///{home / 'hpo.journal'}")
            driver = start(home, address)
        finish(driver)
        return deaths, complaints(home, before)


def run_rounds(kind: str, repeats: int, seed: int, address: str) -> tuple[object, ...]:
    """Run rounds until somebody has died in ``repeats`` of them; return a row of the table."""
    dice = random.Random(f"{kind}{seed}")
    rounds, deaths, wrong = 0, 0, []
    while deaths < repeats:
        rounds += 1
        died, found = one_round(kind, dice, address)
        deaths += died
        wrong += found
        print(f"{kind} {rounds}: {died} died", *found, sep="\n", file=sys.stderr)
    return kind, rounds, deaths, len(wrong), verdict(not wrong)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the rounds and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--killed", nargs="+", default=["worker", "driver"])
    size = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with connected(None):
        rows = [
            run_rounds(kind, size.repeats, size.seed, ray.get_runtime_context().gcs_address)
            for kind in size.killed
        ]
    report(
        "Deaths under Ray Tune",
        f"{N_TRIALS} trials of 8 epochs, two at a time; SIGKILL at a random moment.",
        table(("killed", "rounds", "deaths", "complaints", ""), rows),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
