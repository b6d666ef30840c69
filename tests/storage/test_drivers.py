"""Whether the driver of a trial is alive, told by its process."""

import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from hpo.storage.drivers import at_work, driver_lives, host_of, name_of, new_driver

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


def test_a_driver_on_another_machine_lives_as_long_as_it_gives_a_sign():
    driver = f"elsewhere/{os.getpid()}@1.0/x"
    assert driver_lives(driver, time.time() - 600)
    assert not driver_lives(driver, time.time() - 4000)
