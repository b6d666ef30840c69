"""The table of nets of ``tests/executors/test_fused_nets.py`` under one executor, row by row.

A row is the same (each fold's score at each epoch is that of serial training), refused (trained
alone, with a reason that names the cause), or wrong: anything else.

python tests/benchmarks/fused_nets.py --compile
python tests/benchmarks/fused_nets.py --executor auto
"""

import argparse
import importlib.util
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from hpo.executors import Ended
from hpo.executors.auto import AutoExecutor
from hpo.executors.fused import FusedExecutor
from hpo.executors.serial import SerialExecutor
from hpo.testing.executors import drive

TABLE = Path(__file__).parents[1] / "executors" / "test_fused_nets.py"
EXECUTORS = {"fused": FusedExecutor, "auto": AutoExecutor}
FASTER = "that is faster"
TOLERANCE, TOLERANCE_ALONE = 1e-4, 1e-6


def load_table():
    """Return the module that holds the rows; the classes of the nets are pickled by its name."""
    spec = importlib.util.spec_from_file_location(TABLE.stem, TABLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[TABLE.stem] = module
    spec.loader.exec_module(module)
    return module


def outcome(table, name, make):
    """Return what becomes of a row: ``"same"``, ``"refused"``, or what is wrong with it."""
    expected = name in table.REFUSED
    objective = table.objective_of({**table.SAME, **table.REFUSED}[name])
    trials = [table.trial_for(objective, trial) for trial in table.TRIALS]
    with patch("hpo.executors.fused.executor.find", table.alone_instead):
        executor = make(objective)
    seen = drive(executor, trials)
    if {e.number for e in seen if isinstance(e, Ended)} != {trial.number for trial in trials}:
        return f"wrong: it ended as {seen}"
    reasons = [note for note in executor.notes if "because" in note and FASTER not in note]
    reports = {(e.number, e.report.step): e.report for e in seen if table.is_report(e)}
    alone = table.told_by(SerialExecutor(objective), trials)
    gap = _gap(reports, alone)
    if not gap <= (TOLERANCE_ALONE if reasons else TOLERANCE):
        return f"wrong: a score differs by {gap:.1e} ({' '.join(executor.notes)})"
    if expected and not any(name in reason for reason in reasons):
        return f"wrong: no reason names the cause ({' '.join(executor.notes)})"
    return "refused" if reasons else "same"


def _gap(reports, alone):
    """Return the largest difference of a fold's score; nan where a report is missing."""
    if reports.keys() != alone.keys():
        return float("nan")
    pairs = [(reports[key].fold_values, alone[key].fold_values) for key in alone]
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)


def main(arguments: list[str] | None = None) -> Counter[str]:
    """Print the counts and each row that is wrong, or refused without need; return the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", choices=EXECUTORS, default="fused")
    parser.add_argument("--compile", action="store_true", help="each structure, whatever it costs")
    parser.add_argument("--rows", nargs="*", help="names of rows; all by default")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    # of `auto` the default, which compiles where it pays
    compiled = True if given.compile else {"fused": False, "auto": "auto"}[given.executor]
    table = load_table()

    def make(objective):
        return EXECUTORS[given.executor](objective, n_slots=2, compile=compiled)

    counts: Counter[str] = Counter()
    began = time.perf_counter()
    for name in given.rows or [*table.SAME, *table.REFUSED]:
        try:
            told = outcome(table, name, make)
        except Exception as error:  # what this looks for
            told = f"wrong: {type(error).__name__}: {error}"
        counts[told.partition(":")[0]] += 1
        if told.startswith("wrong") or (told == "refused" and name in table.SAME):
            print(f"{name}: {told}", flush=True)
        torch.compiler.reset()
    seconds = time.perf_counter() - began
    found = ", ".join(f"{counts[kind]} {kind}" for kind in ("same", "refused", "wrong"))
    print(f"{given.executor}, compile={compiled}, {counts.total()} nets: {found} ({seconds:.0f} s)")
    return counts


if __name__ == "__main__":
    raise SystemExit(bool(main()["wrong"]))
