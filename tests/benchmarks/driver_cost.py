"""What the driver costs: ``python tests/benchmarks/driver_cost.py``.

The wall time of a study (pruning off, a journal, tracked to an SQLite MLflow), from
its first check to the last value sent, over that of the same skorch fits and scores in a bare
loop. hpo loads whole minibatches at once and skorch row by row, which hides part of the
driver's cost; so the two are also compared with each other's loading.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from _bench import (
    Workplace,
    digits_net,
    in_turn,
    one_thread,
    ratio,
    report,
    sizes,
    spread,
    table,
    verdict,
)
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from skorch import NeuralNet

from hpo import Study
from hpo.data import load_digits
from hpo.training._batches import load_whole_batches
from hpo.training._hooks import listen

SPACE = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "optimizer__weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True},
    "module__dropout": {"type": "float", "low": 0.0, "high": 0.5},
}
TARGET = 1.15

BARE, BARE_WHOLE = "bare loop", "bare loop, whole batches"
STUDY, STUDY_ROWS = "study", "study, row by row"
PAIRS = {
    "as they are": (STUDY, BARE),
    "both load row by row": (STUDY_ROWS, BARE),
    "both load whole batches": (STUDY, BARE_WHOLE),
}

Params = Mapping[str, Any]


class Run(NamedTuple):
    """Seconds from start to end, seconds of the trials, and the mean score of the last epochs."""

    seconds: float
    trials: float
    score: float


def row_by_row(get_iterator: Any, dataset: Any, training: bool = False) -> Any:
    """Return the loader that skorch makes."""
    return get_iterator(dataset, training=training)


class Loading:
    """Lets a net load by ``load`` inside the block."""

    def __init__(self, net: Any, load: Callable[..., Any]) -> None:
        self._end = listen(net, [(NeuralNet, "get_iterator", load)], self)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._end()


def run_study_arm(place: Workplace, study: Study, points: Sequence[Params]) -> Run:
    """Run ``study``, which must draw ``points``."""
    timed = place.run(study)
    records = timed.result.records
    if [record.trial.params for record in records] != list(points):
        raise RuntimeError("The study drew other parameters than the bare loop is given.")
    score = mean(record.reports[-1].value for record in records)
    return Run(timed.seconds, timed.result.seconds, score)


def run_study_by_rows(place: Workplace, study: Study, points: Sequence[Params]) -> Run:
    """Run ``study`` with skorch's own loading."""
    with patch("hpo.training._stepped_fit.load_whole_batches", row_by_row):
        return run_study_arm(place, study, points)


def run_bare(study: Study, points: Sequence[Params], load: Callable[..., Any]) -> Run:
    """Fit and score every point on every fold."""
    data, scores = study.data, []
    began = time.perf_counter()
    for params in points:
        for train, valid in study.cv.split(data.X, data.y):
            X, y, X_valid, y_valid = data.X[train], data.y[train], data.X[valid], data.y[valid]
            net = clone(study.estimator).set_params(**params)
            with Loading(net, load):
                net.initialize()
                net.notify("on_train_begin", X=X, y=y)
                for _ in range(study.epochs):
                    net.fit_loop(X, y, epochs=1)
                    score = net.score(X_valid, y_valid)
                net.notify("on_train_end", X=X, y=y)
            scores.append(score)
    seconds = time.perf_counter() - began
    return Run(seconds, seconds, mean(scores))


def make_study(n_trials: int, folds: int, epochs: int) -> Study:
    """Return the study: an MLP of two layers of 64 on the digits, batches of 64."""
    return Study(
        name="driver_cost",
        estimator=digits_net(batch_size=64, optimizer=torch.optim.Adam),
        data=load_digits(),
        search_space=SPACE,
        scoring="accuracy",
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        epochs=epochs,
        n_trials=n_trials,
        sampler="random",  # the same points whatever the scores
        pruner="nop",
        refit=False,
    )


def measure(place: Workplace, study: Study, repeats: int) -> dict[str, list[Run]]:
    """Run the four arms in turn, after a short study that warms up and draws the points."""
    warm = place.run(study.replace(epochs=1)).result
    points = [record.trial.params for record in warm.records]
    run_bare(study.replace(epochs=1), points[:1], row_by_row)
    arms = {
        BARE: lambda _: run_bare(study, points, row_by_row),
        STUDY: lambda _: run_study_arm(place, study, points),
        STUDY_ROWS: lambda _: run_study_by_rows(place, study, points),
        BARE_WHOLE: lambda _: run_bare(study, points, load_whole_batches),
    }
    return in_turn(arms, repeats)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the benchmark, print its tables and return the ratios."""
    size = sizes(__doc__, n_trials=20, folds=5, epochs=10, repeats=5).parse_args(argv)
    with one_thread(), Workplace(not size.untracked) as place:
        study = make_study(size.n_trials, size.folds, size.epochs)
        runs = measure(place, study, size.repeats)
    seconds = {name: [run.seconds for run in done] for name, done in runs.items()}
    ratios = {pair: ratio(seconds[a], seconds[b]) for pair, (a, b) in PAIRS.items()}
    report(
        "Driver's cost",
        f"{size.n_trials} trials x {size.folds} folds x {size.epochs} epochs of digits, MLP "
        f"2 x 64, batches of 64, one thread, serial; medians of {size.repeats} rounds "
        "(least-greatest).",
        arms_table(runs),
        ratios_table(runs),
    )
    return ratios


def arms_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return how long each arm took."""
    rows = [
        (
            name,
            f"{median(run.seconds for run in done):.2f}",
            f"{median(run.trials for run in done):.2f}",
            f"{mean(run.score for run in done):.3f}",
        )
        for name, done in runs.items()
    ]
    return table(("arm", "whole run, s", "trials alone, s", "mean score"), rows)


def ratios_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return how the arms compare."""
    seconds = {name: [run.seconds for run in done] for name, done in runs.items()}
    trials = {name: [run.trials for run in done] for name, done in runs.items()}
    rows = [
        (
            pair,
            spread(seconds[a], seconds[b]),
            spread(trials[a], trials[b]),
            f"<= {TARGET}",
            verdict(ratio(seconds[a], seconds[b]) <= TARGET),
        )
        for pair, (a, b) in PAIRS.items()
    ]
    return table(("study / bare loop", "whole run", "trials alone", "target", "whole run is"), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
