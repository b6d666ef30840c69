"""Workers may have children; nothing outlives the driver; a daemon may be the driver."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from skorch import NeuralNetClassifier
from skorch.dataset import Dataset
from torch import nn

from hpo import HPOSearchCV
from hpo.executors import Ended, Failed
from hpo.executors.process import ProcessExecutor
from hpo.testing import ScriptedObjective
from hpo.testing.executors import drive
from hpo.trial import Trial

pytestmark = pytest.mark.slow

cloudpickle.register_pickle_by_value(sys.modules[__name__])

DRIVER = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path
from hpo.executors.process import ProcessExecutor
from hpo.testing import ScriptedObjective
from hpo.trial import Trial

def long(trial):
    child = multiprocessing.Process(target=time.sleep, args=(600,))
    child.start()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(f"{trial.number}.draft").write_text(f"{os.getpid()} {child.pid} {other.pid}")
    Path(f"{trial.number}.draft").rename(f"{trial.number}.pids")
    time.sleep(600)
    return [1.0]

executor = ProcessExecutor(ScriptedObjective(long), n_jobs=2)
executor.start([Trial(0, {}, 0), Trial(1, {}, 1)])
while len(list(Path().glob("*.pids"))) < 2:
    executor.poll()
if sys.argv[1] == "stays":
    Path("ready").touch()
    time.sleep(600)
"""


def lives(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end_all(pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def driver(tmp_path):
    """Return a function that starts a driver of two trials with two children each."""
    (tmp_path / "driver.py").write_text(DRIVER)
    started = []

    def start(what):
        command = [sys.executable, "driver.py", what]
        started.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    end_all(pids_in(tmp_path))


def pids_in(folder):
    return [int(pid) for file in folder.glob("*.pids") for pid in file.read_text().split()]


def test_a_driver_that_is_killed_takes_workers_and_their_children_with_it(driver, tmp_path):
    process = driver("stays")
    wait_for((tmp_path / "ready").exists)
    pids = pids_in(tmp_path)
    assert len(pids) == 6
    assert all(map(lives, pids))
    process.kill()
    wait_for(lambda: not any(map(lives, pids)), 20)


def test_a_driver_that_exits_without_closing_leaves_nothing_behind(driver, tmp_path):
    process = driver("exits")
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, b"")
    pids = pids_in(tmp_path)
    assert len(pids) == 6
    wait_for(lambda: not any(map(lives, pids)), 20)


def with_a_pool(trial):
    with multiprocessing.Pool(2) as pool:
        return [float(sum(pool.map(abs, [-1, -2])))]


class Rows(Dataset):
    """A data set that no other process can import."""


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_loader_of_the_users_own_may_have_workers(n_jobs):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4)).astype("float32")
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        dataset=Rows,
        iterator_train__num_workers=1,
        max_epochs=1,
        batch_size=20,
        train_split=None,
        verbose=0,
    )
    search = HPOSearchCV(net, {"lr": [0.1, 0.2]}, n_trials=2, cv=2, n_jobs=n_jobs, refit=False)
    assert search.fit(X, (X[:, 0] > 0).astype("int64")).result_.n_complete == 2


def leaves_a_child_and_dies(trial):
    child = multiprocessing.Process(target=time.sleep, args=(600,))
    child.start()
    Path(trial.params["mark"]).write_text(str(child.pid))
    os._exit(7)


def test_a_trial_may_have_a_pool_of_processes():
    executor = ProcessExecutor(ScriptedObjective(with_a_pool), n_jobs=1)
    reported, ended = drive(executor, [Trial(0, {}, 0)])
    assert (reported.report.value, ended) == (3.0, Ended(0))


def test_a_worker_that_dies_is_told_at_once_though_it_leaves_a_child_and_takes_it_along(tmp_path):
    mark = tmp_path / "1.pids"
    trial = Trial(0, {"mark": str(mark)}, 0)
    began = time.monotonic()
    (failed,) = drive(
        ProcessExecutor(ScriptedObjective(leaves_a_child_and_dies), n_jobs=1), [trial]
    )
    assert isinstance(failed, Failed)
    assert failed.reason == "the worker process died: exit code 7"
    assert time.monotonic() - began < 120  # the child would live for ten minutes
    wait_for(lambda: not any(map(lives, pids_in(tmp_path))), 20)


POOL = """
import multiprocessing, sys
from hpo.executors.process import ProcessExecutor
from hpo.testing import ScriptedObjective
from hpo.testing.executors import drive
from hpo.trial import Trial

def value(trial):
    return [0.5]

def study(n_jobs):
    seen = drive(ProcessExecutor(ScriptedObjective(value), n_jobs=n_jobs), [Trial(0, {}, 0)])
    return multiprocessing.current_process().daemon, [type(event).__name__ for event in seen]

if __name__ == "__main__":
    if sys.argv[1] == "fork":  # the server of the process that is forked answers to that one alone
        study(1)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.map(study, [1])[0])
"""


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_worker_of_a_pool_may_be_the_driver(method, tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    done = subprocess.run(
        [sys.executable, "pool.py", method],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.stdout, done.stderr) == ("(True, ['Reported', 'Ended'])\n", "")
