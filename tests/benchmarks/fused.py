"""Fused trials against skorch under cross_val_score: ``python tests/benchmarks/fused.py``.

A whole study of digits, with sampler, pruner, scoring, storage, tracking and the compiling of its
step, against `cross_val_score` on configurations of the same space and against an eager PyTorch
loop written by hand, both of which store and track nothing. Trials that are pruned make fewer
epochs, so all arms are told in milliseconds for ten epochs of one trial on all its folds. The arms
run in turn: skorch and the loop, some configurations each, before and after every study.

A small study before all makes what is made once in a user's life: the two databases, and what
torch's compiler makes of its own headers. Then the first study of each module compiles its step;
with ``--repeats`` of two and more the later ones, told as "again", find it in torch's cache, as the
next study of a user would.

``--executors fused fused:precision=bfloat16 auto process`` compares executors. The processor time
of worker processes is not counted: look at the wall time where there are any.
"""

import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from _bench import Workplace, one_thread, report, sizes, table, verdict
from _fused_modules import KINDS, Kind
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import nn

from hpo import Study
from hpo.data import StudyData
from hpo.nets import RegularizedClassifier

SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
    "module__dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "optimizer__momentum": {"type": "float", "low": 0.5, "high": 0.95},
    "optimizer__weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True},
    "l1_lambda": {"type": "float", "low": 1e-7, "high": 1e-3, "log": True},
}
PER_TRIAL = 10
"""Epochs of a trial that times are told for."""

MLPS = ("MLP 2x32", "MLP 2x64", "MLP 2x128")

TARGETS = (11.0, 5.0), (20.0, 9.0)
"""Against skorch and a loop by hand, of processor time: in float32, and with bfloat16."""


class Cost(NamedTuple):
    """Milliseconds for `PER_TRIAL` epochs of a trial."""

    wall: float
    cpu: float


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits: 1,797 images as 64 numbers from 0 to 1, and their classes."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype("float32"), y


def net(kind: Kind, epochs: int, device: str) -> RegularizedClassifier:
    """Return an untrained net."""
    return RegularizedClassifier(
        kind.module,
        **{f"module__{name}": value for name, value in kind.params.items()},
        optimizer=torch.optim.SGD,
        max_epochs=epochs,
        batch_size=64,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        device=device,
    )


def configurations(n: int, seed: int) -> list[dict[str, float]]:
    """Return points of the space, drawn at random."""
    rng = np.random.default_rng(seed)
    points = []
    for _ in range(n):
        point = {}
        for name, spec in SPACE.items():
            low, high = spec["low"], spec["high"]
            log = bool(spec.get("log"))
            drawn = rng.uniform(*(np.log([low, high]) if log else (low, high)))
            point[name] = float(np.exp(drawn) if log else drawn)
        points.append(point)
    return points


def timed(run: Callable[[], float]) -> Cost:
    """Run something that returns how many epochs it has made."""
    cpu, wall = _cpu(), time.perf_counter()
    epochs = run()
    scale = 1000 * PER_TRIAL / epochs
    return Cost((time.perf_counter() - wall) * scale, (_cpu() - cpu) * scale)


def _cpu() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


@contextmanager
def own_cache() -> Iterator[None]:
    """Have torch's compiler know nothing inside the block but what it compiles there."""
    with (
        TemporaryDirectory(prefix="hpo-benchmark-") as folder,
        patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder),
    ):
        yield


def skorch(kind: Kind, given: Any, n_jobs: int, seed: int) -> float:
    """Cross-validate some configurations as one does without this toolkit."""
    X, y = data()
    cv = StratifiedKFold(given.folds, shuffle=True, random_state=0)
    for point in configurations(given.n_alone, seed):
        one = net(kind, given.epochs, given.device).set_params(**point)
        cross_val_score(one, X, y, cv=cv, scoring="accuracy", n_jobs=n_jobs)
    return float(given.n_alone * given.epochs)


def loop(kind: Kind, given: Any, seed: int) -> float:
    """Train the same by a loop written by hand, scored after each epoch as a study's trial is."""
    X, y = (torch.as_tensor(part).to(given.device) for part in data())
    cv = StratifiedKFold(given.folds, shuffle=True, random_state=0)
    splits = [tuple(map(torch.as_tensor, s)) for s in cv.split(X.cpu(), y.cpu())]
    for point in configurations(given.n_alone, seed):
        for rows, held_out in splits:
            _train(kind, point, X, y, rows.to(X.device), held_out.to(X.device), given.epochs)
    return float(given.n_alone * given.epochs)


def _train(
    kind: Kind,
    point: dict[str, float],
    X: torch.Tensor,
    y: torch.Tensor,
    rows: torch.Tensor,
    held_out: torch.Tensor,
    epochs: int,
) -> None:
    module = kind.module(**kind.params, dropout=point["module__dropout"]).to(X.device)
    optimizer = torch.optim.SGD(
        module.parameters(),
        lr=point["lr"],
        momentum=point["optimizer__momentum"],
        weight_decay=point["optimizer__weight_decay"],
    )
    for _ in range(epochs):
        module.train()
        for batch in rows[torch.randperm(len(rows), device=rows.device)].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(X[batch]), y[batch])
            penalty = sum(w.abs().sum() for w in module.parameters() if w.ndim > 1)
            (loss + point["l1_lambda"] * penalty).backward()
            optimizer.step()
        with torch.no_grad():
            (module.eval()(X[held_out]).argmax(1) == y[held_out]).float().mean().item()


def study(kind: Kind, given: Any, executor: str, **changes: Any) -> Study:
    """Return the study of a module."""
    X, y = data()
    settings = {
        "name": "fused",
        "estimator": net(kind, given.epochs, given.device),
        "data": StudyData(X=X, y=y),
        "search_space": SPACE,
        "cv": StratifiedKFold(given.folds, shuffle=True, random_state=0),
        "scoring": "accuracy",
        "sampler": "tpe",
        "pruner": given.pruner,
        "executor": executor,
        "device": given.device,
        "n_trials": given.n_trials,
        "refit": False,
    }
    return Study(**settings | changes)


def fused(kind: Kind, given: Any, executor: str, workplace: Workplace) -> Cost:
    """Run a whole study."""

    def run() -> float:
        asked = study(kind, given, executor, n_jobs=given.n_jobs)
        result = workplace.run(asked, notes=True).result
        print(
            f"  {result.n_complete} complete, {result.n_pruned} pruned; {result.notes}", flush=True
        )
        return float(sum(len(record.reports) for record in result.records))

    return timed(run)


def measure(name: str, given: Any, workplace: Workplace) -> dict[str, list[float]]:
    """Return, for each executor, the costs of one module's arms and their ratios."""
    kind = KINDS[name]
    alone: dict[str, list[Cost]] = {"one": [], "two": [], "loop": []}
    whole: dict[str, list[Cost]] = {executor: [] for executor in given.executors}
    for i in range(given.repeats):
        for seed in (2 * i, 2 * i + 1):
            alone["one"].append(timed(lambda seed=seed: skorch(kind, given, 1, seed)))
            alone["two"].append(timed(lambda seed=seed: skorch(kind, given, given.n_jobs, seed)))
            alone["loop"].append(timed(lambda seed=seed: loop(kind, given, seed)))
            if seed % 2 == 0:
                for executor, costs in whole.items():
                    costs.append(fused(kind, given, executor, workplace))
    wall = {arm: statistics.median(c.wall for c in costs) for arm, costs in alone.items()}
    cpu = {arm: statistics.median(c.cpu for c in costs) for arm, costs in alone.items()}
    best = min(wall["one"], wall["two"])
    rows = {}
    for executor, (first, *later) in whole.items():
        again = statistics.median(cost.cpu for cost in later) if later else math.nan
        rows[executor] = [
            *(cpu["one"], wall["one"], wall["two"], cpu["loop"], first.cpu, first.wall, again),
            *(cpu["one"] / first.cpu, cpu["one"] / again),
            *(best / first.wall, cpu["loop"] / first.cpu),
        ]
    return rows


def warm_up(given: Any, workplace: Workplace) -> None:
    """Make what is made once in a user's life."""
    small = Kind(KINDS[MLPS[0]].module, {"width": 3}, 1.0)
    workplace.run(study(small, given, "fused:compile=true", n_trials=2), notes=True)


def correlation(name: str, given: Any, workplace: Workplace) -> tuple[float, float]:
    """Return the rank correlation with the process executor's scores, and of two of its seeds."""
    same = {"sampler": "random", "pruner": "nop", "n_trials": given.n_compared, "n_jobs": 2}
    executors = [("fused", 0), ("process", 0), ("process", 1)]
    points = configurations(given.n_compared, 0)
    scores = []
    for executor, seed in executors:
        asked = study(KINDS[name], given, executor, **same, seed=seed, enqueue=points)
        records = workplace.run(asked, notes=True).result.records
        scores.append([record.value for record in records])
    return tuple(float(spearmanr(scores[1], other).statistic) for other in (scores[0], scores[2]))


N_TIMES = 7
"""Columns before those of ratios."""

HEAD = (
    "module",
    "executor",
    "skorch cpu",
    "wall",
    "wall, jobs",
    "loop cpu",
    "study cpu",
    "wall",
    "again cpu",
    "cpu ratio",
    "again",
    "wall ratio",
    "loop ratio",
)


def main(argv: Sequence[str] | None = None) -> dict[tuple[str, str], list[float]]:
    """Print the table and return its rows, by module and executor."""
    parser = sizes(
        __doc__, n_trials=500, n_alone=10, n_compared=60, folds=5, epochs=10, repeats=1, n_jobs=2
    )
    parser.add_argument("--modules", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument(
        "--executors", nargs="+", default=["fused"], help="with options; default: %(default)s"
    )
    parser.add_argument("--pruner", default="median", help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    given = parser.parse_args(argv)
    rows = {}
    with one_thread(), Workplace(tracked=not given.untracked) as workplace, own_cache():
        warm_up(given, workplace)
        for name in given.modules:
            for executor, row in measure(name, given, workplace).items():
                rows[name, executor] = row
                print(f"  {name}, {executor}: {', '.join(f'{x:.3g}' for x in row)}", flush=True)
        alike = {
            name: correlation(name, given, workplace)
            for name in given.modules[:1]
            if given.n_compared
        }
    shown = [
        [*name, *(f"{x:.0f}" for x in row[:N_TIMES]), *(f"{x:.1f}" for x in row[N_TIMES:])]
        for name, row in rows.items()
    ]
    what = (
        f"Studies of {given.n_trials} trials on {given.folds} folds, pruner {given.pruner}; "
        f"milliseconds for {PER_TRIAL} epochs of a trial."
    )
    report("Fused trials", what, table(HEAD, shown), *_verdicts(rows, alike))
    return rows


def _verdicts(
    rows: dict[tuple[str, str], list[float]], alike: dict[str, tuple[float, float]]
) -> list[str]:
    told = []
    for executor in dict.fromkeys(executor for _, executor in rows):
        mlps = [rows[name, executor] for name in MLPS if (name, executor) in rows]
        if len(mlps) < len(MLPS):
            continue
        to_skorch, to_loop = TARGETS["bfloat16" in executor]
        for what, column, target in (
            ("skorch", N_TIMES, to_skorch),
            ("skorch, known to torch's cache", N_TIMES + 1, to_skorch),
            ("a loop by hand", N_TIMES + 3, to_loop),
        ):
            mean = math.prod(row[column] for row in mlps) ** (1 / len(mlps))
            told.append(
                f"Geometric mean over the widths, {executor}, against {what}: {mean:.1f} "
                f"(target {target:g}: {verdict(mean >= target)})."
            )
    for (name, executor), row in rows.items():
        target = 0.75 * KINDS[name].ratio
        if name not in MLPS and executor == "fused":
            ratio = row[N_TIMES]
            told.append(f"{name}: {ratio:.1f} (target {target:.1f}: {verdict(ratio >= target)}).")
    for name, (ours, theirs) in alike.items():
        met = ours >= 0.98 or ours >= theirs
        told.append(
            f"Rank correlation of the scores of {name} with the process executor's: {ours:.3f}; of "
            f"two seeds of the process executor {theirs:.3f}: {verdict(met)}."
        )
    return ["\n".join(f"- {line}" for line in told)] if told else []


if __name__ == "__main__":
    main(sys.argv[1:])
