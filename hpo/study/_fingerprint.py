"""What makes two runs the same study, part by part."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
import torch

from hpo.training.objective import Objective

__all__ = ["differences", "fingerprint"]


def fingerprint(objective: Objective, space: str, seed: int, scoring: Any) -> dict[str, str]:
    """Return a hash of each part that a study's scores depend on.

    Parameters
    ----------
    objective : Objective
        Estimator, data and folds.
    space : str
        Fingerprint of the search space.
    seed : int
    scoring : object
        As the study was given it.
    """
    parts = {
        "search space": space,
        "estimator": _describe(objective.estimator),
        "data": [_arrays(objective.X), _arrays(objective.y)],
        "folds": [list(pair) for pair in objective.splits],
        "scoring": [_describe(scoring), objective.scoring.metric],
        "epochs": [objective.epochs, objective.eval_every]
        if objective.eval_every
        else objective.epochs,
        "seed": seed,
    }
    return {name: str(joblib.hash(part)) for name, part in parts.items()}


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that differ."""
    return [name for name in new if old.get(name) != new[name]]


def _arrays(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _arrays(value) for key, value in data.items()}
    if isinstance(data, torch.Tensor):
        return np.asarray(data.detach().cpu())
    return data


def _describe(thing: Any) -> Any:
    """Return what is stable of an object from run to run: names and plain values, no addresses."""
    if isinstance(thing, Mapping):
        return {str(key): _describe(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_describe(item) for item in thing]
    if isinstance(thing, set | frozenset):  # in another order in each process
        return sorted(json.dumps(_describe(item), sort_keys=True) for item in thing)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return getattr(thing, "__qualname__", type(thing).__qualname__)
    plain = isinstance(thing, str | int | float | bool | None)
    return repr(thing) if plain else [type(thing).__qualname__, _settings(thing)]


def _settings(thing: Any) -> str:
    """Return the parameters of an estimator as text; empty for anything else."""
    try:
        params = thing.get_params(deep=False)
    except (TypeError, ValueError, AttributeError):
        return ""
    return json.dumps({k: _describe(v) for k, v in params.items()}, sort_keys=True)
