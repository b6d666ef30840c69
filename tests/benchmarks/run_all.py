"""All benchmarks, one after the other, as Markdown: ``python tests/benchmarks/run_all.py``.

It takes about an hour on two cores, which should have nothing else to do. Those of
Ray Tune start machines of their own and stay apart: ``ray_*.py``, each with its own command;
so do ``search/run.py``, ``sklearn_search.py`` and ``time_to_answer.py``, which take long,
``honest_scores.py``, whose parts take many studies, and ``fused_gpu.py``, which wants a GPU.
"""

import argparse
import contextlib
import io
import sys
import warnings
from collections.abc import Sequence

import ask_cost
import bits
import checkpoint_cost
import driver_cost
import fused
import fused_space
import import_time
import lora
import optuna_search_cv
import reading
import time_left
import tracking
import trial_cost
from _bench import one_thread

from hpo.exceptions import DataError

TINY = ["--folds", "2", "--epochs", "2"]
TINY_ASK = ["--n-finished", "20", "--n-in-journal", "5", "--repeats", "2"]
TINY_TRIALS = ["--n-trials", "5", "10", "--storages", "memory", "journal"]
TINY_READING = ["--n-trials", "6", "--epochs", "2", "--folds", "2"]
TINY_TIME_LEFT = ["--n-trials", "12", "--searches", "1"]
TINY_CHECKPOINTS = ["--seconds", "1", "--widths", "8"]
TINY_FUSED = [
    *[*TINY, "--n-trials", "3", "--n-alone", "1", "--n-compared", "3", "--repeats", "2"],
    *["--modules", "MLP 2x32", "MLP 2x64", "MLP 2x128"],
]
TINY_SPACE = [
    *["--n-trials", "7", "--epochs", "1", "--n-folds", "2", "--untracked"],
    *["--executors", "serial", "fused:compile=false"],
]
TINY_GPU = [
    *["--folds", "2", "--epochs", "3", "--n-trials", "2", "--n-alone", "1", "--n-jobs", "1"],
    *["--models", "4", "--device", "cpu", "--no-compile"],
]
TINY_LORA = [
    *["--n-trials", "2", "--steps", "4", "--reports", "2"],
    *["--blocks", "40", "--early", "1", "--late", "2"],
]


def run_tracking(n_trials: int, n_epochs: int) -> None:
    """Run `tracking`, whose lines become a section."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), warnings.catch_warnings(), one_thread():
        warnings.filterwarnings("ignore", "The ``noload`` loader", DeprecationWarning)
        tracking.main(n_trials, n_epochs)
    print(f"## Tracking\n\n```\n{text.getvalue().rstrip()}\n```\n", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run everything; ``--tiny`` only shows in seconds that it runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="small sizes, no meaningful figures")
    tiny = parser.parse_args(argv).tiny
    print("# Benchmarks\n", flush=True)
    import_time.main(["--repeats", "1"] if tiny else [])
    print()
    driver_cost.main([*TINY, "--n-trials", "2", "--repeats", "1"] if tiny else [])
    print()
    optuna_search_cv.main([*TINY, "--n-trials", "2", "--repeats", "1"] if tiny else [])
    print()
    run_tracking(*((3, 2) if tiny else (1000, 20)))
    print()
    ask_cost.main(TINY_ASK if tiny else [])
    print()
    trial_cost.main(TINY_TRIALS if tiny else [])
    print()
    reading.main(TINY_READING if tiny else [])
    print("\n## The time left\n")
    time_left.main(TINY_TIME_LEFT if tiny else [])
    print()
    checkpoint_cost.main(TINY_CHECKPOINTS if tiny else [])
    print()
    fused.main(TINY_FUSED if tiny else [])
    fused_space.main(TINY_SPACE if tiny else [])
    print()
    bits.main([*TINY, "--n-trials", "2"] if tiny else [])
    try:
        lora.main(TINY_LORA if tiny else [])
    except (DataError, ImportError) as error:
        print(f"\nLoRA: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
