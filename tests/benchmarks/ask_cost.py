"""What asking for a trial and telling its end costs: ``python tests/benchmarks/ask_cost.py``.

A store is filled with finished trials of five parameters, seven of ten pruned; then trials are
asked for, reported once and told, as the backend does. The sampler has read the old trials
before the clock starts, as it has in a study that runs. Targets are of processor time, which other
programs on the machine lengthen less than the time on the clock.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import optuna
from _bench import one_thread, report, sizes, table, verdict
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, TrialRecord
from hpo.trial import TrialState as OurState

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.9},
    "width": {"type": "int", "low": 16, "high": 1024, "log": True},
    "kind": {"type": "categorical", "choices": ["relu", "gelu", "silu"]},
}
TARGETS = {1000: 2.0, 10_000: 10.0}
"""Milliseconds at so many finished trials."""

SAMPLERS = ("tpe", "optuna_tpe", "random")


def old_trials(space: SearchSpace, n: int) -> Iterator[FrozenTrial]:
    """Yield finished trials with random parameters and scores."""
    sampler, rng = optuna.samplers.RandomSampler(seed=0), np.random.default_rng(0)
    study = optuna.create_study(sampler=sampler)
    for _ in range(n):
        params = {
            name: sampler.sample_independent(study, None, name, dist)  # type: ignore[arg-type]
            for name, dist in space.distributions.items()
        }
        pruned, value = rng.random() < 0.7, float(rng.random())
        yield create_trial(
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=None if pruned else value,
            params=params,
            distributions=dict(space.distributions),
            intermediate_values={int(rng.integers(1, 20)): value},
        )


def fill(store: TrialStore, n: int) -> None:
    """Put finished trials into the trial store's study."""
    store.insert(list(old_trials(store.space, n)))


class Cost(NamedTuple):
    """Milliseconds on the clock, and of the processor."""

    wall: float
    cpu: float


def one_more(store: TrialStore) -> None:
    """Ask for a trial, report and tell it."""
    trial = store.ask()
    step = Report(trial.number, 1, 0.5, (0.5,))
    store.report(step)
    store.tell(TrialRecord(trial, OurState.COMPLETE, (step,)))


def measure(sampler: str, storage: str | None, n: int, repeats: int) -> Cost:
    """Return the mean cost of a trial in a study of ``n`` finished ones."""
    space = SearchSpace.load(SPACE)
    proposing = make_sampler(sampler, 0, parallel=False, space=space)
    store = TrialStore(f"{sampler}-{n}", space, storage, sampler=proposing)
    fill(store, n)
    one_more(store)
    began = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        one_more(store)
    ended = time.perf_counter(), time.process_time()
    return Cost(*((b - a) * 1000 / repeats for a, b in zip(began, ended, strict=True)))


def main(argv: Sequence[str] | None = None) -> dict[tuple[str, str, int], Cost]:
    """Run the benchmark, print its table and return the costs."""
    parser = sizes(__doc__, n_finished=[1000, 10_000], n_in_journal=[1000, 10_000], repeats=50)
    size = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cost = {}
    with one_thread(), tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        for n in size.n_finished:
            for sampler in SAMPLERS:
                cost[sampler, "memory", n] = measure(sampler, None, n, size.repeats)
        for n in size.n_in_journal:
            for sampler in SAMPLERS:
                url = f"journal:///{folder}/{sampler}-{n}.journal"
                cost[sampler, "journal", n] = measure(sampler, url, n, size.repeats)
    rows = [
        (*who, f"{ms.wall:.2f}", f"{ms.cpu:.2f}", *_judged(who, ms.cpu)) for who, ms in cost.items()
    ]
    report(
        "Ask and tell",
        f"Milliseconds a trial of five parameters, means over {size.repeats}.",
        table(("sampler", "storage", "finished trials", "clock", "processor", "target", ""), rows),
    )
    return cost


def _judged(who: tuple[str, str, int], ms: float) -> tuple[str, str]:
    sampler, storage, n = who
    if sampler != "tpe" or storage != "memory" or n not in TARGETS:
        return "", ""
    return f"<= {TARGETS[n]:g}", verdict(ms <= TARGETS[n])


if __name__ == "__main__":
    main(sys.argv[1:])
