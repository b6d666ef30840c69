"""What types the parameters of an `HPOSearchCV` may have, in scikit-learn's form."""

from numbers import Integral, Real
from typing import Any

from hpo._winner import CHOOSE
from hpo.backends.base import BaseBackend
from hpo.pruners import BasePruner
from hpo.search_cv._sklearn_parts import inherited_constraints, interval, one_of
from hpo.trackers import BaseTracker
from hpo.trial import SELECT

__all__ = ["CONSTRAINTS"]

_NAMES = [list, tuple]
_POSITIVE = interval(Integral, 1, closed="left")

CONSTRAINTS: dict[str, Any] = {
    **inherited_constraints(),
    "estimator": "no_validation",  # checked in fit, with a better message
    "search_space": "no_validation",
    "n_trials": [*_POSITIVE, None],
    "timeout": [*interval(Real, 0, closed="neither"), None],
    "trial_timeout": [*interval(Real, 0, closed="neither"), None],
    "max_total_epochs": [*_POSITIVE, None],
    "backend": [str, BaseBackend],
    "sampler": "no_validation",
    "pruner": [str, BasePruner, None],
    "executor": [str, callable, None],
    "n_threads": _POSITIVE,
    "device": [str, None],
    "storage": [str, None],
    "checkpoint_every": [*interval(Real, 0, closed="left"), *one_of("auto"), None],
    "study_name": [str, None],
    "extend": ["boolean"],
    "accept_code": ["boolean"],
    "tracker": [str, BaseTracker, None],
    "tracking_uri": [str, None],
    "costs": _NAMES,
    "random_state": ["random_state"],
    "fail_fast": [*_POSITIVE, None],
    "repeats": _POSITIVE,
    "out_of_fold_mb": interval(Real, 0, closed="left"),
    "epochs": [*_POSITIVE, None],
    "eval_every": [*_POSITIVE, None],
    "enqueue": "no_validation",
    "baseline": ["boolean"],
    "add_trials": "no_validation",
    "select": one_of(*SELECT),
    "choose": one_of(*CHOOSE),
    "folds": one_of("auto", "race", "all"),
    "keep": one_of("winner", "all"),
    "compare": [*_NAMES, None],
    "watch": _NAMES,
    "analyses": [*_NAMES, None],
}
