"""Tables of learning curves by fold, as tasks: what a setting's folds score after each epoch.

They lie in ``$HPO_DATA/curves/folds`` and in ``$HPO_FOLD_TABLES``, where `fold_tables` may have
trained more.
"""

import json
import math
import os
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from curves import Scale, folder

WEIGHTS = {"lr": 2.0, "optimizer": 1.0}
"""How much a parameter counts when the nearest setting is looked up; 0.5 where it is not named."""


class FoldTable:
    """Scores of some hundred settings of a net on each fold; a proposal is its nearest setting.

    Parameters
    ----------
    path : Path
        Of an ``npz`` with ``curves[setting, epoch, fold]`` and ``params[setting]``, and maybe
        ``fresh``, the same on folds that no search sees.
    """

    family = "folds"

    def __init__(self, path: Path) -> None:
        self.name = f"folds-{path.stem}"
        with np.load(path) as file:
            self.curves = file["curves"].astype(float)
            self.fresh = file["fresh"].astype(float) if "fresh" in file else None
            params = [_read(each) for each in file["params"].tolist()]
            space = _read(str(file["space"])) if "space" in file else _space_of(params)
        self.space: Mapping[str, Mapping[str, Any]] = space
        self.params = params
        self.n_settings, self.n_steps, self.n_folds = self.curves.shape
        self._pool = np.array([self._point(each) for each in params])
        self.means = self.curves.mean(axis=2)
        """``n_settings x n_steps``: what lock-step reports."""
        self.values = self.means.max(axis=1)
        self.steps = self.means.argmax(axis=1)

    def _point(self, params: Mapping[str, Any]) -> list[float]:
        found = []
        for name, spec in self.space.items():
            weight, value = WEIGHTS.get(name, 0.5), params[name]
            if spec["type"] == "float":
                low, high = spec["low"], spec["high"]
                if spec.get("log"):
                    low, high, value = math.log(low), math.log(high), math.log(value)
                found.append(weight * (value - low) / (high - low))
            elif isinstance(value, str):
                found += [weight * (value == choice) / math.sqrt(2) for choice in spec["choices"]]
            else:
                choices = sorted(spec["choices"])
                found.append(weight * choices.index(value) / max(1, len(choices) - 1))
        return found

    def nearest(self, params: Mapping[str, Any], without: Collection[int] = ()) -> int:
        """Return the setting that is nearest to ``params``, of those that are left."""
        apart = ((self._pool - self._point(params)) ** 2).sum(axis=1)
        apart[list(without)] = math.inf
        return int(apart.argmin())

    def curve(self, params: Mapping[str, Any]) -> np.ndarray:
        """Return the mean scores of the folds after each epoch."""
        return self.means[self.nearest(params)]

    @cached_property
    def scale(self) -> Scale:
        """The best and the median of the settings."""
        return Scale(float(self.values.max()), float(np.median(self.values)))

    @cached_property
    def fresh_values(self) -> np.ndarray | None:
        """What each setting scores on fresh folds at the epoch that cross-validation chooses."""
        if self.fresh is None:
            return None
        return self.fresh.mean(axis=2)[np.arange(self.n_settings), self.steps]


def _read(text: str) -> dict[str, Any]:
    """Return what JSON says, with optimizers by their bare names: no search need import them."""
    return dict(json.loads(text.replace("torch.optim.", "")))


def _space_of(params: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the space that settings were drawn from, as they tell it."""
    space: dict[str, dict[str, Any]] = {}
    for name in params[0]:
        values = [each[name] for each in params]
        if isinstance(values[0], float):
            by_ratio = min(values) > 0 and max(values) / min(values) > 1_000
            if name == "lr":
                by_ratio = True
            space[name] = {"type": "float", "low": min(values), "high": max(values)}
            space[name] |= {"log": True} if by_ratio and "dropout" not in name else {}
        else:
            space[name] = {"type": "categorical", "choices": sorted(set(values))}
    return space


def fold_tables() -> list[FoldTable]:
    """Return the tables of both folders."""
    folders = [folder() / "folds"]
    folders += [Path(more)] if (more := os.environ.get("HPO_FOLD_TABLES")) else []
    return [FoldTable(path) for each in folders for path in sorted(each.glob("*.npz"))]
