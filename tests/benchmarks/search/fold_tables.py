"""Trains tables of learning curves by fold: ``python fold_tables.py --to /tmp/fold_tables``.

One ``NAME.npz`` a data set, as those of ``$HPO_DATA/curves/folds``: ``params[setting]`` as JSON,
``curves[setting, epoch, fold]``, ``losses`` of the same validation parts, and ``fresh``, the scores
of the same settings on five other folds, trained anew, which no search sees: a winner's worth.
Minutes of one core for each of them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from batched_nets import in_groups, train
from curves import folder
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold
from torch.nn import functional as F

from hpo.trial import derive_seed

N_SETTINGS, N_EPOCHS, N_FOLDS = 300, 20, 5
SPLIT, FRESH = 0, 1
"""Seeds of the folds that a search sees and of those that it does not."""


class Data(NamedTuple):
    """A data set: inputs, and whole numbers (classes) or others (a regression)."""

    X: np.ndarray
    y: np.ndarray


class Table(NamedTuple):
    """What a table is made of.

    Parameters
    ----------
    kind : str
        Of net; see `batched_nets.KINDS`.
    data : callable
    space : mapping
        Choices of what shapes the batches, added to the ranges that all tables have.
    """

    kind: str
    data: Callable[[], Data]
    space: Mapping[str, Sequence[Any]]


RANGES = {
    "lr": {"type": "float", "low": 1e-4, "high": 0.3, "log": True},
    "optimizer__weight_decay": {"type": "float", "low": 1e-6, "high": 0.03, "log": True},
    "module__dropout": {"type": "float", "low": 0.0, "high": 0.7},
}
OPTIMIZERS = ["torch.optim.SGD", "torch.optim.Adam", "torch.optim.RMSprop"]


def shapes(batches: Sequence[int], sizes: Sequence[int], depths: Sequence[int]) -> dict[str, Any]:
    """Return the choices of perceptrons and residual nets."""
    return {
        "optimizer": OPTIMIZERS,
        "batch_size": batches,
        "module__hidden_units": sizes,
        "module__n_layers": depths,
    }


def filters(batches: Sequence[int], channels: Sequence[int]) -> dict[str, Any]:
    """Return the choices of convolutional nets."""
    return {
        "optimizer": OPTIMIZERS,
        "batch_size": batches,
        "module__channels": channels,
        "module__n_layers": [1, 2],
    }


# -- Data ------------------------------------------------------------------------------------


def _scaled(X: np.ndarray) -> np.ndarray:
    X = X.astype(np.float64)
    return ((X - X.mean(0)) / np.maximum(X.std(0), 1e-8)).astype(np.float32)


def _some(X: np.ndarray, y: np.ndarray, n: int) -> Data:
    rows = np.random.default_rng(0).permutation(len(y))[:n]
    return Data(_scaled(X[rows]), np.unique(y[rows], return_inverse=True)[1])


def cancer() -> Data:
    return _some(*datasets.load_breast_cancer(return_X_y=True), 300)


def diabetes() -> Data:
    X, y = datasets.load_diabetes(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:440]
    return Data(_scaled(X[rows]), _scaled(y[rows]))


def covertype(n: int) -> Data:
    path = folder().parent / "covertype/covtype_random15000.csv.gz"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return _some(table[:, :-1], table[:, -1], n)


def covertype_balanced() -> Data:
    path = folder().parent / "covertype/covtype_first20000.csv.gz"
    table = np.loadtxt(path, delimiter=",", max_rows=15_120)
    return _some(table[:, :-1], table[:, -1], 2_000)


def digits() -> Data:
    X, y = datasets.load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:600]
    return Data(patches(X[rows].reshape(-1, 8, 8) / 16), y[rows])


def digits_as_rows() -> Data:
    return _some(*datasets.load_digits(return_X_y=True), 1_000)


def fashion() -> Data:
    with np.load(folder().parent / "fashion_mnist_part/fashion_mnist_part.npz") as file:
        images, labels = file["x_train"], file["y_train"]
    small = images[:1_000, 2:26, 2:26].astype(np.float32) / 255
    return Data(patches(small.reshape(-1, 8, 3, 8, 3).mean((2, 4))), labels[:1_000].astype(int))


def patches(images: np.ndarray) -> np.ndarray:
    """Return the ``n x 64 x 9`` surroundings of the pixels of 8 x 8 images."""
    around = torch.from_numpy(images.astype(np.float32))[:, None]
    return F.unfold(around, 3, padding=1).transpose(1, 2).contiguous().numpy()


TABLES = {
    "cancer": Table("perceptron", cancer, shapes([16, 32, 64], [8, 16, 32, 64], [1, 2, 3])),
    "diabetes": Table("perceptron", diabetes, shapes([16, 32, 64], [8, 16, 32, 64], [1, 2, 3])),
    "digits_cnn": Table("convolutional", digits, filters([32, 64, 128], [2, 4, 8])),
    "fashion_cnn": Table("convolutional", fashion, filters([32, 64, 128], [2, 4, 8])),
    "covertype_1500": Table(
        "perceptron", lambda: covertype(1_500), shapes([32, 64, 128], [16, 32, 64], [1, 2, 3])
    ),
    "covertype_balanced": Table(
        "residual", covertype_balanced, shapes([64, 128, 256], [8, 16, 32], [1, 2])
    ),
    "digits_residual": Table(
        "residual", digits_as_rows, shapes([32, 64, 128], [8, 16, 32], [1, 2])
    ),
    "covertype_15000": Table(
        "perceptron", lambda: covertype(15_000), shapes([128, 256, 512], [8, 16, 32], [1, 2, 3])
    ),
}


# -- Training --------------------------------------------------------------------------------


def draw(table: Table, n: int, seed: int) -> list[dict[str, Any]]:
    """Return ``n`` random settings."""
    rng = np.random.default_rng(seed)
    return [
        {
            **{name: _drawn(rng, spec) for name, spec in RANGES.items()},
            **{
                name: choices[int(rng.integers(len(choices)))]
                for name, choices in table.space.items()
            },
        }
        for _ in range(n)
    ]


def _drawn(rng: np.random.Generator, spec: Mapping[str, Any]) -> float:
    low, high, share = spec["low"], spec["high"], rng.random()
    return float(low * (high / low) ** share if spec.get("log") else low + share * (high - low))


def split(data: Data, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return training and validation rows of all folds, equally many in each fold."""
    kind = StratifiedKFold if data.y.dtype.kind in "iu" else KFold
    parts = [rows for _, rows in kind(N_FOLDS, shuffle=True, random_state=seed).split(*data)]
    size = min(map(len, parts))
    parts = [rows[:size] for rows in parts]
    return [
        (torch.tensor(np.concatenate(parts[:k] + parts[k + 1 :])), torch.tensor(parts[k]))
        for k in range(N_FOLDS)
    ]


def make(name: str, n_settings: int, n_epochs: int) -> dict[str, np.ndarray]:
    """Return the arrays of a table."""
    table = TABLES[name]
    data = table.data()
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    n_outputs = 1 if y.is_floating_point() else int(y.max()) + 1
    params = draw(table, n_settings, derive_seed(0, name))
    folds = [*split(data, SPLIT), *split(data, FRESH)]
    values, losses = torch.empty(2, n_settings, n_epochs, len(folds))
    torch.manual_seed(derive_seed(0, name, "training") % 2**63)
    n_done, began = 0, time.process_time()
    for places in in_groups(params, [*table.space], len(folds)):
        nets = [params[place] for place in places for _ in folds]
        found = train(table.kind, X, y, n_outputs, nets, [*folds] * len(places), n_epochs)
        for store, each in zip((values, losses), found, strict=True):
            store[places] = each.view(len(places), len(folds), n_epochs).transpose(1, 2)
        n_done += len(places)
        spent = time.process_time() - began
        print(f"{name}: {n_done} of {n_settings} settings, {spent:.0f} s", flush=True)
    return {
        "curves": values[..., :N_FOLDS].numpy(),
        "fresh": values[..., N_FOLDS:].numpy(),
        "losses": losses[..., :N_FOLDS].numpy(),
        "params": np.array([json.dumps(each) for each in params]),
        "space": np.array(json.dumps({**RANGES, **_choices(table)})),
    }


def _choices(table: Table) -> dict[str, Any]:
    return {
        name: {"type": "categorical", "choices": list(each)} for name, each in table.space.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Train the tables that are not in the folder yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, required=True, help="a folder, made if it is not there")
    parser.add_argument("--settings", type=int, default=N_SETTINGS)
    parser.add_argument("--epochs", type=int, default=N_EPOCHS)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; by default all")
    wanted = parser.parse_args(argv)
    wanted.to.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in wanted.tables or TABLES:
        path = wanted.to / f"{name}.npz"
        if path.exists():
            continue
        arrays = make(name, wanted.settings, wanted.epochs)
        np.savez_compressed(path, **arrays)
        best = arrays["curves"].mean(2).max(1)
        print(f"{name}: {np.quantile(best, [0, 0.25, 0.5, 0.75, 1]).round(4).tolist()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
