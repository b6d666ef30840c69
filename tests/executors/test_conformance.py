"""Every executor of the package, found by its name, keeps the laws."""

import inspect

import pytest

from hpo._discovery import find, names
from hpo.executors import BaseExecutor
from hpo.testing.executors import ExecutorConformance
from hpo.testing.lockstep import LockstepExecutor


@pytest.fixture(params=names("hpo.executors"))
def cls(request):
    return find("hpo.executors", request.param, BaseExecutor)


class TestExecutors(ExecutorConformance):
    @pytest.fixture
    def make_executor(self, cls):
        several = "n_jobs" in inspect.signature(cls).parameters
        return lambda objective: cls(objective, **({"n_jobs": 2} if several else {}))


class TestLockstep(ExecutorConformance):
    @pytest.fixture
    def make_executor(self):
        return lambda objective: LockstepExecutor(objective, 2)
