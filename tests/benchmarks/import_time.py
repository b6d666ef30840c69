"""What importing hpo and asking it for help costs: ``python tests/benchmarks/import_time.py``.

Each statement is run in processes of its own, in turn with the others; the first round, which
reads the files into memory and writes their bytecode, does not count. The figures are of
processor time (user and system), which other programs on the machine lengthen less than the
time on the clock, and hold the interpreter's own start.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from _bench import in_turn, report, sizes, table, verdict

import hpo

HELP = "from hpo.cli import main; main([{}])"
BASE = "import skorch"
CODE = {
    "python -c pass": "pass",
    "import hpo": "import hpo",
    "hpo --help": HELP.format("'--help'"),
    "hpo run --help": HELP.format("'run', '--help'"),
    "from hpo import Study": "from hpo import Study",
    "from hpo import load_result": "from hpo import load_result",
    BASE: BASE,
    "from hpo import run_study": "from hpo import run_study",
    "from hpo import HPOSearchCV": "from hpo import HPOSearchCV",
}
"""What is measured, and the Python code of it."""

TARGETS = {"import hpo": 0.1, "hpo --help": 0.3}
"""Seconds at most."""
BEYOND = {"from hpo import Study", "from hpo import run_study", "from hpo import HPOSearchCV"}
BEYOND_SECONDS = 0.5
"""Seconds that these may take beyond `BASE`."""


def seconds(code: str) -> float:
    """Return the processor time of a process that runs ``code``.

    Raises
    ------
    RuntimeError
        If it does not go well.
    """
    home = str(Path(hpo.__file__).parents[1])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    if process.returncode:
        raise RuntimeError(f"{code!r} ended with exit code {process.returncode}.")
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Run the benchmark, print its table and return the seconds of each round."""
    repeats = sizes(__doc__, repeats=15).parse_args(argv).repeats
    arms: dict[str, Callable[[int], float]] = {
        name: partial(_of_round, code) for name, code in CODE.items()
    }
    taken = {name: each[1:] for name, each in in_turn(arms, repeats + 1).items()}
    report(
        "Imports and help",
        f"Seconds of processor time of a fresh process, of {repeats} rounds.",
        table(
            ("process", "median", "least", "greatest", "target", ""),
            [_row(name, taken) for name in taken],
        ),
    )
    return taken


def _of_round(code: str, _: int) -> float:
    return seconds(code)


def _row(name: str, taken: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    median = statistics.median(taken[name])
    shown = (f"`{name}`", *(f"{x:.2f}" for x in (median, min(taken[name]), max(taken[name]))))
    if name in BEYOND:
        beyond = median - statistics.median(taken[BASE])
        return *shown, f"<= `{BASE}` + {BEYOND_SECONDS}", verdict(beyond <= BEYOND_SECONDS)
    if name in TARGETS:
        return *shown, f"<= {TARGETS[name]}", verdict(median <= TARGETS[name])
    return *shown, "", ""


if __name__ == "__main__":
    main(sys.argv[1:])
