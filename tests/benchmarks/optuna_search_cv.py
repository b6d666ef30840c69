"""hpo against OptunaSearchCV: ``python tests/benchmarks/optuna_search_cv.py``.

The same space (that of search_spaces/mlp.yaml, without the momentum: OptunaSearchCV knows no
conditions), the same sampler and seed, folds and epochs. OptunaSearchCV runs without pruning,
by which it saves nothing, in memory and untracked. hpo runs as it does by default: the median
pruner, a journal, every trial tracked to MLflow, all of it timed.

OptunaSearchCV is in a package of its own, which hpo does not need:
``pip install optuna-integration``.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import optuna
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
from optuna.distributions import BaseDistribution, CategoricalDistribution
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from hpo import SearchSpace, Study
from hpo.data import load_digits
from hpo.nets import RegularizedClassifier
from hpo.samplers.base import make_sampler

ROOT = Path(__file__).parents[2]
MISSING = "OptunaSearchCV is not installed: pip install optuna-integration"
THEIRS, SERIAL, PROCESSES = "OptunaSearchCV", "hpo, serial", "hpo, 2 processes"
TARGETS = {20: {SERIAL: 1.3, PROCESSES: 2.2}, 60: {SERIAL: 1.6, PROCESSES: 2.8}}


class Run(NamedTuple):
    """Wall time, the winner's scores (each fold's) at its last epoch, and the epochs trained.

    ``best`` is the score that hpo goes by, at the winner's best epoch.
    """

    seconds: float
    folds: tuple[float, ...]
    best: float
    epochs: int

    @property
    def score(self) -> float:
        """Mean score at the last epoch."""
        return mean(self.folds)

    @property
    def error(self) -> float:
        """Standard error of `score`."""
        return stdev(self.folds) / len(self.folds) ** 0.5


def space() -> SearchSpace:
    """Return the space that both search."""
    source = SearchSpace.load(ROOT / "search_spaces" / "mlp.yaml")
    return SearchSpace.load(
        {n: d for n, d in source.distributions.items() if n not in source.conditions}
    )


def their_space() -> dict[str, BaseDistribution]:
    """Return the same space as distributions over what the estimator takes: classes, not names."""
    ours = space()
    theirs = dict(ours.distributions)
    for name, distribution in theirs.items():
        if isinstance(distribution, CategoricalDistribution):
            choices = [ours.resolve({name: choice})[name] for choice in distribution.choices]
            theirs[name] = CategoricalDistribution(choices)
    return theirs


def run_theirs(study: Study, seed: int) -> Run:
    """Search with OptunaSearchCV."""
    from optuna_integration import OptunaSearchCV

    net = clone(study.estimator).set_params(max_epochs=study.epochs)
    sampler = make_sampler("tpe", seed, parallel=False)
    search = OptunaSearchCV(
        net,
        their_space(),
        cv=study.cv,
        n_trials=study.n_trials,
        scoring=study.scoring,
        refit=False,
        study=optuna.create_study(direction="maximize", sampler=sampler),
    )
    began = time.perf_counter()
    search.fit(study.data.X, study.data.y)
    seconds = time.perf_counter() - began
    kept = search.best_trial_.user_attrs
    folds = tuple(kept[f"split{i}_test_score"] for i in range(search.n_splits_))
    return Run(seconds, folds, search.best_score_, study.n_trials * study.epochs)


def run_ours(place: Workplace, study: Study, seed: int, **changes: Any) -> Run:
    """Search with hpo; the winner is the trial that is best at its last epoch, as for theirs."""
    timed = place.run(study.replace(seed=seed, **changes))
    complete = timed.result.top(study.n_trials)
    last = max((record.reports[-1] for record in complete), key=lambda step: step.value)
    return Run(timed.seconds, last.fold_values, timed.result.best_score, timed.result.epochs_run)


def make_study(n_trials: int, folds: int, epochs: int) -> Study:
    """Return what both search."""
    return Study(
        name="optuna_search_cv",
        estimator=digits_net(RegularizedClassifier),
        data=load_digits(),
        search_space=space(),
        scoring="accuracy",
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        epochs=epochs,
        n_trials=n_trials,
        sampler="tpe",
        pruner="median",
        refit=False,
    )


def arms_of(place: Workplace, study: Study) -> dict[str, Callable[[int], Run]]:
    """Return the three arms; each takes a seed."""
    return {
        THEIRS: partial(run_theirs, study),
        SERIAL: partial(run_ours, place, study),
        PROCESSES: partial(run_ours, place, study, executor="process", n_jobs=2),
    }


def rows_of(runs: dict[str, list[Run]], n_trials: int) -> tuple[list[tuple[Any, ...]], Any]:
    """Return the table's rows for one size, and the speed-ups by arm."""
    seconds = {name: [run.seconds for run in done] for name, done in runs.items()}
    faster = {name: ratio(seconds[THEIRS], seconds[name]) for name in runs}
    least = mean(run.score - run.error for run in runs[THEIRS])
    rows = []
    for name, done in runs.items():
        target = TARGETS.get(n_trials, {}).get(name)
        score, error = mean(run.score for run in done), mean(run.error for run in done)
        rows.append(
            (
                f"{name}, {n_trials} trials",
                f"{median(seconds[name]):.1f}",
                spread(seconds[THEIRS], seconds[name]),
                f">= {target} {verdict(faster[name] >= target)}" if target else "",
                f"{mean(run.epochs for run in done):.0f}",
                f"{score:.4f} ± {error:.4f}",
                "" if name == THEIRS else verdict(score >= least),
                f"{mean(run.best for run in done):.4f}",
            )
        )
    return rows, faster


def installed() -> bool:
    """Return whether OptunaSearchCV can be imported."""
    try:
        from optuna_integration import OptunaSearchCV  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from telling of every trial, of classes as choices and of what it will drop."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Choices for a categorical distribution", UserWarning)
        warnings.filterwarnings("ignore", "`optuna.terminator` module", FutureWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(level)


def main(argv: Sequence[str] | None = None) -> dict[tuple[str, int], float]:
    """Run the benchmark, print its table; return how many times faster each arm is."""
    size = sizes(__doc__, n_trials=[20, 60], folds=5, epochs=10, repeats=3).parse_args(argv)
    faster, rows = {}, []
    with one_thread(), quiet(), Workplace(not size.untracked) as place:
        if not installed():
            print(f"## Against OptunaSearchCV\n\n{MISSING}", flush=True)
            return {}
        for arm in arms_of(place, make_study(2, size.folds, 1)).values():
            arm(0)  # imports, the databases, and the server that workers are forked from
        for n_trials in size.n_trials:
            study = make_study(n_trials, size.folds, size.epochs)
            runs = in_turn(arms_of(place, study), size.repeats)
            more, ratios = rows_of(runs, n_trials)
            rows += more
            faster |= {(name, n_trials): value for name, value in ratios.items()}
    report(
        "Against OptunaSearchCV",
        f"Digits, search_spaces/mlp.yaml without momentum, {size.folds} folds x {size.epochs} "
        f"epochs, one thread a process, rounds: {size.repeats}, each of another seed. Times are "
        "medians, speed-ups medians (least-greatest) of the rounds. The score is the winner's "
        "mean over the folds at the last epoch ± its standard error, the mean of the rounds; "
        "the last column is the score at hpo's best epoch.",
        table(
            ("arm", "s", "times faster", "target", "epochs", "best score", "within 1 s.e.", "best"),
            rows,
        ),
    )
    return faster


if __name__ == "__main__":
    main(sys.argv[1:])
