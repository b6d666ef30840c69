"""Hundreds of models in flight on one GPU: ``python tests/benchmarks/fused_gpu.py``.

A sweep of digits, five folds a trial, by the fused executor, batches of ever more trials,
against skorch under cross_val_score in one process and in several that share the GPU. All is told
in milliseconds for ten epochs of a trial, on all its folds. *Executor* is training, scores and
reports of a full batch, without what it takes to begin (told apart); *study* is a whole study, with
sampler, pruner, storage and what it takes to begin, untracked.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
from _bench import Workplace, one_thread, report, sizes, table
from _fused_modules import KINDS, Kind
from fused import PER_TRIAL, configurations, data, net, skorch, study
from sklearn.model_selection import StratifiedKFold

from hpo.executors import Ended, Failed
from hpo.executors.fused import FusedExecutor
from hpo.training.objective import Objective
from hpo.trial import Trial

HEAD = (
    "module",
    "models in flight",
    "executor",
    "begins, s",
    "GiB",
    "study",
    "skorch",
    "processes",
    "executor ratio",
    "to processes",
    "study ratio",
    "to processes ",
)


def executor_ms(kind: Kind, given: Any, n_slots: int) -> tuple[float, float]:
    """Return milliseconds for ten epochs of a trial in a full batch, and seconds before the first.

    Every poll is an epoch of all trials; the first one, which compiles, does not count.
    """
    X, y = data()
    cv = StratifiedKFold(given.folds, shuffle=True, random_state=0)
    objective = Objective(net(kind, given.epochs, given.device), X, y, cv=cv, scoring="accuracy")
    trials = [Trial(i, point, i) for i, point in enumerate(configurations(n_slots, 0))]
    spec = {"n_slots": n_slots, "compile": given.compile, "precision": given.precision}
    seconds, ended = [], 0
    with FusedExecutor(objective, device=given.device, **spec) as executor:
        began = time.perf_counter()
        executor.start(trials)
        while ended < n_slots:
            one = time.perf_counter()
            events = executor.poll()
            seconds.append(time.perf_counter() - one)
            lost = [event.reason for event in events if isinstance(event, Failed)]
            if lost or executor.capacity < n_slots:
                raise RuntimeError(" ".join([*lost[:1], *executor.notes]))
            ended += sum(isinstance(event, Ended) for event in events)
            if len(seconds) == 1:
                beginning = time.perf_counter() - began
        print(f"  {n_slots} trials: {'; '.join(executor.notes)}", flush=True)
    # The last poll trains nothing, it tells the ends.
    return 1000 * PER_TRIAL * statistics.median(seconds[1:-1]) / n_slots, beginning


def study_ms(kind: Kind, given: Any, n_slots: int, workplace: Workplace) -> float:
    """Return milliseconds of a whole study for ten epochs of a trial."""
    spec = f"fused:n_slots={n_slots},precision={given.precision},compile={given.compile}".lower()
    n_trials = max(given.n_trials, n_slots)
    began = time.perf_counter()
    result = workplace.run(study(kind, given, spec, n_trials=n_trials), notes=True).result
    seconds = time.perf_counter() - began
    n_epochs = sum(len(record.reports) for record in result.records)
    print(f"  {n_trials} trials, {n_epochs} epochs in {seconds:.1f} s", flush=True)
    return 1000 * PER_TRIAL * seconds / n_epochs


def _work(kind: str, given: argparse.Namespace, seed: int, ready: Barrier) -> None:
    with one_thread():
        skorch(KINDS[kind], argparse.Namespace(**{**vars(given), "n_alone": 1}), 1, seed)
        ready.wait()
        skorch(KINDS[kind], given, 1, seed)
        ready.wait()


def processes_ms(kind: str, given: argparse.Namespace) -> float:
    """Return the same for skorch in processes that share the GPU, each on trials of its own."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(given.n_jobs + 1)
    workers = [
        context.Process(target=_work, args=(kind, given, seed, ready))
        for seed in range(given.n_jobs)
    ]
    for worker in workers:
        worker.start()
    ready.wait(timeout=300)
    began = time.perf_counter()
    ready.wait(timeout=600)
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    return _per_trial(seconds, given, given.n_jobs)


def alone_ms(kind: str, given: argparse.Namespace) -> float:
    """Return the same for skorch in this process."""
    skorch(KINDS[kind], argparse.Namespace(**{**vars(given), "n_alone": 1}), 1, 0)
    began = time.perf_counter()
    skorch(KINDS[kind], given, 1, 0)
    return _per_trial(time.perf_counter() - began, given, 1)


def _per_trial(seconds: float, given: argparse.Namespace, n_processes: int) -> float:
    return 1000 * PER_TRIAL * seconds / (given.n_alone * given.epochs * n_processes)


def measure(name: str, given: argparse.Namespace, workplace: Workplace) -> list[list[float]]:
    """Return a module's rows."""
    alone, several = alone_ms(name, given), processes_ms(name, given)
    print(f"  {name}: skorch {alone:.0f}, in {given.n_jobs} processes {several:.0f}", flush=True)
    rows = []
    for n_models in given.models:
        n_slots = max(1, n_models // given.folds)
        if given.device.startswith("cuda"):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        ms, beginning = executor_ms(KINDS[name], given, n_slots)
        taken = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
        whole = study_ms(KINDS[name], given, n_slots, workplace)
        rows.append(
            [
                *(n_slots * given.folds, ms, beginning, taken, whole, alone, several),
                *(alone / ms, several / ms, alone / whole, several / whole),
            ]
        )
        print(f"  {name}: {', '.join(f'{x:.4g}' for x in rows[-1])}", flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> list[list[float]]:
    """Print the table and return its rows."""
    parser = sizes(
        __doc__,
        models=[256, 1024, 4096],
        n_trials=1000,
        n_alone=4,
        n_jobs=8,
        folds=5,
        epochs=10,
    )
    parser.add_argument("--modules", nargs="+", default=["MLP 2x32"], choices=list(KINDS))
    parser.add_argument("--precision", default="float32", help="default: %(default)s")
    parser.add_argument("--pruner", default="median", help="default: %(default)s")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    given = parser.parse_args(argv)
    on_gpu = given.device.startswith("cuda")
    where = torch.cuda.get_device_name() if on_gpu else "the CPU"
    rows = []
    with one_thread(), Workplace(tracked=False) as workplace:
        for name in given.modules:
            rows += [[name, *row] for row in measure(name, given, workplace)]
    shown = [[row[0], f"{row[1]:.0f}", *(f"{x:.3g}" for x in row[2:])] for row in rows]
    what = (
        f"Sweeps of digits on {where}, {given.folds} folds, {given.precision}, studies of "
        f"{given.n_trials} trials or a full batch if that is more, {given.n_jobs} processes; "
        f"milliseconds for {PER_TRIAL} epochs of a trial."
    )
    report("Models in flight", what, table(HEAD, shown))
    return [row[1:] for row in rows]


if __name__ == "__main__":
    main(sys.argv[1:])
