"""hpo against RandomizedSearchCV on estimators without epochs: ``python sklearn_search.py``.

Random forests and support vector machines on data sets of scikit-learn, the same distributions,
folds, number of trials and seed, one core. `HPOSearchCV` has no options: it races the folds. What
counts is the processor time of ``fit``, the refit included, and the score of the chosen settings on
fresh folds, which no search has seen, paired by seed.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from _bench import machine, one_thread, table
from scipy.stats import loguniform, randint, uniform
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import (
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from hpo import HPOSearchCV

DATA = {"cancer": load_breast_cancer, "digits": load_digits, "diabetes": load_diabetes}
MODELS = ("forest", "svc")
FRESH = 10_000
"""What is added to a seed for the folds that no search sees."""


def model(name: str, data: str, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return an estimator and the distributions that are searched, as people write them."""
    regression = data == "diabetes"
    if name == "forest":
        forest = RandomForestRegressor if regression else RandomForestClassifier
        return forest(random_state=seed), {
            "n_estimators": randint(20, 101),
            "max_depth": [None, 5, 10, 20],
            "min_samples_split": randint(2, 20),
            "min_samples_leaf": randint(1, 20),
            "max_features": uniform(0.05, 0.95),
        }
    kind = "svr" if regression else "svc"
    space = {f"{kind}__C": loguniform(1e-2, 1e3), f"{kind}__gamma": loguniform(1e-5, 1)}
    if not regression:
        space[f"{kind}__class_weight"] = [None, "balanced"]
    # y of diabetes reaches 346, so that epsilon may as well be searched
    space |= {f"{kind}__epsilon": loguniform(1e-1, 1e2)} if regression else {}
    return make_pipeline(StandardScaler(), SVR() if regression else SVC()), space


def folds(data: str, n: int, seed: int) -> Any:
    """Return ``n`` shuffled folds, stratified for classes."""
    kind = KFold if data == "diabetes" else StratifiedKFold
    return kind(n, shuffle=True, random_state=seed)


def search(arm: str, name: str, data: str, seed: int, size: argparse.Namespace) -> dict[str, Any]:
    """Search once; return the processor time and the settings that were chosen."""
    X, y = DATA[data](return_X_y=True)
    estimator, space = model(name, data, seed)
    same = {"cv": folds(data, size.folds, seed), "random_state": seed}
    if arm == "hpo":
        found = HPOSearchCV(estimator, space, n_trials=size.trials, **same)
    else:
        found = RandomizedSearchCV(estimator, space, n_iter=size.trials, n_jobs=1, **same)
    began = time.process_time()
    found.fit(X, y)
    seconds = time.process_time() - began
    each = np.array([found.cv_results_[f"split{k}_test_score"] for k in range(size.folds)])
    return {
        "seconds": seconds,
        "score": float(found.best_score_),
        "params": found.best_params_,
        "fits": int(np.isfinite(each).sum()),
        "complete": int(np.isfinite(each).all(0).sum()),
    }


def fresh(params: dict[str, Any], name: str, data: str, seed: int, size: Any) -> float:
    """Return the mean score of settings on fresh folds, the same for both arms."""
    X, y = DATA[data](return_X_y=True)
    estimator = clone(model(name, data, seed)[0]).set_params(**params)
    return statistics.mean(
        cross_val_score(estimator, X, y, cv=folds(data, size.folds, own + FRESH)).mean()
        for own in range(seed * size.repeats, (seed + 1) * size.repeats)
    )


def compare(name: str, data: str, seed: int, size: argparse.Namespace) -> dict[str, Any]:
    """Run both arms, the one that comes first by turns, and score what they chose."""
    arms = ("sklearn", "hpo")[:: 1 if seed % 2 else -1]
    found = {arm: search(arm, name, data, seed, size) for arm in arms}
    for each in found.values():
        each["fresh"] = fresh(each.pop("params"), name, data, seed, size)
    return {"model": name, "data": data, "seed": seed, **found}


def told(results: Sequence[dict[str, Any]]) -> str:
    """Return a table by model and data set."""
    rows = []
    for name, data in dict.fromkeys((each["model"], each["data"]) for each in results):
        those = [each for each in results if (each["model"], each["data"]) == (name, data)]
        ratios = [each["hpo"]["seconds"] / each["sklearn"]["seconds"] for each in those]
        apart = [100 * (each["hpo"]["fresh"] - each["sklearn"]["fresh"]) for each in those]
        error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
        rows.append(
            [
                f"{name}, {data}",
                f"{statistics.median(each['sklearn']['seconds'] for each in those):.1f}",
                f"{statistics.geometric_mean(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
                f"{statistics.mean(e['hpo']['fits'] / e['sklearn']['fits'] for e in those):.2f}",
                f"{statistics.mean(each['hpo']['complete'] for each in those):.0f}",
                f"{statistics.mean(each['sklearn']['fresh'] for each in those):.4f}",
                f"{statistics.mean(apart):+.2f} ± {error:.2f}",
                len(those),
            ]
        )
    head = ["model, data", "RandomizedSearchCV, s", "hpo ÷ it", "fits ÷ its", "on all folds"]
    return table([*head, "its score, fresh folds", "hpo less it, points", "seeds"], rows)


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Compare, and print a line for each search and a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="sets of fresh folds")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=DATA)
    size = parser.parse_args(argv)
    results = []
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        tiny = argparse.Namespace(trials=2, folds=size.folds)
        search("hpo", "svc", "diabetes", 0, tiny)  # what is imported once is in no figure
        search("sklearn", "svc", "diabetes", 0, tiny)
        for seed in range(size.seeds):
            for name in size.models:
                for data in size.data:
                    results.append(compare(name, data, seed, size))
                    print(json.dumps(results[-1]), flush=True)
    print(f"{told(results)}\n\n{machine()}")
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
