"""Time to an answer: ``python tests/benchmarks/time_to_answer.py --seeds 10``.

What people write by hand on the quick start's space (Optuna's TPE and median rule, a loop over the
folds that reports the mean of those so far, skorch, MLflow's fluent logging, SQLite) makes its
trials, and so names a configuration. hpo without options then searches until it has one whose score
on fresh folds is as good. Each in a process of its own, on one core; what counts is processor time,
that of child processes included, and no part of it is the scoring on fresh folds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from _bench import machine, one_thread, table
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import StratifiedKFold

from hpo import Study, run_study
from hpo.data import StudyData, load_covertype
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier
from hpo.observer import BaseObserver
from hpo.space import SearchSpace
from hpo.trial import TrialRecord, TrialState

SPACE = Path(__file__).parents[2] / "search_spaces/mlp.yaml"
DATA = ("digits", "covertype", "cancer")
FRESH = 10_000
"""What is added to a seed for the folds that no search sees."""

Found = dict[str, Any]
"""A configuration: ``params`` as stored, ``epochs``, and ``seconds`` until it was found."""


def data(name: str, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a data set: float32 rows, scaled, and classes; all of it, or ``n_rows``."""
    if name == "covertype":
        found = load_covertype()
        X, y = np.asarray(found.X, dtype=np.float64)[:2_000], np.asarray(found.y)[:2_000]
    else:
        X, y = {"digits": load_digits, "cancer": load_breast_cancer}[name](return_X_y=True)
    X, y = X[: n_rows or None], np.unique(y[: n_rows or None], return_inverse=True)[1]
    scaled = (X - X.mean(0)) / np.maximum(X.std(0), 1e-8)
    return scaled.astype(np.float32), y.astype(np.int64)


def net(X: np.ndarray, y: np.ndarray, epochs: int) -> RegularizedClassifier:
    """Return the net of the quick start, for these data."""
    return RegularizedClassifier(
        MLP,
        module__n_features=X.shape[1],
        module__n_classes=int(y.max()) + 1,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def cross_validated(
    params: dict[str, Any],
    X: np.ndarray,
    y: np.ndarray,
    epochs: int,
    seed: int,
    n_folds: int,
    report: Callable[[float, int], None] = lambda mean, fold: None,
) -> float:
    """Return the mean accuracy; after each fold ``report`` is given the mean so far."""
    scores: list[float] = []
    torch.manual_seed(seed)
    split = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (train, valid) in enumerate(split.split(X, y)):
        fitted = net(X, y, epochs).set_params(**params).fit(X[train], y[train])
        scores.append(float((fitted.predict(X[valid]) == y[valid]).mean()))
        report(statistics.mean(scores), fold)
    return statistics.mean(scores)


def processor_seconds() -> float:
    """Return the processor time of this process and of all that it has started."""
    me = psutil.Process()
    total = sum(me.cpu_times()[:4])  # own and those of children that have ended
    for child in me.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.Error:
            continue
    return total


# -- The two arms, each in a process of its own -------------------------------------------------


def suggested(trial: Any) -> dict[str, Any]:
    """Draw from the quick start's space as people write it."""
    name = trial.suggest_categorical(
        "optimizer", [f"torch.optim.{o}" for o in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")]
    )
    params = {
        "lr": trial.suggest_float("lr", 1e-4, 0.1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
        "optimizer": name,
        "optimizer__weight_decay": trial.suggest_float(
            "optimizer__weight_decay", 1e-6, 1e-2, log=True
        ),
        "l1_lambda": trial.suggest_float("l1_lambda", 1e-7, 1e-3, log=True),
        "module__dropout": trial.suggest_float("module__dropout", 0.0, 0.5),
        "module__hidden_units": trial.suggest_int("module__hidden_units", 32, 256, step=32),
        "module__n_layers": trial.suggest_int("module__n_layers", 1, 3),
    }
    if name.endswith(("SGD", "RMSprop")):
        params["optimizer__momentum"] = trial.suggest_float("optimizer__momentum", 0.0, 0.98)
    return params


def by_hand(X: np.ndarray, y: np.ndarray, seed: int, size: argparse.Namespace) -> list[Found]:
    """Search as people write it; return the best configurations so far, in order."""
    import mlflow
    import optuna

    began = processor_seconds()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("by-hand")
    space, found = SearchSpace.load(SPACE), list[Found]()
    study = optuna.create_study(
        direction="maximize",
        storage="sqlite:///optuna.db",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )

    def objective(trial: optuna.Trial) -> float:
        params = suggested(trial)

        def report(mean: float, fold: int) -> None:
            mlflow.log_metric("mean_accuracy", mean, step=fold)
            trial.report(mean, fold)
            if trial.should_prune():
                raise optuna.TrialPruned

        with mlflow.start_run():
            mlflow.log_params(params)
            resolved = space.resolve(params)
            score = cross_validated(resolved, X, y, size.epochs, seed, size.folds, report)
            mlflow.log_metric("accuracy", score)
        if not found or score > found[-1]["score"]:
            spent = processor_seconds() - began
            one = {"params": params, "epochs": size.epochs, "score": score, "seconds": spent}
            found.append(one)
        return score

    study.optimize(objective, n_trials=size.trials)
    found.append({**found[-1], "seconds": processor_seconds() - began})
    return found


class Incumbents(BaseObserver):
    """Keeps the best configurations so far."""

    def __init__(self) -> None:
        self.began = processor_seconds()
        self.found: list[Found] = []

    def on_trial_end(self, record: TrialRecord) -> None:
        best = record.best_report
        if record.state is not TrialState.COMPLETE or best is None:
            return
        if not self.found or best.value > self.found[-1]["score"]:
            one = {"params": dict(record.trial.params), "epochs": best.step, "score": best.value}
            self.found.append({**one, "seconds": processor_seconds() - self.began})


def with_hpo(X: np.ndarray, y: np.ndarray, seed: int, size: argparse.Namespace) -> list[Found]:
    """Search by hpo, whose options are all left out but those that say what is searched."""
    seen = Incumbents()
    study = Study(
        name="answer",
        estimator=net(X, y, size.epochs),
        data=StudyData(X=X, y=y),
        search_space=SPACE,
        scoring="accuracy",
        cv=size.folds,
        n_trials=size.hpo_trials or 2 * size.trials,
        seed=seed,
    )
    run_study(study, observers=[seen], verbose=0)
    return seen.found


ARMS = {"by_hand": by_hand, "with_hpo": with_hpo}


def run_arm(arm: str, name: str, seed: int, size: argparse.Namespace) -> list[Found]:
    """Run an arm in a fresh process and an empty folder."""
    own = ["--arm", arm, "--data", name, "--seed", str(seed), "--n-rows", str(size.n_rows)]
    for option in ("trials", "hpo_trials", "folds", "epochs"):
        own += [f"--{option.replace('_', '-')}", str(getattr(size, option))]
    with tempfile.TemporaryDirectory(prefix="hpo-answer-") as folder:
        command = [sys.executable, str(Path(__file__).resolve()), *own]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return list(json.loads(done.stdout.splitlines()[-1]))


# -- The comparison ----------------------------------------------------------------------------


def compare(name: str, seed: int, size: argparse.Namespace) -> dict[str, Any]:
    """Return both arms' seconds; hpo's are None where it found nothing as good."""
    X, y = data(name, size.n_rows)
    space = SearchSpace.load(SPACE)

    def fresh(one: Found) -> float:
        params = space.resolve(one["params"])
        seeds = range(seed + FRESH, seed + FRESH + size.repeats)
        return statistics.mean(
            cross_validated(params, X, y, one["epochs"], own, size.folds) for own in seeds
        )

    theirs, ours = (run_arm(arm, name, seed, size) for arm in ARMS)
    goal = fresh(theirs[-1])
    reached = next((one for one in ours if fresh(one) >= goal), None)
    return {
        "data": name,
        "seed": seed,
        "goal": goal,
        "by hand": theirs[-1]["seconds"],
        "hpo": reached and reached["seconds"],
    }


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Compare on all data sets and print a table; or run one arm and print what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100, help="by hand")
    parser.add_argument("--hpo-trials", type=int, default=0, help="by default twice as many")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2, help="sets of fresh folds")
    parser.add_argument("--n-rows", type=int, default=0, help="0 is all")
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=DATA)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    size = parser.parse_args(argv)
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        if size.arm:
            X, y = data(size.data[0], size.n_rows)
            print(json.dumps(ARMS[size.arm](X, y, size.seed, size)))
            return []
        began, results = time.process_time(), []
        for seed in range(size.seeds):
            for name in size.data:
                results.append(compare(name, seed, size))
                print(json.dumps(results[-1]), flush=True)
    print(f"{told(results)}\n\n{machine()}; fresh folds {time.process_time() - began:.0f} s")
    return results


def told(results: Sequence[dict[str, Any]]) -> str:
    """Return a table: by data set, the seconds by hand, and how many times hpo is as fast."""
    rows = []
    for name in dict.fromkeys(each["data"] for each in results):
        those = [each for each in results if each["data"] == name]
        ratios = [each["by hand"] / each["hpo"] for each in those if each["hpo"]]
        mean = f"{statistics.geometric_mean(ratios):.1f}" if ratios else ""
        hand = statistics.median(each["by hand"] for each in those)
        rows.append([name, f"{hand:.0f}", mean, f"{len(ratios)} of {len(those)}"])
    head = ["data", "by hand, s", "by hand ÷ hpo, geometric mean", "hpo as good"]
    return table(head, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
