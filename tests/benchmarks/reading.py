"""How long it takes to read a long study: ``python tests/benchmarks/reading.py``.

Studies are written trial by trial, as a driver does it. Then the commands that read them run, each
in a process of its own, and a driver opens the study to go on with it.
"""

import random
import time
from collections.abc import Iterator

from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, Report, TrialRecord, TrialState

SPACE = SearchSpace.load({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(5)})
NAME = "long"
TARGETS = {"hpo list": 1.0, "hpo show": 2.0, "hpo show --plots": 20.0}
"""Seconds that a command may take."""


def make(url: str, n_trials: int, n_steps: int, n_folds: int) -> None:
    """Write a study; a third of its trials is pruned at their last step but one."""
    store = TrialStore(
        NAME, SPACE, url, sampler=make_sampler("random", 0, parallel=False, space=SPACE)
    )
    draw = random.Random(0)
    for _ in range(n_trials):
        trial = store.ask()
        record = TrialRecord(trial, max_steps=n_steps, started=time.time())
        store.begin(record)
        pruned = trial.number % 3 == 2
        reports = tuple(curve(draw, trial.number, n_steps - pruned, n_folds))
        for each in reports:
            store.report(each)
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        why = {"reason": "below the median", "cause": Cause.PRUNER} if pruned else {}
        store.tell(
            TrialRecord(
                trial, state, reports, max_steps=n_steps, started=record.started,
                ended=time.time(), **why,
            )
        )  # fmt: skip


def curve(draw: random.Random, number: int, n_steps: int, n_folds: int) -> Iterator[Report]:
    """Yield the reports of a net: a score and a loss of each fold."""
    for step in range(1, n_steps + 1):
        scores = tuple(1 - draw.random() / (1 + step) for _ in range(n_folds))
        yield Report(
            number,
            step,
            sum(scores) / n_folds,
            scores,
            {"train_loss": tuple(draw.random() / step for _ in range(n_folds))},
            seconds=0.5,
            fit_seconds=tuple(0.08 * step for _ in range(n_folds)),
            score_seconds=tuple(0.02 * step for _ in range(n_folds)),
            recorded=("train_loss",),
            time=time.time(),
        )
