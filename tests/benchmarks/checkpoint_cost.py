"""What checkpoints cost a study: ``python tests/benchmarks/checkpoint_cost.py``.

Nets of several sizes are trained with checkpoints as often as ``checkpoint_every="auto"`` makes
them. Told is the share of their time that went into checkpoints: taking the state and writing it,
and the one step that is made again to prove the first.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import one_thread, report, sizes, table, verdict
from skorch import NeuralNetClassifier
from torch import nn, optim

from hpo.training.checkpointing import CheckpointedRun, Checkpointing
from hpo.training.checkpoints import CheckpointFiles
from hpo.training.objective import Objective
from hpo.trial import Trial

TARGET = 0.02
"""Share of the time of a study that checkpoints may take."""

N_EPOCHS = 40
N_FOLDS = 3


class Spent:
    """The seconds that a method of `CheckpointedRun` has taken."""

    def __init__(self, name: str) -> None:
        self.seconds, self.n = 0.0, 0
        self._name, self._method = name, getattr(CheckpointedRun, name)
        method = self._method

        def timed(run: Any, *args: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(run, *args)
            finally:
                self.seconds += time.perf_counter() - began
                self.n += 1

        setattr(CheckpointedRun, name, timed)

    def restore(self) -> None:
        """Count no more."""
        setattr(CheckpointedRun, self._name, self._method)


def objective(width: int, files: CheckpointFiles) -> Objective:
    """Return the objective of a net of three layers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 64)).astype("float32")
    module = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )
    net = NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.Adam,
        max_epochs=N_EPOCHS,
        batch_size=64,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    made = Objective(net, X, (X[:, 0] > 0).astype("int64"), cv=N_FOLDS, scoring="accuracy")
    made.checkpointing = Checkpointing(files, None)
    return made


def measured(width: int, folder: Path, duration: float) -> tuple[float, tuple[object, ...]]:
    """Return the share of checkpoints in the time of some trials, and a row of the table."""
    files = CheckpointFiles(folder / str(width), b"key")
    made = objective(width, files)
    saving, proving = Spent("_save"), Spent("_repeated")
    began = time.perf_counter()
    number = n_epochs = size = 0
    while time.perf_counter() - began < duration:
        trial = Trial(number, {"lr": 1e-3}, seed=number)
        for _ in made.begin(trial, "cpu"):
            n_epochs += 1
            path = files.path(trial.seed)
            size = max(size, path.stat().st_size if path.exists() else 0)
            if time.perf_counter() - began >= duration:
                break
        number += 1
    seconds = time.perf_counter() - began
    share = saving.seconds / seconds
    row = (
        width,
        f"{size / 2**20:.2f}",
        f"{seconds / n_epochs:.3f}",
        saving.n,
        f"{saving.seconds / max(saving.n, 1) * 1000:.1f}",
        f"{share:.2%}",
        f"{proving.seconds / seconds * n_epochs:.1f}",
    )
    saving.restore()
    proving.restore()
    return share, row


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Run the benchmark, print its table and return the shares."""
    parser = sizes(__doc__, seconds=60, widths=[32, 256, 1024])
    size = parser.parse_args(argv)
    rows: list[tuple[object, ...]] = []
    shares: list[float] = []
    with one_thread(), tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        for width in size.widths:
            share, row = measured(width, Path(folder), size.seconds)
            shares.append(share)
            rows.append((*row, f"<= {TARGET:.0%}", verdict(share <= TARGET)))
    heads = ("width", "MiB", "s an epoch", "checkpoints", "ms each", "share", "epochs to prove")
    report(
        "The cost of checkpoints",
        f"Trials of {N_EPOCHS} epochs and {N_FOLDS} folds, one after the other for {size.seconds} "
        "seconds; share of their wall time.",
        table((*heads, "target", ""), rows),
    )
    return shares


if __name__ == "__main__":
    main(sys.argv[1:])
