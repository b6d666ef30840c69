"""Every way to search on every task: ``python tests/benchmarks/search/run.py --jobs 2``.

Results are appended to a file as they come, and what is in it already is not run again; the
tables are made from the whole file. ``$HPO_DATA/curves`` must be there, and onnxruntime.
"""

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # worker processes import the siblings too

import optuna  # noqa: E402
import product  # noqa: E402
from curves import Scale  # noqa: E402
from curves import tasks as curve_tasks  # noqa: E402
from folds import FoldTable, fold_tables  # noqa: E402
from replay import Arm, replay  # noqa: E402
from tables import tables  # noqa: E402

NOISE = 0.05
MEDIAN = "optuna_median:n_warmup_steps=5"
ARMS = [
    Arm("optuna_tpe", "nop"),
    Arm("optuna_tpe", MEDIAN),
    Arm("optuna_tpe", "halving:eta=3"),
    Arm("tpe", "nop"),
    Arm("tpe", "optuna_median"),
    Arm("tpe", "halving"),
    Arm("tpe", "halving:eta=3"),
    Arm("tpe", "halving", cohort=8),
    Arm("tpe", "halving", cohort=16),
    Arm("optuna_tpe", "nop", noise=NOISE),
    Arm("optuna_tpe", MEDIAN, noise=NOISE),
    Arm("tpe", "halving", noise=NOISE),
    Arm("tpe", "halving:eta=3", noise=NOISE),
]
"""Those of `optuna_gp` and `gp`, which take ten to twenty times as long, are asked for by name."""

FOLD_ARMS = [
    Arm("optuna_tpe", "nop"),
    Arm("optuna_tpe", "optuna_median"),
    Arm("optuna_gp", "nop"),
    Arm("optuna_tpe", "optuna:pruner=hyperband"),
    Arm("tpe", "optuna_median"),
    Arm("auto", "median", folds="race"),
    Arm("tpe", "median", folds="race"),
    Arm("auto", "median"),
    Arm("tpe", "median"),
    Arm("auto", "nop", folds="race"),
]
"""Those of fold tables: what people use, the defaults before the race of the folds, the defaults,
and these with one part switched off, or two."""


@cache
def tasks() -> list[Any]:
    """Return all tasks; each finds its scale but once."""
    return [*curve_tasks(), *fold_tables()]


Work = tuple[int, Arm, int, int]


def scale_of(number: int) -> dict[str, Any]:
    """Return the line that tells what the regrets of a task are measured with."""
    task = tasks()[number]
    return {"scale": task.name, "best": task.scale.best, "median": task.scale.median}


def run_one(work: Work, scale: Scale) -> dict[str, Any]:
    """Run one search on a task whose scale is known."""
    number, arm, seed, n_units = work
    task = tasks()[number]
    if isinstance(task, FoldTable):
        return product.search(task, arm, seed, n_units)
    tasks()[number].__dict__["scale"] = scale  # found once for all processes
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return replay(tasks()[number], arm, seed, n_units)


def read(path: Path) -> list[dict[str, Any]]:
    """Return what is in the file of results."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_scales(path: Path) -> dict[str, Scale]:
    """Return the scales of the tasks in the file of results."""
    lines = [line for line in read(path) if "scale" in line]
    return {line["scale"]: Scale(line["best"], line["median"]) for line in lines}


def missing(done: Sequence[dict[str, Any]], wanted: argparse.Namespace) -> list[Work]:
    """Return what is still to be run, one seed of all arms before the next seed."""
    have = {(each["task"], each["arm"], each["seed"]) for each in done if "arm" in each}
    named = [Arm(*_typed(each.split("|"))) for each in wanted.arm]
    return [
        (number, arm, seed, wanted.units)
        for seed in range(wanted.first_seed, wanted.seeds)
        for arm in named or dict.fromkeys([*ARMS, *FOLD_ARMS])
        for number, task in enumerate(tasks())
        if re.search(wanted.tasks, task.name)
        and (task.name, arm.name, seed) not in have
        and (named or arm in (FOLD_ARMS if isinstance(task, FoldTable) else ARMS))
    ]


def _typed(parts: Sequence[str]) -> Iterator[Any]:
    kinds = (str, str, int, float, str)
    return (kind(part) for kind, part in zip(kinds, parts, strict=False))


def main(argv: Sequence[str] | None = None) -> str:
    """Run what is missing, and print and return the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("search.jsonl"), help="%(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=4, help="seeds below this one")
    parser.add_argument("--units", type=int, default=64, help="full trainings' worth of epochs")
    parser.add_argument("--tasks", default="", help="a pattern that names of tasks contain")
    parser.add_argument(
        *("--arm", "-a"),
        action="append",
        default=[],
        help="SAMPLER|PRUNER[|COHORT[|NOISE[|FOLDS]]], several times; by default the table's",
    )
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    wanted = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    if not wanted.only_table:
        fill(wanted)
    told = tables(read(wanted.results))
    print(told)
    return told


def fill(wanted: argparse.Namespace) -> None:
    """Append what is missing to the file of results."""
    done = read(wanted.results)
    work = missing(done, wanted)
    scaled = {each["scale"] for each in done if "scale" in each}
    unscaled = [n for n in sorted({each[0] for each in work}) if tasks()[n].name not in scaled]
    with wanted.results.open("a", encoding="utf-8") as file:

        def keep(line: dict[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        with ProcessPoolExecutor(wanted.jobs) as pool:
            over = pool.map if wanted.jobs > 1 else map
            for line in over(scale_of, unscaled):
                keep(line)
            scales = read_scales(wanted.results)
            for line in over(run_one, work, [scales[tasks()[n].name] for n, *_ in work]):
                keep(line)


if __name__ == "__main__":
    main(sys.argv[1:])
