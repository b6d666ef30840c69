"""Tests for every backend: inherit `BackendConformance` and define ``backend``."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hpo._discovery import build
from hpo._stop_signal import StopSignal
from hpo.backends.base import BaseBackend
from hpo.budget import Budget
from hpo.executors.serial import SerialExecutor
from hpo.observer import BaseObserver
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.testing.scripted import ScriptedObjective
from hpo.training import BaseObjective
from hpo.trial import Report, Trial, TrialRecord, TrialState
from hpo.trial_manager import TrialManager

__all__ = ["BackendConformance", "Recorder", "scripted_curve", "search", "steady_curve", "timeless"]

SPACE = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "kind": {"type": "categorical", "choices": ["steady", "late", "nan", "raises"]},
    "rate": {"type": "float", "low": 1e-3, "high": 1.0, "log": True, "when": {"kind": "late"}},
}


def scripted_curve(trial: Trial) -> list[float | BaseException]:
    """Return five scores that depend on the parameters, some of them nan, or an error."""
    x = float(trial.params["x"])
    match trial.params["kind"]:
        case "nan":
            return [x, math.nan, math.nan, math.nan, math.nan]
        case "raises":
            return [x, RuntimeError(f"scripted for {trial.number}")]
        case "late":
            return [0.1 * x * step + trial.params["rate"] for step in range(1, 6)]
    return [x * (1 - 0.5**step) for step in range(1, 6)]


class Recorder(BaseObserver):
    """A tracker that records the events."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def on_trial_start(self, record: TrialRecord) -> None:
        """Record the start."""
        self.heard.append(("started", record.number))

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Record the report."""
        self.heard.append(("reported", record.number))

    def on_trial_end(self, record: TrialRecord) -> None:
        """Record the end."""
        self.heard.append((str(record.state), record.number))


def search(
    backend: BaseBackend,
    objective: BaseObjective,
    *,
    space: Any = SPACE,
    storage: str | None = None,
    name: str = "conformance",
    n_trials: int = 12,
    budget: Budget | None = None,
    sampler: str = "random",
    pruner: str = "median:n_startup_trials=2",
    seed: int = 0,
    interrupt: StopSignal | None = None,
    trackers: Sequence[BaseObserver] = (),
) -> tuple[TrialRecord, ...]:
    """Run a whole search, one trial at a time, and return its records."""
    checked = SearchSpace.load(space)
    store = TrialStore(
        name,
        checked,
        storage,
        sampler=make_sampler(sampler, seed, parallel=False, space=checked),
        seed=seed,
    )
    store.fail_stale_trials()
    rule = build("hpo.pruners", pruner, BasePruner)
    trials = TrialManager(
        store,
        rule,
        budget or Budget(n_trials),
        interrupt,
        observers=trackers,
        max_steps=objective.max_steps,
    )
    with SerialExecutor(objective) as executor:
        backend.run(trials, executor)
    return trials.records


def timeless(record: TrialRecord) -> str:
    """Return ``record`` as text, without what differs between two runs.

    These are times, how it was trained, and paths in tracebacks. As text, nan equals nan.
    """
    reports, screening = (
        tuple(replace(r, seconds=0.0, fit_seconds=(), score_seconds=(), time=0.0) for r in each)
        for each in (record.reports, record.screening)
    )
    error = record.error and record.error.splitlines()[-1]
    untimed = replace(
        record, reports=reports, screening=screening, error=error, started=None, ended=None
    )
    return repr(replace(untimed, trained_by="", trained_by_reason="", worker=""))


class BackendConformance:
    """Tests of a backend; a subclass defines the fixture ``backend``."""

    @pytest.fixture
    def backend(self) -> BaseBackend:
        """Return the backend to test."""
        raise NotImplementedError("A subclass must give the fixture backend.")

    @pytest.fixture
    def objective(self) -> BaseObjective:
        """Return an objective whose trials end in every state."""
        return ScriptedObjective(scripted_curve, n_folds=2, n_steps=5)

    def test_the_budget_of_trials_is_kept_and_every_fate_occurs(
        self, backend: BaseBackend, objective: BaseObjective
    ) -> None:
        """Every trial ends in a state, and a stop or a failure carries its reason."""
        records = search(backend, objective, n_trials=20)
        assert [record.number for record in records] == list(range(20))
        assert {record.state for record in records} == {
            TrialState.COMPLETE,
            TrialState.PRUNED,
            TrialState.FAILED,
        }
        for record in records:
            assert bool(record.reason) == (record.state is not TrialState.COMPLETE)

    def test_the_same_seed_gives_the_same_study(
        self, backend: BaseBackend, objective: BaseObjective
    ) -> None:
        """Trials, reports, prunes and reasons agree with the reference backend's."""
        from hpo.backends.optuna import OptunaBackend

        records = search(backend, objective)
        reference = search(OptunaBackend(), objective)
        assert [timeless(r) for r in records] == [timeless(r) for r in reference]
        assert len({r.trial.params["x"] for r in records}) == len(records)

    def test_a_model_and_halving_give_the_same_study(self, backend: BaseBackend) -> None:
        """Proposals and pruned trials agree with those of the reference backend."""
        from hpo.backends.optuna import OptunaBackend

        objective = ScriptedObjective(steady_curve, n_steps=5)
        options: dict[str, Any] = {"sampler": "tpe:n_startup_trials=4", "pruner": "halving"}
        records = search(backend, objective, n_trials=16, **options)
        reference = search(OptunaBackend(), objective, n_trials=16, **options)
        assert [timeless(r) for r in records] == [timeless(r) for r in reference]
        assert {r.last_step for r in records if r.state is TrialState.PRUNED} <= {1, 2, 4}
        assert any(r.state is TrialState.PRUNED for r in records)

    def test_trackers_hear_each_trial_from_start_to_end(
        self, backend: BaseBackend, objective: BaseObjective
    ) -> None:
        """One start, one end, as many reports between as the record has."""
        tracker = Recorder()
        for record in search(backend, objective, trackers=[tracker]):
            events = [what for what, number in tracker.heard if number == record.number]
            assert events == ["started", *["reported"] * len(record.reports), str(record.state)]

    def test_a_study_goes_on_where_it_ended(
        self, backend: BaseBackend, objective: BaseObjective, tmp_path: Any
    ) -> None:
        """Two runs with one storage give the same study as a single run."""
        storage = f"sqlite:///{tmp_path}/study.db"
        search(backend, objective, storage=storage, n_trials=5, sampler="tpe")
        resumed = search(backend, objective, storage=storage, n_trials=14, sampler="tpe")
        single_run = search(backend, objective, n_trials=14, sampler="tpe")
        assert [timeless(r) for r in resumed] == [timeless(r) for r in single_run]

    def test_an_interrupt_closes_what_runs_and_its_parameters_are_tried_again(
        self, backend: BaseBackend, tmp_path: Any
    ) -> None:
        """An interrupted trial is closed as such, and its parameters are tried again."""
        storage = f"sqlite:///{tmp_path}/study.db"
        interrupt = StopSignal()

        class Cut(Recorder):
            def on_report(self, record: TrialRecord, report: Report) -> None:
                if (record.number, report.step) == (3, 2):
                    interrupt.request("test")

        objective = ScriptedObjective(steady_curve, n_steps=5)
        options: dict[str, Any] = {"storage": storage, "pruner": "nop"}
        cut = search(backend, objective, interrupt=interrupt, trackers=[Cut()], **options)
        assert [r.interrupted for r in cut] == [False, False, False, True]
        again = search(backend, objective, n_trials=6, **options)
        assert [r.interrupted for r in again] == [r.number == 3 for r in again]
        assert sum(not r.interrupted for r in again) == 6
        assert again[4].trial.params == cut[3].trial.params

    def test_epochs_and_time_are_budgets_too(self, backend: BaseBackend) -> None:
        """Whichever budget is spent first ends the study."""
        objective = ScriptedObjective(steady_curve, n_steps=5, delay=0.01)
        by_epochs = search(backend, objective, budget=Budget(max_total_epochs=12), pruner="nop")
        assert sum(r.last_step for r in by_epochs) in {12, 13}
        by_time = search(backend, objective, budget=Budget(timeout=0.3), pruner="nop")
        assert 1 <= len(by_time) <= 12


def steady_curve(trial: Trial) -> list[float]:
    """Return five rising scores."""
    return [float(trial.params["x"]) * step for step in range(1, 6)]
