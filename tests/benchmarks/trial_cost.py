"""What a trial costs the driver: ``python tests/benchmarks/trial_cost.py``.

Processor time of the driver process by trial, for trials of 5 parameters and 10 reports of 5 folds
that train nothing, with a journal as storage, at 100, 1,000 and 10,000 trials; then what it takes
to read such a study. A tracker would follow the storage in a process of its own.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from _bench import report, sizes, table

from hpo._discovery import build
from hpo.backends.optuna import OptunaBackend
from hpo.budget import Budget
from hpo.executors.serial import SerialExecutor
from hpo.observer import BaseObserver
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.stored_study import StoredStudy
from hpo.storage.trial_store import TrialStore
from hpo.testing.scripted import ScriptedObjective
from hpo.trial import Trial, TrialRecord
from hpo.trial_manager import TrialManager

N_PARAMS, N_STEPS, N_FOLDS = 5, 10, 5


def curve(trial: Trial) -> list[float]:
    """Return ten rising scores."""
    return [trial.params["p0"] * (1 - 0.8**step) for step in range(1, N_STEPS + 1)]


class Clock(BaseObserver):
    """Takes the processor time when trials end."""

    def __init__(self) -> None:
        self.times = [time.process_time()]

    def on_trial_end(self, record: TrialRecord) -> None:
        """Take the time."""
        self.times.append(time.process_time())


def measure(n_trials: int, pruner: str, url: str, name: str) -> list[float]:
    """Run a study; return the processor time after each trial, from that of the first one."""
    names = [f"p{i}" for i in range(N_PARAMS)]
    space = SearchSpace.load({name: {"type": "float", "low": 0.0, "high": 1.0} for name in names})
    sampler = make_sampler("random", 0, parallel=False, space=space)
    store = TrialStore(name, space, url, sampler=sampler)
    objective = ScriptedObjective(curve, n_folds=N_FOLDS, n_steps=N_STEPS)
    clock = Clock()
    manager = TrialManager(
        store,
        build("hpo.pruners", pruner, BasePruner),
        Budget(n_trials),
        observers=[clock],
        max_steps=objective.max_steps,
    )
    with SerialExecutor(objective) as executor:
        OptunaBackend().run(manager, executor)
    return [moment - clock.times[0] for moment in clock.times]


def reading(url: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield what reading a study takes."""
    began = time.process_time()
    store = StoredStudy(name, url)
    yield "open", f"{time.process_time() - began:.2f} s"
    began = time.process_time()
    records = store.records(running=True)
    yield f"{len(records)} records", f"{time.process_time() - began:.2f} s"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the benchmark, print its tables; return the cost of a trial at each size."""
    size = sizes(__doc__, n_trials=10_000).parse_args(argv)
    marks = [n for n in (100, 1_000, 10_000) if n <= size.n_trials] or [size.n_trials]
    costs: dict[str, float] = {}
    rows: list[tuple[object, ...]] = []
    sizes_read: list[tuple[str, str, str]] = []
    for pruner in ("nop", "median"):
        with tempfile.TemporaryDirectory() as folder:
            url = f"journal:///{folder}/study.journal"
            times = measure(marks[-1], pruner, url, "study")
            for start, end in pairwise([0, *marks]):
                whole = times[end] / end
                last = (times[end] - times[start]) / (end - start)
                costs[f"{pruner} {end}"] = 1000 * whole
                rows.append((pruner, end, f"{1000 * whole:.1f}", f"{1000 * last:.1f}"))
            sizes_read += [(pruner, what, much) for what, much in reading(url, "study")]
            n_bytes = Path(folder, "study.journal").stat().st_size / marks[-1]
            sizes_read.append((pruner, "on the disk", f"{n_bytes / 1000:.1f} kB a trial"))
    head = ("pruner", "trials", "ms a trial", "ms a trial since the row above")
    report(
        "Driver's cost of a trial",
        f"{N_PARAMS} parameters, {N_STEPS} reports.",
        table(head, rows),
        table(("pruner", "", ""), sizes_read),
    )
    return costs


if __name__ == "__main__":
    main(sys.argv[1:])
