"""One search on one task, through the machinery that trains: storage, manager, backend, executor.

Only the training is left out: `ScriptedObjective` reads the scores of a trial's epochs from the
task. Nothing is kept on disk and nobody is told.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from curves import LCBench, TaskSet

from hpo._discovery import build
from hpo.backends.optuna import OptunaBackend
from hpo.budget import Budget
from hpo.observer import BaseObserver
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.testing.lockstep import LockstepExecutor
from hpo.testing.scripted import ScriptedObjective
from hpo.trial import Report, Trial, TrialRecord, TrialState, derive_seed
from hpo.trial_manager import TrialManager


class Arm(NamedTuple):
    """One way to search.

    Parameters
    ----------
    sampler, pruner : str
        As `Study` takes them.
    cohort : int
        Trials at a time, in lock-step.
    noise : float
        Standard deviation of what is added to every reading, as a share of the task's scale.
    folds : {"all", "race"}
        As `Study` takes it; for fold tables.
    """

    sampler: str
    pruner: str
    cohort: int = 1
    noise: float = 0.0
    folds: str = "all"

    @property
    def name(self) -> str:
        """How the tables call it."""
        parts = [f"{self.sampler} + {self.pruner}"]
        parts += [f"cohort {self.cohort}"] if self.cohort > 1 else []
        parts += [f"noise {self.noise:g}"] if self.noise else []
        parts += [self.folds] if self.folds != "all" else []
        return ", ".join(parts)


class Course(BaseObserver):
    """Keeps the true score of the trial that a search would choose, by epochs spent."""

    def __init__(self, task: LCBench | TaskSet) -> None:
        self._task = task
        self.spent, self._chosen = 0, -np.inf
        self.choices: list[tuple[int, float]] = []
        self.n_complete = self.n_trials = 0

    def on_report(self, record: TrialRecord, report: Report) -> None:
        self.spent += 1

    def on_trial_end(self, record: TrialRecord) -> None:
        self.n_trials += 1
        if record.state is not TrialState.COMPLETE:
            return
        self.n_complete += 1
        best = record.best_report
        assert best is not None
        if best.value > self._chosen:
            self._chosen = best.value
            true = self._task.curve(record.trial.params)[best.step - 1]
            self.choices.append((self.spent, float(true)))

    def by_unit(self, n_units: int) -> list[float | None]:
        """Return the choice's true score after 1, 2, … full trainings' worth of epochs."""
        chosen: list[float | None] = []
        for unit in range(1, n_units + 1):
            so_far = [true for spent, true in self.choices if spent <= unit * self._task.n_steps]
            chosen.append(so_far[-1] if so_far else None)
        return chosen


def scripted(task: LCBench | TaskSet, noise: float) -> ScriptedObjective:
    """Return the objective that reads the scores of ``task``, with noise from the trial's seed."""
    width = noise * (task.scale.best - task.scale.median) if noise else 0.0

    def curve(trial: Trial) -> list[float]:
        scores = task.curve(trial.params)
        if width:
            rng = np.random.default_rng(derive_seed(trial.seed, "noise"))
            scores = scores + rng.normal(0, width, len(scores))
        return scores.tolist()

    return ScriptedObjective(_remembering(curve), n_steps=task.n_steps)


def _remembering(curve: Any) -> Any:
    """Read each trial's curve once: the objective asks for it at every step."""
    known: dict[int, list[float]] = {}

    def remembered(trial: Trial) -> list[float]:
        if trial.number not in known:
            known[trial.number] = curve(trial)
        return known[trial.number]

    return remembered


def replay(task: LCBench | TaskSet, arm: Arm, seed: int, n_units: int) -> dict[str, Any]:
    """Search ``task`` for ``n_units`` full trainings' worth of epochs and tell how it went."""
    began = time.perf_counter()
    objective = scripted(task, arm.noise)
    space, course = SearchSpace.load(task.space), Course(task)
    own = derive_seed(seed, task.name) % 2**31  # paired over the arms
    sampler = make_sampler(arm.sampler, own, parallel=arm.cohort > 1, space=space)
    store = TrialStore("replay", space, sampler=sampler, seed=own)
    trials = TrialManager(
        store,
        build("hpo.pruners", arm.pruner, BasePruner),
        Budget(max_total_epochs=n_units * task.n_steps),
        observers=[course],
        max_steps=objective.max_steps,
    )
    with LockstepExecutor(objective, arm.cohort) as executor:
        OptunaBackend().run(trials, executor)
    return {
        "task": task.name,
        "family": task.family,
        "arm": arm.name,
        "seed": seed,
        "chosen": course.by_unit(n_units),
        "n_trials": course.n_trials,
        "n_complete": course.n_complete,
        "seconds": round(time.perf_counter() - began, 2),
    }
