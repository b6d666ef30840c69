"""What the driver spends on a trial of a long study: ``python tests/benchmarks/trial_cost.py``.

Whole studies of trials that cost nothing: five parameters, drawn at random, and ten reports. Each
trial is better than all before it, so none is stopped, and a pruner has every finished trial
for a peer at every report. Targets are of processor time. Then what it takes to read the longest
study of a journal. A tracker would follow the storage in a process of its own.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _bench import one_thread, report, sizes, table, verdict

from hpo._discovery import build
from hpo.backends.optuna import OptunaBackend
from hpo.budget import Budget
from hpo.executors.serial import SerialExecutor
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.stored_study import StoredStudy
from hpo.storage.trial_store import TrialStore
from hpo.testing import ScriptedObjective
from hpo.trial import Trial
from hpo.trial_manager import TrialManager

SPACE = SearchSpace.load({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(5)})
N_STEPS = 10
TARGET = 1.5
"""How much a trial of the longest study may cost, over one of the study before."""

PRUNERS = ("nop", "median", "halving")

Arm = tuple[str, str]


def better_and_better(trial: Trial) -> list[float]:
    """Return the scores of a trial."""
    return [trial.number + step / N_STEPS for step in range(N_STEPS)]


def milliseconds(pruner: str, storage: str | None, n_trials: int) -> float:
    """Return the processor time a trial of a study of ``n_trials``."""
    sampler = make_sampler("random", 0, parallel=False, space=SPACE)
    store = TrialStore(f"{pruner} {n_trials}", SPACE, storage, sampler=sampler)
    objective = ScriptedObjective(better_and_better, n_steps=N_STEPS)
    rule = build("hpo.pruners", pruner, BasePruner)
    trials = TrialManager(store, rule, Budget(n_trials), max_steps=objective.max_steps)
    began = time.process_time()
    with SerialExecutor(objective) as executor:
        OptunaBackend().run(trials, executor)
    seconds = time.process_time() - began
    if not all(record.made_all_steps for record in trials.records):
        raise RuntimeError("A trial was stopped.")
    return seconds * 1000 / n_trials


def reading(url: str, name: str) -> tuple[float, float]:
    """Return the seconds that it takes to open a study, and to read its records."""
    began = time.process_time()
    store = StoredStudy(name, url)
    opened = time.process_time()
    store.records(running=True)
    return opened - began, time.process_time() - opened


def main(argv: Sequence[str] | None = None) -> dict[Arm, dict[int, float]]:
    """Run the benchmark, print its table and return the costs."""
    parser = sizes(__doc__, n_trials=[100, 1000, 10_000])
    parser.add_argument(
        "--storages", nargs="+", choices=("memory", "journal"), default=["memory", "journal"]
    )
    size = parser.parse_args(argv)
    costs: dict[Arm, dict[int, float]] = {}
    read: list[tuple[object, ...]] = []
    with one_thread(), tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        milliseconds("nop", None, 10)  # loads what a run needs
        for storage in size.storages:
            for pruner in PRUNERS:
                cost = costs.setdefault((storage, pruner), {})
                for n in size.n_trials:
                    file = Path(folder, f"{pruner}-{n}.journal")
                    url = None if storage == "memory" else f"journal:///{file}"
                    cost[n] = milliseconds(pruner, url, n)
                if url is not None:
                    kilobytes = file.stat().st_size / n / 1000
                    seconds = reading(url, f"{pruner} {n}")
                    read.append((pruner, n, *(f"{s:.2f}" for s in seconds), f"{kilobytes:.1f}"))
    before, longest = size.n_trials[-2:]
    rows = [
        (
            *arm,
            *(f"{ms:.2f}" for ms in cost.values()),
            f"{cost[longest] / cost[before]:.2f}",
            f"<= {TARGET}",
            verdict(cost[longest] / cost[before] <= TARGET),
        )
        for arm, cost in costs.items()
    ]
    report(
        "Driver's cost of a trial",
        f"Milliseconds of the processor a trial, by the number of trials of the study; {N_STEPS} "
        "reports a trial.",
        table(
            ("storage", "pruner", *map(str, size.n_trials), "last over one before", "target", ""),
            rows,
        ),
        table(("journal of", "trials", "to open, s", "records, s", "kB a trial"), read),
    )
    return costs


if __name__ == "__main__":
    main(sys.argv[1:])
