"""Every executor of the package, found by its name, keeps the laws."""

import inspect

import pytest

from hpo._discovery import find, names
from hpo.executors import BaseExecutor
from hpo.executors.fused.executor import FusedExecutor
from hpo.executors.serial import SerialExecutor
from hpo.testing import ScriptedObjective
from hpo.testing.executors import ExecutorConformance, curve_by_params, drive
from hpo.testing.lockstep import LockstepExecutor
from hpo.trial import Trial

pytestmark = pytest.mark.slow


@pytest.fixture(params=names("hpo.executors"))
def cls(request):
    return find("hpo.executors", request.param, BaseExecutor)


class TestExecutors(ExecutorConformance):
    @pytest.fixture
    def make_executor(self, cls):
        several = "n_jobs" in inspect.signature(cls).parameters
        return lambda objective: cls(objective, **({"n_jobs": 2} if several else {}))

    def test_it_says_how_it_trains(self, make_executor, cls):
        """A trial that batches were asked for, and that is in none, has a reason."""
        executor = make_executor(ScriptedObjective(curve_by_params))
        drive(executor, [Trial(0, {}, 0), Trial(1, {}, 1)])
        how, why = executor.trained_by(1)
        assert how == ("serial" if cls is SerialExecutor else "process")
        batches = issubclass(cls, FusedExecutor)
        assert why.startswith("the objective is a ScriptedObjective") if batches else why == ""


class TestLockstep(ExecutorConformance):
    @pytest.fixture
    def make_executor(self):
        return lambda objective: LockstepExecutor(objective, 2)
