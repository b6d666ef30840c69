"""Whether the driver of a trial is alive, told by its process."""

import os
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from hpo.pruners.nop import NopPruner
from hpo.space import SearchSpace
from hpo.storage.drivers import at_work, driver_lives, host_of, name_of, new_driver
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, Report, TrialState
from hpo.trial_manager import TrialManager

NAMED = """
import sys
from hpo.storage.drivers import new_driver
print(new_driver(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other():
    """Another process, and the name of a driver in it."""
    with subprocess.Popen(
        [sys.executable, "-c", NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_driver_lives_as_long_as_its_process(other):
    process, driver = other
    assert host_of(driver) == socket.gethostname()
    assert name_of(driver) == f"process {process.pid} on {socket.gethostname()}"
    assert driver_lives(driver, 0.0)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not driver_lives(driver, time.time())  # although its number is still taken
    process.wait()
    assert not driver_lives(driver, time.time())


def test_another_process_with_the_same_number_is_not_the_driver(other):
    process, driver = other
    host, rest = driver.split("/", 1)
    number, start_and_name = rest.split("@")
    start, name = start_and_name.split("/")
    assert number == str(process.pid)
    assert not driver_lives(f"{host}/{number}@{float(start) - 60:.1f}/{name}", time.time())
    assert driver_lives(f"{host}/{number}/{name}", 0.0)  # as version 0.3 and before wrote it


def test_a_driver_in_this_process_lives_while_it_is_at_work():
    one, two = new_driver(), new_driver()
    assert not driver_lives(one, time.time())
    with at_work(one):
        assert driver_lives(one, 0.0)
        assert not driver_lives(two, 0.0)
    assert not driver_lives(one, time.time())


def test_a_driver_on_another_machine_lives_as_long_as_it_gives_a_sign(monkeypatch):
    driver = f"elsewhere/{os.getpid()}@1.0/x"
    now, clock = time.time(), [1000.0]
    monkeypatch.setattr("hpo.storage.drivers.time.monotonic", lambda: clock[0])
    # Not seen before: by the clocks, which may differ by minutes.
    assert driver_lives(driver, now - 600)
    assert not driver_lives(f"{driver}y", now - 1000)
    # Watched: by our own clock, whatever that of the other machine says.
    clock[0] += 299
    assert driver_lives(driver, now - 600)
    assert driver_lives(driver, now - 700)  # an older sign is no new one
    clock[0] += 2
    assert not driver_lives(driver, now - 600)
    assert driver_lives(driver, now - 540)  # it was suspended, and is back
    clock[0] += 299
    assert driver_lives(driver, now - 540)


def test_a_driver_gives_signs_and_watches_others_whatever_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.storage._heart.HEARTBEAT_SECONDS", 0.01)
    space = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    url = f"journal:///{tmp_path}/s.log"
    here, there = TrialStore("s", space, url), TrialStore("s", space, url)
    there.ask()
    watched = threading.Event()
    monkeypatch.setattr(here, "lives", lambda driver: watched.set() or True)
    with here.beating():
        first = there.last_sign(here.driver)
        assert first
        assert watched.wait(30)
        while there.last_sign(here.driver) == first:  # the main thread does nothing
            time.sleep(0.01)
    assert "hpo-heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_driver_that_was_suspended_does_not_write_a_trial_that_was_taken_over(
    tmp_path, monkeypatch
):
    space = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    url = f"journal:///{tmp_path}/s.log"
    suspended = TrialStore("s", space, url)
    trials = TrialManager(suspended, NopPruner(), max_steps=lambda params: 2)
    one, two, three = (trials.ask() for _ in range(3))
    trials.report([Report(one.number, 1, 0.5, (0.5,))])
    suspended.set_attr(f"alive:{suspended.driver}", time.time() - 1000)
    host = socket.gethostname()
    monkeypatch.setattr("hpo.storage.drivers.socket.gethostname", lambda: f"not-{host}")
    other = TrialStore("s", space, url)
    assert len(other.fail_stale_trials()) == 3
    retries = [other.ask() for _ in range(3)]
    assert [t.params for t in retries] == [t.params for t in (one, two, three)]
    # The first one comes back, and goes on with its trials.
    assert trials.report([Report(one.number, 2, 0.9, (0.9,))]) == [one.number]
    trials.end(two.number, TrialState.FAILED, "an error", "a traceback")
    trials.end(three.number, TrialState.PRUNED, "no good")
    for record in trials.records[:3]:
        assert record.state is TrialState.INTERRUPTED
        assert record.reason.startswith("another process tries it again")
    assert trials.ask().number == 6  # it goes on
    stored = {record.number: record for record in other.records(running=True)}
    assert [stored[n].cause for n in range(3)] == [Cause.DRIVER_DIED] * 3
    assert [len(stored[n].reports) for n in range(3)] == [1, 0, 0]
    assert len(stored) == 7
