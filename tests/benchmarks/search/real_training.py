"""The searches on real training: ``python tests/benchmarks/search/real_training.py --data mnist``.

Multilayer perceptrons on scikit-learn's digits or on 1,000 images of MNIST, two folds, equal
budgets of epochs. Of each arm: the score on the held-out test part of the winner, refitted, and
after how many epochs the best score of a complete trial was that of TPE with the median rule at
its end.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from _bench import digits_net, one_thread
from tables import markdown, with_error

from hpo import Study, StudyResult, run_study
from hpo.data import StudyData, load_digits, load_mnist
from hpo.trial import TrialState

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.3, "log": True},
    "optimizer": {"type": "categorical", "choices": ["torch.optim.SGD", "torch.optim.Adam"]},
    "optimizer__weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    "batch_size": {"type": "int", "low": 64, "high": 512, "log": True},
    "module__dropout": {"type": "float", "low": 0.0, "high": 0.8},
}
MEDIAN = "optuna_tpe + median(5, 5)"
ARMS = {
    MEDIAN: ("optuna_tpe", "optuna_median:n_warmup_steps=5"),
    "tpe + halving": ("tpe", "halving"),
    "tpe + halving:eta=3": ("tpe", "halving:eta=3"),
}


def data(name: str) -> tuple[StudyData, int]:
    """Return a data set and how many numbers a sample of it has."""
    if name == "digits":
        return load_digits(), 64
    return load_mnist(n_train=1_000, refit_on_all=False), 28 * 28


def course(result: StudyResult) -> list[tuple[int, float]]:
    """Return epochs spent and best score at the end of each complete trial, one at a time."""
    spent, best, steps = 0, -np.inf, []
    for record in result.records:
        spent += record.last_step
        if record.state is TrialState.COMPLETE and record.value > best:
            best = record.value
            steps.append((spent, best))
    return steps


def epochs_to(result: StudyResult, score: float, budget: int) -> int:
    """Return after how many epochs ``score`` was reached; the budget if it was not."""
    return next((spent for spent, best in course(result) if best >= score), budget)


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Run the studies, print a table and return the test scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--units", type=int, default=16, help="full trainings' worth of epochs")
    parser.add_argument("--data", choices=["digits", "mnist"], default="digits")
    size = parser.parse_args(argv)
    budget = size.units * size.epochs
    scores: dict[str, list[float]] = {arm: [] for arm in ARMS}
    shares: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(size.seeds):
        results = {arm: run(size.data, arm, seed, size.epochs, budget) for arm in ARMS}
        goal = max(best for _, best in course(results[MEDIAN]))
        whole = epochs_to(results[MEDIAN], goal, budget)
        for arm, result in results.items():
            assert result.test_score is not None
            scores[arm].append(result.test_score)
            shares[arm].append(epochs_to(result, goal, budget) / whole)
            print(f"seed {seed}, {arm}: {scores[arm][-1]:.4f}, {shares[arm][-1]:.2f}", flush=True)
    rows = [[arm, f"{mean(scores[arm]):.4f}", f"{np.median(shares[arm]):.2f}"] for arm in ARMS]
    print(markdown(["arm", "test accuracy", "share of epochs, median"], rows))
    for arm in [*ARMS][1:]:
        apart = 100 * np.subtract(scores[arm], scores[MEDIAN])
        print(f"{arm}, difference of test accuracy, paired: {with_error(apart)} points")
    return scores


def run(name: str, arm: str, seed: int, epochs: int, budget: int) -> StudyResult:
    """Run the study of one arm."""
    sampler, pruner = ARMS[arm]
    found, n_features = data(name)
    study = Study(
        name=name,
        estimator=digits_net().set_params(module__n_features=n_features),
        data=found,
        search_space=SPACE,
        scoring="accuracy",
        cv=2,
        epochs=epochs,
        n_trials=None,
        max_total_epochs=budget,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        storage=None,
        tracker="null",
        analyses=[],
    )
    with one_thread():
        return run_study(study)


if __name__ == "__main__":
    main(sys.argv[1:])
