"""What the benchmarks share: the machine, arms run in turn, tables, and the study on digits."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self, TypeVar

import torch
from skorch import NeuralNetClassifier

from hpo import Study, StudyResult, run_study
from hpo.modules import MLP
from hpo.trackers.mlflow import MlflowTracker
from hpo.training.threads import limit_threads

PACKAGES = ("torch", "skorch", "scikit-learn", "optuna", "optuna-integration", "mlflow")

T = TypeVar("T")


class Timed(NamedTuple):
    """A study's result and the wall time of `run_study`, tracking and report included."""

    result: StudyResult
    seconds: float


def digits_net(cls: type = NeuralNetClassifier, **params: object) -> NeuralNetClassifier:
    """Return an untrained MLP for the digits."""
    return cls(
        MLP,
        module__n_features=64,
        module__n_classes=10,
        criterion=torch.nn.CrossEntropyLoss,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        **params,
    )


class Workplace:
    """A temporary folder with the two databases that studies write to: Optuna's and MLflow's.

    They are there for all studies of a benchmark, so that making them, which takes seconds
    once in a user's life, falls on the run that warms up.

    Parameters
    ----------
    tracked : bool, default=True
        Whether the studies are tracked to MLflow.
    """

    def __init__(self, tracked: bool = True) -> None:
        self._tracked = tracked
        self._folder = TemporaryDirectory(prefix="hpo-benchmark-")
        self._home = Path(self._folder.name)
        self._n_runs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, study: Study, *, notes: bool = False) -> Timed:
        """Run ``study`` under its own name, kept in a journal and tracked in an SQLite file here.

        Whatever goes wrong is raised; so is a note of it, unless ``notes`` are expected.
        """
        self._n_runs += 1
        uri = f"sqlite:///{self._home / 'mlflow.db'}"
        study = study.replace(
            name=f"{study.name}-{self._n_runs}",
            storage=f"journal:///{self._home / 'hpo.journal'}",
            tracker=MlflowTracker(uri) if self._tracked else "null",
        )
        began = time.perf_counter()
        result = run_study(study, folder=self._home)
        seconds = time.perf_counter() - began
        if result.n_failed or result.stopped or (result.notes and not notes):
            told = (result.failure_summary(), result.stopped, *result.notes)
            raise RuntimeError(" ".join(filter(None, told)))
        return Timed(result, seconds)


def sizes(about: str | None, **defaults: int | list[int]) -> argparse.ArgumentParser:
    """Return a parser of a benchmark's sizes (a list takes several), and of ``--untracked``."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    for name, default in defaults.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            nargs="+" if isinstance(default, list) else None,
            default=default,
            help="default: %(default)s",
        )
    parser.add_argument("--untracked", action="store_true", help="leave MLflow out")
    return parser


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block, as every arm does."""
    with limit_threads(1):
        yield


def in_turn(arms: Mapping[str, Callable[[int], T]], repeats: int) -> dict[str, list[T]]:
    """Run every arm ``repeats`` times, each round in another order.

    A machine that gets slower or faster over the minutes then does so for all arms alike.
    Each arm is given the number of the round.
    """
    names = list(arms)
    done: dict[str, list[T]] = {name: [] for name in names}
    for i in range(repeats):
        start = i % len(names)
        for name in names[start:] + names[:start]:
            done[name].append(arms[name](i))
    return done


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def spread(above: Sequence[float], below: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, with the least and the greatest."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def verdict(met: bool) -> str:
    """Return what the table says of a target."""
    return "met" if met else "MISSED"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table, its columns aligned; the first is text, the others are numbers."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def report(title: str, what: str, *parts: str) -> None:
    """Print a benchmark's section."""
    print("\n\n".join([f"## {title}", what, *parts, machine()]), flush=True)


def machine() -> str:
    """Return the cores, the processor and the versions, on one line."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name))
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
