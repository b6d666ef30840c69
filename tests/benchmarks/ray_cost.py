"""What Ray Tune costs: ``python tests/benchmarks/ray_cost.py``.

Trivial trials of five reports through the backend ``ray``, and through a plain ``Tuner`` with
Ray's own OptunaSearch and its default settings, on the same private Ray; then a study on the
digits by the backend and by the process executor, two workers each. Times a trial are taken
after start-up: from the end of the first trial to the end of the last.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _bench import digits_net, in_turn, ratio, report, spread, table, verdict
from sklearn.model_selection import StratifiedKFold

from hpo import Study, run_study
from hpo.backends.ray.cluster import connected
from hpo.data import load_digits
from hpo.testing.backends import search
from hpo.testing.scripted import ScriptedObjective
from hpo.trial import Trial, TrialRecord

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
DIGITS = {"lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
WORKERS, STEPS = 2, 5
TARGET_TRIAL, TARGET_DIGITS = 0.060, 1.25


class Ends(NamedTuple):
    """When the first and the last trial of a study ended, and how many there were."""

    first: float
    last: float
    n: int

    @property
    def per_trial(self) -> float:
        """Seconds a trial after start-up."""
        return (self.last - self.first) / (self.n - 1)


def ends(records: Sequence[TrialRecord]) -> Ends:
    """Return when the trials of ``records`` ended."""
    times = sorted(record.ended for record in records)
    return Ends(times[0], times[-1], len(times))


def rising(trial: Trial) -> list[float]:
    """Return five scores."""
    return [float(trial.params["x"]) * step for step in range(1, STEPS + 1)]


def run_ours(n_trials: int) -> float:
    """Return the seconds a trivial trial takes; the study is kept in a journal."""
    from hpo.backends.ray import RayBackend

    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        records = search(
            RayBackend(max_concurrent=WORKERS),
            ScriptedObjective(rising, n_steps=STEPS),
            space=SPACE,
            storage=f"journal:///{folder}/hpo.journal",
            n_trials=n_trials,
            sampler="tpe",
            pruner="nop",
        )
    return ends(records).per_trial


def run_plain(n_trials: int) -> float:
    """Return the seconds that the same trial takes in a plain Tuner."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    times: list[float] = []

    class Clock(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            times.append(time.time())

    def train(config: dict[str, float]) -> None:
        for step in range(1, STEPS + 1):
            tune.report({"score": config["x"] * step})

    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        tune.Tuner(
            train,
            param_space={"x": tune.uniform(0.0, 1.0)},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                search_alg=OptunaSearch(),
                num_samples=n_trials,
                max_concurrent_trials=WORKERS,
            ),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[Clock()], verbose=0),
        ).fit()
    return Ends(times[0], times[-1], len(times)).per_trial


def run_digits(backend: str, n_trials: int, epochs: int) -> float:
    """Return the seconds of a study on the digits from its first trial's end to its last's."""
    study = Study(
        name="digits",
        estimator=digits_net(batch_size=64),
        data=load_digits(),
        search_space=DIGITS,
        scoring="accuracy",
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        epochs=epochs,
        n_trials=n_trials,
        sampler="random",
        pruner="nop",
        refit=False,
        tracker="null",
        storage=None,
        backend=backend,
        executor=f"process:n_jobs={WORKERS}",
    )
    result = run_study(study, folder=Path.cwd())
    took = ends(result.records)
    return took.last - took.first


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-trials", type=int, default=100)
    parser.add_argument("--plain-trials", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--digits-trials", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    size = parser.parse_args(argv)
    with connected(None):
        logging.getLogger("ray").setLevel(logging.ERROR)
        trivial = in_turn({"backend ray": lambda _: run_ours(size.n_trials)}, size.repeats)
        trivial |= in_turn({"plain Tuner": lambda _: run_plain(size.plain_trials)}, 1)
        arms = {
            "process executor": lambda _: run_digits("optuna", size.digits_trials, size.epochs),
            "backend ray": lambda _: run_digits(
                f"ray:max_concurrent={WORKERS}", size.digits_trials, size.epochs
            ),
        }
        digits = in_turn(arms, size.repeats)
    ours = sorted(trivial["backend ray"])[size.repeats // 2]
    times = ratio(digits["backend ray"], digits["process executor"])
    report(
        "Ray Tune's cost",
        f"{size.n_trials} trivial trials of {STEPS} reports, {WORKERS} at a time (the plain Tuner: "
        f"{size.plain_trials} trials); digits: {size.digits_trials} trials x {size.epochs} epochs "
        "x 5 folds, 2 workers. Medians; after start-up.",
        table(
            ("ms a trivial trial", "measured", "target", ""),
            [
                ("backend ray", f"{1000 * ours:.1f}", "<= 60", verdict(ours <= TARGET_TRIAL)),
                ("plain Tuner", f"{1000 * trivial['plain Tuner'][0]:.0f}", "", ""),
            ],
        ),
        table(
            ("digits, backend ray / process executor", "wall time", "target", ""),
            [
                (
                    "two workers",
                    spread(digits["backend ray"], digits["process executor"]),
                    f"<= {TARGET_DIGITS}",
                    verdict(times <= TARGET_DIGITS),
                )
            ],
        ),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
