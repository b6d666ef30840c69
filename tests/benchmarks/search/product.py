"""The product's own search on a fold table: `run_study` with an estimator that trains nothing.

`TableEstimator` has the parameters of a table's settings. A ``partial_fit`` is one more epoch, and
its ``score`` is what the table says of that epoch on the fold whose rows it is given. All else is
hpo: storage, folds, race, pruner, sampler, executor.
"""

import time
import warnings
from typing import Any

import numpy as np
from folds import FoldTable
from replay import Arm
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold

from hpo import Study, run_study
from hpo.data import StudyData
from hpo.trial import TrialState, derive_seed

ROWS_A_FOLD = 2


class _Pool:
    """Which setting of a table stands for which parameters in one search; none for two of them."""

    def __init__(self, table: FoldTable) -> None:
        self.table = table
        self._known: dict[tuple[Any, ...], int] = {}

    def setting(self, params: dict[str, Any]) -> int:
        key = tuple(params.values())
        if key not in self._known:
            if len(self._known) == self.table.n_settings:
                raise RuntimeError("no setting is left")
            self._known[key] = self.table.nearest(params, self._known.values())
        return self._known[key]


_POOLS: dict[str, _Pool] = {}


class TableEstimator(BaseEstimator):
    """Scores as a table says.

    Parameters
    ----------
    pool : str
        Name of the search.
    **params
        A setting of its table, under names without ``__``.
    """

    def __init__(self, pool: str = "", **params: Any) -> None:
        self.pool = pool
        vars(self).update(params)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: getattr(self, name) for name in vars(self) if not name.endswith("_")}

    def set_params(self, **params: Any) -> "TableEstimator":
        vars(self).update(params)
        return self

    def fit(self, X: np.ndarray, y: np.ndarray) -> "TableEstimator":
        self.epoch_ = self._pool.table.n_steps
        return self

    def partial_fit(self, X: np.ndarray, y: np.ndarray) -> "TableEstimator":
        self.epoch_ = getattr(self, "epoch_", 0) + 1
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))

    def score(self, X: np.ndarray, y: np.ndarray) -> float:
        pool, fold = self._pool, int(X[0, 0]) // ROWS_A_FOLD
        setting = pool.setting({name: getattr(self, short(name)) for name in pool.table.space})
        return float(pool.table.curves[setting, self.epoch_ - 1, fold])

    @property
    def _pool(self) -> _Pool:
        return _POOLS[self.pool]


def short(name: str) -> str:
    """Return a parameter's name without ``__``, which scikit-learn takes for a nested one."""
    return name.replace("__", "_")


def search(table: FoldTable, arm: Arm, seed: int, n_units: int) -> dict[str, Any]:
    """Search ``table`` for ``n_units`` full trainings' worth of epochs of all folds."""
    own = derive_seed(seed, table.name) % 2**31  # paired over the arms
    pool = _POOLS[table.name] = _Pool(table)
    X = np.arange(float(ROWS_A_FOLD * table.n_folds))[:, None]
    own_settings = table.params[own % table.n_settings]  # where a user begins: trial 0
    began = time.process_time()
    study = Study(
        name=table.name,
        estimator=TableEstimator(table.name, **{short(n): v for n, v in own_settings.items()}),
        data=StudyData(X=X, y=X[:, 0]),
        search_space={short(name): dict(spec) for name, spec in table.space.items()},
        cv=KFold(table.n_folds),
        epochs=table.n_steps,
        n_trials=table.n_settings,
        max_total_epochs=n_units * table.n_steps,
        sampler=arm.sampler,
        pruner=arm.pruner,
        folds=arm.folds,
        seed=own,
        storage=None,
        tracker="null",
        analyses=[],
        out_of_fold_mb=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run_study(study)
    spent, best, choices = 0.0, -np.inf, []
    for record in sorted(result.records, key=lambda record: record.number):
        spent += record.n_steps / table.n_steps
        if record.state is TrialState.COMPLETE and record.value > best:
            best = record.value
            params = {name: record.trial.params[short(name)] for name in table.space}
            choices.append((spent, pool.setting(params)))
    chosen = []
    for unit in range(1, n_units + 1):
        so_far = [setting for at, setting in choices if at <= unit + 1e-9]
        chosen.append(so_far[-1] if so_far else None)
    return {
        "task": table.name,
        "family": table.family,
        "arm": arm.name,
        "seed": seed,
        "chosen": _of(table.values, chosen),
        "fresh": None if table.fresh_values is None else _of(table.fresh_values, chosen),
        "n_trials": len(result.records),
        "n_complete": sum(r.state is TrialState.COMPLETE for r in result.records),
        "seconds": round(time.process_time() - began, 2),
    }


def _of(values: np.ndarray, settings: list[int | None]) -> list[float | None]:
    return [None if setting is None else float(values[setting]) for setting in settings]
