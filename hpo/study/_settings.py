"""What a study asks for, as trackers show it: limits, what is fixed of the estimator, data."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from skorch import NeuralNet

from hpo.data import StudyData
from hpo.space import SearchSpace
from hpo.study.definition import Study
from hpo.training.adapters import last_step, steps_of
from hpo.training.indexing import n_samples

__all__ = ["asked_for", "facts_of_data"]

_LIMITS = (
    "n_trials",
    "timeout",
    "trial_timeout",
    "max_total_epochs",
    "epochs",
    "eval_every",
    "repeats",
    "nested",
    "choose",
    "folds",
    "refit",
    "n_jobs",
    "n_threads",
    "device",
)
_MOST_FIXED = 60
_OF_SKORCH = re.compile(
    r"(^|__)(verbose$|callbacks__(epoch_timer|train_loss|valid_loss|valid_acc|print_log)__)"
)
"""What says nothing of a search: the callbacks that every skorch net has."""
_Plain = bool | int | float | str


def asked_for(study: Study, space: SearchSpace) -> dict[str, Any]:
    """Return the limits of a study that are set, and what is fixed of its estimator.

    Of the estimator's parameters these are the ones that are not searched, plain values, and other
    than the defaults.
    """
    limits = {name: getattr(study, name) for name in _LIMITS}
    limits = {name: value for name, value in limits.items() if value is not None}
    fixed = _fixed(study.estimator, space)
    if not any(name.rpartition("__")[2] == "max_epochs" for name in space):
        # The study's own number of epochs counts, whatever the net says.
        fixed = {n: v for n, v in fixed.items() if n.rpartition("__")[2] != "max_epochs"}
        if isinstance(last_step(study.estimator), NeuralNet):
            limits["max_epochs"] = steps_of(study.estimator, {}, limits.pop("epochs", None))
    return {**fixed, **limits}


def _fixed(estimator: Any, space: SearchSpace) -> dict[str, Any]:
    try:
        params: Mapping[str, Any] = estimator.get_params(deep=True)
    except Exception:  # the estimator's own code
        return {}
    fixed = {}
    for name, value in sorted(params.items()):
        owner, _, last = name.rpartition("__")
        defaults = _defaults(params.get(owner) if owner else estimator)
        is_default = last in defaults and _same(defaults[last], value)
        known = is_default or name in space or _OF_SKORCH.search(name)
        if isinstance(value, _Plain) and not known:
            fixed[name] = value
    return dict(list(fixed.items())[:_MOST_FIXED])


def _defaults(owner: Any) -> dict[str, Any]:
    """Return the defaults of an estimator's arguments, those of its bases included."""
    defaults: dict[str, Any] = {}
    for cls in reversed(type(owner).__mro__):
        if "__init__" in vars(cls) and cls is not object:
            try:
                signature = inspect.signature(vars(cls)["__init__"])
            except (TypeError, ValueError):
                continue
            defaults |= {name: p.default for name, p in signature.parameters.items()}
    return defaults


def _same(default: Any, value: Any) -> bool:
    return type(default) is type(value) and bool(default == value)


def facts_of_data(study: Study, data: StudyData, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data's name, digest and shapes: what a run in MLflow has as its input."""
    name = getattr(study.data, "__name__", "") if callable(study.data) else ""
    name = name.removeprefix("load_")
    part = fingerprint.get("parts", {}).get("data")
    facts: dict[str, Any] = {
        "name": name if name.isidentifier() else study.name,
        "digest": str(part[1])[:36] if part else "",
        "n_samples": n_samples(data.X),
        "shape": _shape(data.X),
        "columns": [str(name) for name in getattr(data.X, "columns", ())][:200],
        "source": data.source or "",
    }
    if data.X_test is not None:
        facts["n_test"] = n_samples(data.X_test)
    return facts


def _shape(X: Any) -> list[int]:
    """Return the shape of an array, or what is known of it; empty if it has none."""
    shape = getattr(X, "shape", None)
    try:
        return [int(size) for size in (np.shape(X) if shape is None else shape)]
    except (TypeError, ValueError):
        return []
