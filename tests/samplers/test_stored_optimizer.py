"""CMA-ES goes on from its state in a storage, and loads no other pickle from there."""

import pickle
from pathlib import Path

import optuna
import pytest

from hpo.exceptions import StorageError
from hpo.samplers.base import make_sampler


class Trap:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def study_of(storage):
    sampler = make_sampler("cmaes", 0, parallel=False)
    return optuna.create_study(
        storage=storage, sampler=sampler, study_name="s", load_if_exists=True
    )


def objective(trial):
    return trial.suggest_float("x", 0, 1) ** 2 + trial.suggest_float("y", 0, 1)


def test_a_state_of_its_own_is_loaded():
    storage = optuna.storages.InMemoryStorage()
    study_of(storage).optimize(objective, n_trials=15)
    study = study_of(storage)
    study.optimize(objective, n_trials=15)
    states = [key for t in study.trials for key in t.system_attrs if "optimizer:" in key]
    assert states
    assert len(study.trials) == 30


def test_another_pickle_is_not(tmp_path):
    storage = optuna.storages.InMemoryStorage()
    study = study_of(storage)
    study.optimize(objective, n_trials=15)
    keys = [key for t in study.trials for key in t.system_attrs if "optimizer:" in key]
    trial = study.ask()
    trace = tmp_path / "trace"
    state = pickle.dumps(Trap(trace)).hex()
    storage.set_trial_system_attr(trial._trial_id, keys[0], state)
    study.tell(trial, 0.5)
    with pytest.raises(StorageError, match=r"Trial 15 has a state .* it asks for"):
        study_of(storage).ask().suggest_float("x", 0, 1)
    assert not trace.exists()
