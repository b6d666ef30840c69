"""Out of memory is knowledge: the trial ends, its memory is free again, the sampler keeps away."""

import gc
import weakref

import numpy as np
import pytest
import torch

from hpo.backends.optuna import OptunaBackend
from hpo.executors._memory import oom_reason
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.testing.backends import search
from hpo.training import BaseObjective
from hpo.trial import Report, TrialState

SPACE = {"width": {"type": "float", "low": 0.0, "high": 1.0}}
HELD = []


def raised(action):
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("it has not raised")


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (lambda: torch.empty(10**15), "out of memory: tried to allocate 3638 TiB"),
        (lambda: np.empty(10**15), "out of memory: tried to allocate 7.11 PiB"),
        (lambda: bytearray(10**17), "out of memory"),
        (lambda: torch.zeros(2) @ torch.zeros(3), ""),
        (list[int]().pop, ""),
    ],
)
def test_what_a_shortage_is_and_how_much_was_wanted(action, told):
    assert oom_reason(raised(action)) == told


def test_a_gpu_says_it_in_its_own_way():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...")
    error.add_note("in fold 3")
    assert oom_reason(error) == "out of memory: tried to allocate 20 GiB in fold 3"


class Wide(BaseObjective):
    """Needs more memory than any machine has where ``width`` is above a half."""

    def run(self, trial, device=None):
        assert not any(ref() is not None for ref in HELD)  # the trial before is gone
        weights = torch.zeros(1000)
        HELD.append(weakref.ref(weights))
        if trial.params["width"] > 0.5:
            torch.empty(10**15)
        yield Report(trial.number, 1, trial.params["width"])
        del weights
        gc.collect()

    def max_steps(self, params):
        return 1


@pytest.fixture
def records():
    HELD.clear()
    return search(
        OptunaBackend(), Wide(), space=SPACE, n_trials=40, sampler="tpe", pruner="nop", seed=3
    )


def test_the_study_goes_on_and_the_trial_is_no_failure(records):
    assert len(records) == 40
    for record in records:
        wide = record.trial.params["width"] > 0.5
        assert record.out_of_memory == wide
        assert record.state is (TrialState.PRUNED if wide else TrialState.COMPLETE)
        if wide:
            assert record.reason == "out of memory: tried to allocate 3638 TiB"
            assert "allocate" in record.error


def test_the_sampler_keeps_away_though_the_best_is_next_to_it(records):
    late = [record for record in records if record.number >= 20]
    early = [record for record in records if record.number < 10]
    share = sum(r.out_of_memory for r in late) / len(late)
    assert share < sum(r.out_of_memory for r in early) / len(early)
    assert max(r.value for r in records if not r.out_of_memory) > 0.45


def test_a_process_and_a_later_run_tell_the_same(tmp_path):
    from hpo.executors.process import ProcessExecutor
    from hpo.testing.executors import drive
    from hpo.trial import Trial

    (event,) = drive(ProcessExecutor(Wide(), n_jobs=1), [Trial(0, {"width": 0.9}, 1)])
    assert event.reason == "out of memory: tried to allocate 3638 TiB"
    storage = f"sqlite:///{tmp_path}/s.db"
    HELD.clear()
    first = search(OptunaBackend(), Wide(), space=SPACE, n_trials=6, storage=storage, pruner="nop")
    again = TrialStore("conformance", SearchSpace.load(SPACE), storage).records()
    assert [r.out_of_memory for r in again] == [r.out_of_memory for r in first]
    assert any(r.out_of_memory for r in again)
