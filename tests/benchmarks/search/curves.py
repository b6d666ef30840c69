"""The tasks that searches are tried on: learning curves of LCBench's surrogate and of TaskSet.

Both lie under ``$HPO_DATA/curves``. A task gives the search space, the scores of a trial's epochs
(greater is better) and the two figures that its regrets are measured with.
"""

import json
import os
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

Params = Mapping[str, Any]


class Scale(NamedTuple):
    """What a regret of 0 and of 1 is: the best score known, and the median one."""

    best: float
    median: float


def folder() -> Path:
    """Return where the curves lie."""
    return Path(os.environ["HPO_DATA"]) / "curves"


@cache
def tasks() -> list["LCBench | TaskSet"]:
    """Return all tasks, those of LCBench first; each finds its scale but once."""
    return [*map(LCBench, lcbench_names()), *map(TaskSet, range(6))]


# -- LCBench ---------------------------------------------------------------------------------


@cache
def lcbench_names() -> list[str]:
    """Return the OpenML tasks that the surrogate was made for."""
    space = json.loads((folder() / "lcbench_surrogate/config_space.json").read_text())
    by_name = {each["name"]: each for each in space["hyperparameters"]}
    return list(by_name["OpenML_task_id"]["choices"])


@cache
def _codes() -> dict[str, int]:
    text = (folder() / "lcbench_surrogate/encoding.json").read_text()
    return dict(json.loads(text)["OpenML_task_id"])


@cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(folder() / "lcbench_surrogate/model.onnx", options)


class LCBench:
    """Validation accuracy (percent) of a funnel MLP on one OpenML task, as a surrogate predicts it.

    Parameters
    ----------
    openml : str
        Number of the task.
    """

    family = "LCBench"
    n_steps = 52
    space: ClassVar[Params] = {
        "batch_size": {"type": "int", "low": 16, "high": 512, "log": True},
        "learning_rate": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "momentum": {"type": "float", "low": 0.1, "high": 0.99},
        "weight_decay": {"type": "float", "low": 1e-5, "high": 0.1},
        "num_layers": {"type": "int", "low": 1, "high": 5},
        "max_units": {"type": "int", "low": 64, "high": 1024, "log": True},
        "max_dropout": {"type": "float", "low": 0.0, "high": 1.0},
    }

    def __init__(self, openml: str) -> None:
        self.name = f"lcbench-{openml}"
        self._code = _codes()[openml]

    def curve(self, params: Params) -> np.ndarray:
        """Return the scores of the epochs 1-52."""
        return self._predict(np.array([[params[name] for name in self.space]]))[0]

    def _predict(self, settings: np.ndarray) -> np.ndarray:
        """Return ``n_settings x 52`` scores."""
        n, steps = len(settings), np.arange(1.0, self.n_steps + 1)
        rows = np.column_stack([np.tile(steps, n), settings.repeat(self.n_steps, axis=0)])
        code = np.full((len(rows), 1), self._code, dtype=np.int32)
        inputs = {"x_cat": code, "x_cont": rows.astype(np.float32)}
        (output,) = _session().run(None, inputs)
        return output[:, 1].reshape(n, self.n_steps).astype(float)

    @cached_property
    def scale(self) -> Scale:
        """The median of 1,000 random settings, and the best that hill climbing from them finds."""
        rng = np.random.default_rng(0)
        points = rng.random((1000, len(self.space)))
        scores = self._best_of(points)
        median = float(np.median(scores))
        for width in (0.1, 0.05, 0.02, 0.01):
            top = points[np.argsort(-scores)[:20]]
            near = np.clip(top.repeat(20, 0) + rng.normal(0, width, (400, points.shape[1])), 0, 1)
            points = np.concatenate([top, near])
            scores = self._best_of(points)
        return Scale(float(scores.max()), median)

    def _best_of(self, points: np.ndarray) -> np.ndarray:
        columns = []
        for share, spec in zip(points.T, self.space.values(), strict=True):
            low, high = spec["low"], spec["high"]
            by_ratio = spec.get("log")
            column = low * (high / low) ** share if by_ratio else low + share * (high - low)
            columns.append(np.round(column) if spec["type"] == "int" else column)
        return self._predict(np.column_stack(columns)).max(axis=1)


# -- TaskSet ---------------------------------------------------------------------------------

WEIGHTS = {
    "learning_rate": 5.0,
    "one_minus_beta1": 0.25,
    "one_minus_beta2": 0.33,
    "epsilon": 2.0,
    "l1": 2.0,
    "l2": 1.0,
    "linear_decay": 0.5,
    "exponential_decay": 0.5,
}
"""How much a parameter counts when the nearest setting is looked up.

Under these the nearest other setting tells a setting's rank best (correlation 0.76 over the six
tasks, 0.50 with equal weights). They are those of the lookup; no search knows them.
"""


@cache
def _taskset() -> tuple[list[str], np.ndarray, list[np.ndarray]]:
    """Return names, ``1,000 x 8`` settings and ``1,000 x 51`` validation losses of each task."""
    with np.load(folder() / "taskset_text_rnn.npz") as file:
        settings = file["hp"].astype(float)
        settings[:, 1:3] = 1 - settings[:, 1:3]  # the betas: what they lack to 1 is drawn by logs
        losses = [file[f"loss_{i}"][:, 1].astype(float) for i in range(6)]
        return [str(name) for name in file["tasks"]], settings, losses


class TaskSet:
    """Validation loss of a text RNN under Adam: the real curve of the nearest of 1,000 settings.

    Scores are losses below zero. A loss that is not finite, or greater than that before the
    training, counts as the latter: diverged trainings are all alike, and 1e34 is no score.

    Parameters
    ----------
    number : int
        Of the task, from 0.
    """

    family = "TaskSet"
    n_steps = 50

    def __init__(self, number: int) -> None:
        names, settings, losses = _taskset()
        self.name = f"taskset-{number}-{names[number].removeprefix('FixedTextRNNClassification_')}"
        low, high = settings.min(axis=0), settings.max(axis=0)
        self.space = {
            name: {"type": "float", "low": float(a), "high": float(b), "log": True}
            for name, a, b in zip(WEIGHTS, low, high, strict=True)
        }
        self._low, self._width = np.log(low), np.log(high) - np.log(low)
        self._pool = self._unit(settings)
        loss = losses[number]
        untrained = float(np.nanmedian(loss[:, 0]))
        self._scores = -np.minimum(np.where(np.isfinite(loss), loss, untrained), untrained)[:, 1:]

    def _unit(self, settings: np.ndarray) -> np.ndarray:
        return (np.log(settings) - self._low) / self._width * np.array(list(WEIGHTS.values()))

    def curve(self, params: Params) -> np.ndarray:
        """Return the scores of the steps 1-50."""
        point = self._unit(np.array([params[name] for name in WEIGHTS]))
        return self._scores[((self._pool - point) ** 2).sum(axis=1).argmin()]

    @cached_property
    def scale(self) -> Scale:
        """The best and the median of the 1,000 settings."""
        best = self._scores.max(axis=1)
        return Scale(float(best.max()), float(np.median(best)))
