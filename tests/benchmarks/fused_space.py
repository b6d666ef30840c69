"""The quick start's whole space under the executors: ``python tests/benchmarks/fused_space.py``.

It has four batch sizes, five optimizers, eight widths and three depths, so that hardly two trials
differ in numbers alone. Each executor trains the same random trials; all is counted per trial, with
compiling, storage and, unless ``--untracked``, MLflow. ``--pruner`` and ``--folds`` are those of a
study: ``none`` and ``all`` train every epoch of every fold.
"""

import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _bench import Workplace, digits_net, in_turn, one_thread, report, sizes, spread, table
from sklearn.model_selection import StratifiedKFold

from hpo import Study
from hpo.data import load_digits
from hpo.executors.fused import batch
from hpo.nets import RegularizedClassifier

SPACE = Path(__file__).parents[2] / "search_spaces" / "mlp.yaml"

N_FULL = 6
"""Trials from which on a batch counts as filled."""


class Cost(NamedTuple):
    """Seconds of a trial, and the share of trials that were once in a filled batch."""

    cpu: float
    wall: float
    filled: float


class _Filled:
    """Counts trials that are trained in a batch of `N_FULL` or more, while it is entered."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self._advance = batch.TrialBatch.advance

    def __enter__(self) -> "_Filled":
        counter, advance = self, self._advance

        def counted(trials: Any) -> Any:
            in_slots = trials.live[: trials.n_slots]
            if len(in_slots) >= N_FULL:
                counter.numbers.update(in_slots)
            return advance(trials)

        batch.TrialBatch.advance = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        batch.TrialBatch.advance = self._advance  # type: ignore[method-assign]


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def study(given: Any, executor: str, seed: int) -> Study:
    """Return the study of an executor."""
    name, _, n_jobs = executor.partition("*")
    return Study(
        name="space",
        estimator=digits_net(RegularizedClassifier, max_epochs=given.epochs),
        data=load_digits,
        search_space=SPACE,
        cv=StratifiedKFold(given.n_folds, shuffle=True, random_state=0),
        scoring="accuracy",
        sampler="random",
        pruner=None if given.pruner == "none" else given.pruner,
        folds=given.folds,
        executor=name,
        n_jobs=int(n_jobs) if n_jobs else None,
        n_trials=given.n_trials,
        seed=seed,
        baseline=False,
        refit=False,
    )


def main(argv: Sequence[str] | None = None) -> dict[str, list[Cost]]:
    """Run the benchmark; return the costs of each executor, by round."""
    parser = sizes(__doc__, n_trials=200, epochs=20, n_folds=5, repeats=1)
    parser.add_argument("--pruner", default="none", help="default: %(default)s")
    parser.add_argument("--folds", default="all", help="default: %(default)s")
    parser.add_argument(
        "--executors",
        nargs="+",
        default=["serial", "fused"],
        help="with options; process*2 is process with two workers; default: %(default)s",
    )
    given = parser.parse_args(argv)
    with one_thread(), Workplace(tracked=not given.untracked) as workplace:

        def run(executor: str, i: int) -> Cost:
            cpu, wall = _cpu(), time.perf_counter()
            with _Filled() as filled:
                result = workplace.run(study(given, executor, i), notes=True).result
            n = len(result.records)
            took = (_cpu() - cpu) / n, (time.perf_counter() - wall) / n
            print(f"  {executor}: {result.trained_by}; {result.notes}", flush=True)
            return Cost(*took, len(filled.numbers) / n)

        arms = {name: lambda i, name=name: run(name, i) for name in given.executors}
        costs = in_turn(arms, given.repeats)
    first = costs[given.executors[0]]
    rows = [
        [
            name,
            f"{statistics.median(cost.cpu for cost in of_arm):.2f}",
            f"{statistics.median(cost.wall for cost in of_arm):.2f}",
            spread([cost.cpu for cost in first], [cost.cpu for cost in of_arm]),
            f"{statistics.median(cost.filled for cost in of_arm):.0%}",
        ]
        for name, of_arm in costs.items()
    ]
    head = ["executor", "processor, s a trial", "wall, s a trial"]
    head += [f"{given.executors[0]} ÷ it, processor", f"trials in a batch of {N_FULL}"]
    report("The quick start's space", "Random trials under each executor.", table(head, rows))
    return costs


if __name__ == "__main__":
    main()
