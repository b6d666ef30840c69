"""Which Ray the backend uses, what it says where there is none, and what is left of one."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hpo import load_result
from hpo.backends.ray import RayBackend
from hpo.exceptions import ExecutorError
from hpo.testing import ScriptedObjective
from hpo.testing.backends import search, steady_curve, timeless

pytestmark = pytest.mark.slow


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r"pip install 'ray\[tune\]', or use backend='optuna'"):
        search(RayBackend(), ScriptedObjective(steady_curve, n_steps=5))


@pytest.mark.parametrize("version", ["2.59.1", "1.13.0"])
def test_a_ray_that_is_too_old_is_named_with_the_one_that_is_needed(monkeypatch, version):
    monkeypatch.setattr("ray.__version__", version)
    with pytest.raises(
        ExecutorError, match=rf"Got {version} instead: pip install -U 'ray\[tune\]'"
    ) as told:
        search(RayBackend(), ScriptedObjective(steady_curve, n_steps=5))
    assert "needs Ray 2.60 or newer" in str(told.value)


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster as a user does; give its process and the environment that finds it.

    It has a resource that no other Ray on this machine has, and asks for a token.
    """
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
    others = {"RAY_ADDRESS", "RAY_AUTH_MODE"}
    environment = {
        **{name: value for name, value in os.environ.items() if name not in others},
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    head = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--num-cpus=1", '--resources={"marked": 1}', "--port=0"),
            *("--node-ip-address=127.0.0.1", "--include-dashboard=false"),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        lines = [head.stdout.readline()]
        while "runtime started" not in lines[-1]:
            lines.append(head.stdout.readline())
            assert lines[-1], "".join(lines)  # it has ended
        yield head, environment
    finally:
        head.terminate()
        with suppress(subprocess.TimeoutExpired):
            head.communicate(timeout=20)
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.communicate()
        shutil.rmtree(folder, ignore_errors=True)


MARKED = """
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from hpo import Study, StudyData

    X, y = load_iris(return_X_y=True)
    study = Study(
        name="marked", estimator=LogisticRegression(max_iter=500), data=StudyData(X=X, y=y),
        search_space={"C": {"type": "float", "low": 0.1, "high": 1.0}}, cv=2, n_trials=2,
        backend="ray:resources={'marked': 1}", storage=None, tracker="null", refit=False,
    )
"""

COMMANDS = """
    import sys
    from hpo.cli import main

    codes = []
    for address in sys.argv[1:]:
        try:
            main(["run", "marked.py", "--ray-address", address])
        except SystemExit as done:
            codes.append(done.code)
    print(codes)
"""


def run_marked(folder, environment, *addresses):
    """Run the study at each address in one process; return its exit codes, output and errors."""
    (folder / "marked.py").write_text(textwrap.dedent(MARKED))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COMMANDS), *addresses],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=200,
    )
    *_, codes = done.stdout.splitlines()
    return codes, done.stdout, done.stderr


def test_a_running_cluster_is_found_by_itself_and_used_and_left_running(cluster, tmp_path):
    head, environment = cluster
    codes, out, err = run_marked(tmp_path, environment, "127.0.0.1:1", "auto")
    assert codes == "[2, 0]"
    assert "marked  2 trials: 2 complete\n" in out
    (error,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert error.startswith("error: Ray cannot be reached at '127.0.0.1:1': ")
    assert "Start one with 'ray start --head'" in error
    assert head.poll() is None


def test_a_running_cluster_is_joined_by_its_address(cluster, tmp_path):
    head, environment = cluster
    address = Path(environment["RAY_TMPDIR"], "ray", "ray_current_cluster").read_text().strip()
    environment = {**environment, "RAY_AUTH_MODE": "token"}  # Ray sends no token there unasked
    codes, out, _ = run_marked(tmp_path, environment, address)
    assert codes == "[0]"
    assert "marked  2 trials: 2 complete\n" in out
    assert head.poll() is None


DRIVER = """
    import sys
    from hpo.budget import Budget
    from hpo.storage.trial_store import TrialStore
    from hpo.samplers.base import make_sampler
    from hpo.backends.ray import RayBackend
    from hpo.executors.serial import SerialExecutor
    from hpo.pruners.median import MedianPruner
    from hpo.trial_manager import TrialManager
    from hpo.space import SearchSpace
    from hpo.testing import ScriptedObjective

    space = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    store = TrialStore("shared", space, sys.argv[1], sampler=make_sampler("tpe", 0, parallel=True))
    store.fail_stale_trials()
    curve = lambda trial: [trial.params["x"] * step for step in range(1, 6)]
    objective = ScriptedObjective(curve, n_steps=5, delay=0.05)
    trials = TrialManager(store, MedianPruner(), Budget(24), max_steps=objective.max_steps)
    print("ready", flush=True)
    sys.stdin.readline()
    with SerialExecutor(objective) as executor:
        RayBackend(address=sys.argv[2], max_concurrent=1).run(trials, executor)
    print(" ".join(str(n) for n in sorted(store._asked)))
"""


@pytest.mark.usefixtures("local_ray")
def test_two_drivers_on_one_cluster_share_a_budget_and_no_trial_is_run_twice(tmp_path):
    import ray

    url = f"sqlite:///{tmp_path}/s.db"
    address = ray.get_runtime_context().gcs_address
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(DRIVER), url, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RAY_AUTH_MODE": "token"},
        )
        for _ in range(2)
    ]
    for driver in drivers:
        assert driver.stdout.readline() == "ready\n", driver.stderr.read()
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()
    ran = []
    for driver in drivers:
        out, err = driver.communicate(timeout=120)
        assert driver.returncode == 0, err
        ran.append(set(map(int, out.split())))
    result = load_result("shared", url)
    assert ran[0]
    assert ran[1]
    assert not ran[0] & ran[1]
    assert ran[0] | ran[1] == {record.number for record in result.records}
    assert 24 <= result.n_trials <= 25  # both may see the last place free at once
    assert len({record.trial.params["x"] for record in result.records}) == result.n_trials
    for record in result.records:
        assert [report.step for report in record.reports] == list(range(1, record.last_step + 1))


MORTAL = """
    import sys, time
    from hpo.backends.ray import RayBackend
    from hpo.testing.backends import Recorder, search
    from hpo.training import BaseObjective
    from hpo.trial import Report

    class Stuck(BaseObjective):
        def run(self, trial, device=None):
            for step in range(1, 6):
                if (trial.number, step) == (2, 3):
                    time.sleep(600)
                yield Report(trial.number, step, trial.params["x"] * step)

        def max_steps(self, params):
            return 5

    class Shown(Recorder):
        def on_report(self, record, report):
            print(record.number, report.step, flush=True)

    search(
        RayBackend(max_concurrent=1), Stuck(), storage=sys.argv[1], n_trials=6, pruner="nop",
        trackers=[Shown()],
    )
"""

LINGERING = {"ray::DashboardA", "ray::RuntimeEnv"}
"""Two small agents that try for a minute to tell the dead Ray of its death, then go."""


def processes():
    """Return the name, parent and start of every process that lives."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            head, _, tail = (entry / "stat").read_text().rpartition(")")
            state, parent, *rest = tail.split()
            if state not in "ZX":
                found[int(entry.name)] = (head.partition("(")[2], int(parent), rest[17])
    return found


def descendants(pid):
    """Return all that ``pid`` has started and that lives, as (pid, name, start)."""
    alive, family = processes(), {pid}
    while more := {p for p, (_, parent, _) in alive.items() if parent in family} - family:
        family |= more
    return {(p, alive[p][0], alive[p][2]) for p in family - {pid}}


def living(family):
    alive = processes()
    return {(p, name, start) for p, name, start in family if alive.get(p, ("",) * 3)[2] == start}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
@pytest.mark.usefixtures("local_ray")
def test_a_killed_driver_takes_its_ray_along_and_its_study_goes_on(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(MORTAL), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    family = set()
    try:
        assert "2 2\n" in iter(driver.stdout.readline, "")  # and no line more
        family = descendants(driver.pid)
        assert {"raylet", "gcs_server"} < {name for _, name, _ in family}
        driver.kill()
        driver.wait()
        deadline = time.monotonic() + 60
        while {name for _, name, _ in living(family)} - LINGERING:
            assert time.monotonic() < deadline, living(family)
            time.sleep(0.1)
    finally:
        driver.kill()
        driver.communicate()
        for pid, _, _ in living(family):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    before = load_result("conformance", url)
    assert [str(record.state) for record in before.records] == ["complete", "complete", "running"]

    objective = ScriptedObjective(steady_curve, n_steps=5)  # the same reports
    after = search(RayBackend(max_concurrent=1), objective, storage=url, n_trials=6, pruner="nop")
    assert [timeless(r) for r in after[:2]] == [timeless(r) for r in before.records[:2]]
    assert [r.value for r in after[2].reports] == [r.value for r in before.records[2].reports]
    assert [record.interrupted for record in after] == [False, False, True, *[False] * 4]
    assert after[3].trial.params == after[2].trial.params
