"""How long it takes to read a long study: ``python tests/benchmarks/reading.py``.

Studies are written trial by trial, as a driver does it. Then the commands that read them run, each
in a process of its own, and a driver opens the study to go on with it. A journal is read twice: as
it was written, and with the snapshot that the first reader leaves. Targets are of processor time.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from _bench import report, sizes, table, verdict

from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, Report, TrialRecord, TrialState

SPACE = SearchSpace.load({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(5)})
NAME = "long"
COMMANDS = {
    "list": ("list",),
    "show": ("show", NAME),
    "show --plots": ("show", NAME, "--plots", "report"),
}
TARGETS = {"list": 1.0, "show": 2.0, "show --plots": 20.0}
"""Seconds of the processor that a command may take."""
MOST_MEGABYTES = 5.0
"""Size that the interactive report may have."""


class Taken(NamedTuple):
    """Seconds of the processor, and of the clock."""

    processor: float
    clock: float


def make(url: str, n_trials: int, n_steps: int, n_folds: int) -> None:
    """Write a study; a third of its trials is pruned at their last step but one."""
    store = TrialStore(
        NAME, SPACE, url, sampler=make_sampler("random", 0, parallel=False, space=SPACE)
    )
    draw = random.Random(0)
    for _ in range(n_trials):
        trial = store.ask()
        record = TrialRecord(trial, max_steps=n_steps, started=time.time())
        store.begin(record)
        pruned = trial.number % 3 == 2
        reports = tuple(curve(draw, trial.number, n_steps - pruned, n_folds))
        for each in reports:
            store.report(each)
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        why = {"reason": "below the median", "cause": Cause.PRUNER} if pruned else {}
        store.tell(
            TrialRecord(
                trial, state, reports, max_steps=n_steps, started=record.started,
                ended=time.time(), **why,
            )
        )  # fmt: skip


def curve(draw: random.Random, number: int, n_steps: int, n_folds: int) -> Iterator[Report]:
    """Yield the reports of a net: a score and a loss of each fold."""
    for step in range(1, n_steps + 1):
        scores = tuple(1 - draw.random() / (1 + step) for _ in range(n_folds))
        yield Report(
            number,
            step,
            sum(scores) / n_folds,
            scores,
            {"train_loss": tuple(draw.random() / step for _ in range(n_folds))},
            seconds=0.5,
            fit_seconds=tuple(0.08 * step for _ in range(n_folds)),
            score_seconds=tuple(0.02 * step for _ in range(n_folds)),
            recorded=("train_loss",),
            time=time.time(),
        )


def run(code: Sequence[str], folder: Path) -> Taken:
    """Run Python with these arguments; return what it took.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, *code], cwd=folder, capture_output=True, text=True, check=False
    )
    clock, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise RuntimeError(done.stderr)
    user = after.children_user - before.children_user
    return Taken(user + after.children_system - before.children_system, clock)


def measure(url: str, folder: Path) -> dict[str, Taken]:
    """Return what each command takes, and a driver that opens the study."""
    taken = {
        name: run(["-m", "hpo.cli", *command, "--storage", url], folder)
        for name, command in COMMANDS.items()
    }
    began, before = time.perf_counter(), time.process_time()
    TrialStore(NAME, SPACE, url)
    opened = Taken(time.process_time() - before, time.perf_counter() - began)
    return taken | {"a driver opens it": opened}


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, Taken]]:
    """Run the benchmark, print its table and return what everything took."""
    parser = sizes(__doc__, n_trials=8400, epochs=10, folds=5)
    parser.add_argument("--storages", nargs="+", default=["journal"], choices=("journal", "sqlite"))
    size = parser.parse_args(argv)
    taken: dict[str, dict[str, Taken]] = {}
    megabytes = 0.0
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as name:
        folder = Path(name)
        for storage in size.storages:
            url = f"{storage}:///{folder / storage}"
            make(url, size.n_trials, size.epochs, size.folds)
            if storage == "journal":
                first = run(["-m", "hpo.cli", "list", "--storage", url], folder)
                taken["journal, no snapshot yet"] = {"list": first}
            taken[storage] = measure(url, folder)
            megabytes = (folder / "report" / "report.html").stat().st_size / 1e6
    rows = [
        (
            storage,
            command,
            f"{seconds.processor:.2f}",
            f"{seconds.clock:.2f}",
            f"<= {TARGETS[command]:g}" if command in TARGETS else "",
            verdict(seconds.processor <= TARGETS[command]) if command in TARGETS else "",
        )
        for storage, those in taken.items()
        for command, seconds in those.items()
    ]
    report(
        "Reading a long study",
        f"{size.n_trials} trials x {size.epochs} reports x {size.folds} folds. report.html has "
        f"{megabytes:.1f} MB (target: at most {MOST_MEGABYTES:g}): "
        f"{verdict(megabytes <= MOST_MEGABYTES)}.",
        table(("storage", "hpo ...", "processor, s", "clock, s", "target", ""), rows),
    )
    return taken


if __name__ == "__main__":
    main(sys.argv[1:])
