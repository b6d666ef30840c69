"""Whether the scores can be believed: ``python tests/benchmarks/honest_scores.py PART``.

``shuffled``: nets on digits with shuffled labels, trained in batches. Whatever is above chance is
the luck of the choice. ``real``: searches on samples of up to 1,000 rows of real data; the truth is
the refitted winner's score on the many rows that were left out, and that of the same setting
trained on as many rows as a fold has. ``choose``: what each rule of choosing is worth on such rows,
and how often its winner is worse than the estimator's own settings or the first trial. ``gap``:
fixed models without any choice; how often the verdict on the held-out part is "more than chance".
``verdicts``: comparisons of values that make no difference. Without ``$HPO_DATA`` the sets of
scikit-learn alone are used.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from _bench import one_thread
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetClassifier

from hpo import Study, StudyData, run_study
from hpo._winner import CHOOSE, winner_of
from hpo.data.folder import data_folder
from hpo.modules import MLP
from hpo.result import StudyResult
from hpo.review import compare
from hpo.review.gap import gap_to_held_out
from hpo.trial import TrialRecord

TREE = {
    "max_depth": {"type": "int", "low": 1, "high": 12},
    "min_samples_leaf": {"type": "int", "low": 1, "high": 30, "log": True},
    "criterion": ["gini", "entropy"],
}
LOGISTIC = {"logisticregression__C": {"type": "float", "low": 1e-4, "high": 1e2, "log": True}}
NEIGHBORS = {
    "n_neighbors": {"type": "int", "low": 1, "high": 40},
    "weights": ["uniform", "distance"],
}
NET = {
    "lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
    "optimizer__weight_decay": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
}


def net(n_features: int, n_classes: int, max_epochs: int = 10) -> NeuralNetClassifier:
    """Return a perceptron."""
    return NeuralNetClassifier(
        MLP,
        module__n_features=n_features,
        module__n_classes=n_classes,
        module__hidden_units=16,
        module__n_layers=1,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        batch_size=64,
        iterator_train__drop_last=True,
        iterator_train__shuffle=True,
        max_epochs=max_epochs,
        train_split=None,
        verbose=0,
    )


def logistic() -> Any:
    """Return a scaled logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))


def searched(estimator: Any, space: Any, data: StudyData, **settings: Any) -> StudyResult:
    """Run a study in memory."""
    study = Study(
        name="honest",
        estimator=estimator,
        data=data,
        search_space=space,
        storage=None,
        tracker="null",
        analyses=(),
        sampler=settings.pop("sampler", "random"),
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_study(study)


# -- shuffled labels -----------------------------------------------------------------------------


def shuffled(
    n_studies: int, n_trials: int, n_rows: int = 200, *, folds: str = "auto"
) -> dict[str, float]:
    """Return how far scores are above chance where there is nothing to learn."""
    X, y = load_digits(return_X_y=True)
    X, y = (X / 16).astype("float32"), (y % 2).astype("int64")
    best, corrected, covered = [], [], 0
    for seed in range(n_studies):
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(X), n_rows, replace=False)
        labels = rng.permutation(np.arange(n_rows) % 2)
        data = StudyData(X=X[rows], y=labels)
        result = searched(
            net(64, 2),
            NET,
            data,
            n_trials=n_trials,
            seed=seed,
            executor="fused",
            refit=False,
            folds=folds,
        )
        assert result.corrected is not None
        best.append(result.best_score - 0.5)
        corrected.append(result.corrected.value - 0.5)
        covered += result.corrected.low <= 0.5 <= result.corrected.high
    return {
        "best_score above chance": float(np.mean(best)),
        "corrected above chance": float(np.mean(corrected)),
        "its error": float(np.std(corrected) / np.sqrt(n_studies)),
        "interval covers": covered / n_studies,
    }


# -- real data -----------------------------------------------------------------------------------


@cache
def sets() -> dict[str, tuple[Any, Any, Any, Any, int]]:
    """Return name: X, y, estimator, space, rows to search on."""
    digits, labels = load_digits(return_X_y=True)
    digits = (digits / 16).astype("float32")
    cancer, ill = load_breast_cancer(return_X_y=True)
    found = {
        "digits, net": (digits, labels, net(64, 10), NET, 300),
        "digits, neighbors": (digits, labels, KNeighborsClassifier(), NEIGHBORS, 200),
        "cancer, tree": (cancer, ill, DecisionTreeClassifier(random_state=0), TREE, 150),
        "cancer, logistic": (cancer, ill, logistic(), LOGISTIC, 150),
    }
    folder = data_folder()
    if folder is not None:
        path = folder / "covertype" / "covtype_random15000.csv.gz"
        table_ = np.loadtxt(path, delimiter=",", skiprows=1)
        X, y = table_[:, :-1].astype("float32"), table_[:, -1].astype("int64")
        keep = np.isin(y, (1, 2, 3, 7))
        X, y = X[keep], y[keep]
        tree = DecisionTreeClassifier(random_state=0)
        found["covertype, tree"] = (X, y, tree, TREE, 1000)
        found["covertype, logistic"] = (X, y, logistic(), LOGISTIC, 800)
        with np.load(folder / "fashion_mnist_part" / "fashion_mnist_part.npz") as part:
            images = next(part[k] for k in part.files if part[k].ndim >= 3 and len(part[k]) > 8000)
            names = next(part[k] for k in part.files if part[k].ndim == 1 and len(part[k]) > 8000)
        small = images.reshape(len(images), 14, 2, 14, 2).mean((2, 4)).reshape(len(images), -1)
        small = (small / 255).astype("float32")
        found["fashion, net"] = (small, names.astype("int64"), net(196, 10), NET, 500)
    return found


def samples(
    names: Sequence[str], n_seeds: int, n_trials: int, **settings: Any
) -> Iterator[tuple[str, int, Any, StudyData, StudyResult]]:
    """Yield for each data set and seed the estimator, the data, and the result of a search."""
    for name in names:
        X, y, estimator, space, n_rows = sets()[name]
        is_net = isinstance(estimator, NeuralNetClassifier)
        for seed in range(n_seeds):
            train, test = train_test_split(
                np.arange(len(X)), train_size=n_rows, random_state=seed, stratify=y
            )
            data = StudyData(X=X[train], y=y[train], X_test=X[test], y_test=y[test])
            executor = "fused" if is_net else "serial"
            found = searched(
                estimator,
                space,
                data,
                n_trials=n_trials,
                seed=seed,
                executor=executor,
                sampler=settings.get("sampler", "random"),
                choose=settings.get("choose", "best"),
                folds=settings.get("folds", "auto"),
            )
            yield name, seed, estimator, data, found


def with_settings_of(estimator: Any, record: TrialRecord, seed: int) -> Any:
    """Return an untrained estimator with a trial's parameters, and epochs if it has any."""
    made = clone(estimator).set_params(**record.trial.params)
    if isinstance(made, NeuralNetClassifier):
        torch.manual_seed(seed)
        made.set_params(max_epochs=record.refit_steps)
    return made


def score_of_folds(made: Any, data: StudyData, seed: int) -> float:
    """Return the mean score on the rows left out of models trained on four fifths of the rows."""
    folds = StratifiedKFold(5, shuffle=True, random_state=1000 + seed)
    scores = [
        clone(made).fit(data.X[rows], data.y[rows]).score(data.X_test, data.y_test)
        for rows, _ in folds.split(data.X, data.y)
    ]
    return float(np.mean(scores))


def real(
    names: Sequence[str], n_seeds: int, n_trials: int, *, folds: str = "auto"
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield for each data set how far scores are from those on the rows left out."""
    gaps: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for name, seed, estimator, data, result in samples(names, n_seeds, n_trials, folds=folds):
        corrected, truth = result.corrected, result.test_score
        assert corrected is not None
        assert truth is not None
        assert result.winner is not None
        made = with_settings_of(estimator, result.winner, seed)
        gaps[name].append(
            (
                result.best_score - truth,
                corrected.value - truth,
                corrected.value - score_of_folds(made, data, seed),
                corrected.low <= truth <= corrected.high,
                not gap_to_held_out(result)[1],
            )
        )
        if len(gaps[name]) == n_seeds:
            best, corrected_gap, of_folds, covers, expected = np.array(gaps[name], dtype=float).T
            yield (
                name,
                {
                    "bias of best": best.mean(),
                    "of corrected": corrected_gap.mean(),
                    "to models of folds": of_folds.mean(),
                    "spread": corrected_gap.std(),
                    "nearer": (np.abs(corrected_gap) < np.abs(best)).mean(),
                    "covers": covers.mean(),
                    "as expected": expected.mean(),
                },
            )


# -- which rule chooses best ---------------------------------------------------------------------


def choose(
    names: Sequence[str], n_seeds: int, n_trials: int, sampler: str
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield for each data set what the winner of each rule scores on the rows left out.

    ``worse``: the share of searches whose winner is worse there than the estimator's own settings,
    or than the first trial, by more than 1.96 standard errors of the difference, paired over rows.
    """
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for name, seed, estimator, data, result in samples(
        names, n_seeds, n_trials, choose="finalists", sampler=sampler
    ):
        right: dict[int | None, np.ndarray] = {}

        def rows(
            record: TrialRecord | None,
            right: dict[int | None, np.ndarray] = right,
            estimator: Any = estimator,
            data: StudyData = data,
            seed: int = seed,
        ) -> np.ndarray:
            """Return which rows left out a trial's settings get right; None: the own ones."""
            number = None if record is None else record.number
            if number not in right:
                torch.manual_seed(seed)
                made = clone(estimator)
                if record is not None:
                    made = with_settings_of(estimator, record, seed)
                predicted = made.fit(data.X, data.y).predict(data.X_test)
                right[number] = np.asarray(predicted == data.y_test, dtype=float)
            return right[number]

        ranked = result.top(n_trials)
        first = next(record for record in result.records if record.number == 0)
        chosen = [winner_of(ranked, rule, result.finalists) for rule in CHOOSE]
        answers = [rows(record) for record in (*chosen, None, first)]
        scores = [float(answer.mean()) for answer in answers]
        worse = [_is_worse(answers[i], answers[j]) for i in range(len(CHOOSE)) for j in (-2, -1)]
        found[name].append([*scores, *map(float, worse)])
        if len(found[name]) == n_seeds:
            values = np.array(found[name])
            figures = {}
            for i, rule in enumerate(CHOOSE):
                gain = values[:, i] - values[:, 0]
                figures[rule] = values[:, i].mean()
                figures[f"{rule} - best"] = gain.mean()
                figures[f"its error ({rule})"] = gain.std(ddof=1) / np.sqrt(n_seeds)
                for j, other in enumerate(("own settings", "first trial")):
                    figures[f"{rule} worse than {other}"] = values[:, 5 + 2 * i + j].mean()
            yield name, figures


def _is_worse(right: np.ndarray, others: np.ndarray) -> bool:
    gaps = right - others
    return bool(gaps.mean() < -1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps)))


# -- gaps without a choice, verdicts without a difference ------------------------------------------


def gap(n_splits: int) -> dict[str, float]:
    """Return how often fixed models' gaps are called more than chance."""
    digits, labels = load_digits(return_X_y=True)
    cancer, ill = load_breast_cancer(return_X_y=True)
    models = {
        "digits, neighbors": (digits, labels, KNeighborsClassifier(), {"p": [2]}),
        "cancer, tree": (cancer, ill, DecisionTreeClassifier(random_state=0), {"max_depth": [4]}),
        "cancer, logistic": (cancer, ill, logistic(), {"logisticregression__C": [1.0]}),
    }
    shares = {}
    for name, (X, y, estimator, space) in models.items():
        n_called = 0
        for seed in range(n_splits):
            X_, X_test, y_, y_test = train_test_split(
                X, y, test_size=0.3, random_state=seed, stratify=y
            )
            data = StudyData(X=X_, y=y_, X_test=X_test, y_test=y_test)
            result = searched(estimator, space, data, n_trials=1, seed=seed, sampler="grid")
            n_called += bool(gap_to_held_out(result)[1])
        shares[name] = n_called / n_splits
    return shares


def verdicts(n_families: int) -> float:
    """Return the share of comparisons on shuffled labels in which any value is called worse."""
    X, _ = load_digits(return_X_y=True)
    n_false = 0
    space = {"max_depth": [1, 2, 3, 5, 8, 12], "min_samples_leaf": [1, 5, 20]}
    for seed in range(n_families):
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(X), 200, replace=False)
        data = StudyData(X=X[rows], y=rng.permutation(np.arange(200) % 2))
        result = searched(
            DecisionTreeClassifier(random_state=0),
            space,
            data,
            n_trials=18,
            sampler="grid",
            compare=["max_depth"],
            pruner="nop",
            refit=False,
            seed=seed,
        )
        compared = compare(result)
        assert compared is not None
        n_false += any(group.verdict in {"worse", "better"} for group in compared.groups)
    return n_false / n_families


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure a part and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("shuffled", "real", "choose", "gap", "verdicts"))
    parser.add_argument("--n", type=int, default=20, help="studies, seeds, splits or families")
    parser.add_argument("--n-trials", type=int, default=30)
    parser.add_argument("--sampler", default="random", help="of the part choose")
    parser.add_argument("--sets", nargs="+", help="data sets of the parts real and choose")
    parser.add_argument(
        "--folds", default="auto", help="race or all, of the parts shuffled and real"
    )
    args = parser.parse_args(arguments)
    with one_thread():
        if args.part == "shuffled":
            found: dict[str, Any] = shuffled(args.n, args.n_trials, folds=args.folds)
        elif args.part in {"real", "choose"}:
            found, names = {}, args.sets or list(sets())
            parts = (
                real(names, args.n, args.n_trials, folds=args.folds)
                if args.part == "real"
                else choose(names, args.n, args.n_trials, args.sampler)
            )
            for name, figures in parts:
                found[name] = figures
                print(name, {k: round(float(v), 4) for k, v in figures.items()}, flush=True)
        elif args.part == "gap":
            found = gap(args.n)
        else:
            found = {"families with a false verdict": verdicts(args.n)}
    if args.part not in {"real", "choose"}:
        for name, value in found.items():
            print(f"| {name} | {value:.4f} |")
    return found


if __name__ == "__main__":
    main()
