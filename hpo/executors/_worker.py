"""The main function of a worker process."""

import multiprocessing
import os
import signal
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from hpo._failures import traceback_of
from hpo.executors._payload import load
from hpo.executors._running import RunningTrial
from hpo.executors._settings import Settings
from hpo.executors.base import LoadError, PutAside, Reported, reason_of
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["BEGUN", "main"]

BEGUN = "begun"
"""Sent when a trial begins, the objective having been loaded."""


def main(
    connection: Connection, address: Any, device: str, n_threads: int, settings: Settings
) -> None:
    """Load the objective, then train what the driver sends until it hangs up.

    Parameters
    ----------
    connection : Connection
        Receives ``("start", trial)``, then after each report ``("step", None)``,
        ``("stop", None)`` or ``("put_aside", None)``; sends `BEGUN` once it trains, then events.
    address : tuple
        Address of the objective's `Payload`.
    device : str
    n_threads : int
    settings : Settings
        The driver's settings.
    """
    _end_with_the_driver()
    # The server has its workers ignore these signals too; their children must not inherit that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches every process of the terminal; only the driver handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings.enter(here=True)
    with ExitStack() as limits:
        loaded = _load(address, n_threads, settings, limits)
        with suppress(EOFError, OSError):  # the driver has hung up
            _serve(connection, loaded, device)


def _end_with_the_driver() -> None:
    """Let this process have children, and end it and them when the driver is gone.

    A daemonic process may not have children: no data loader with workers, no pool. multiprocessing
    ends daemons when the driver exits, so only a driver that is killed has to be watched for.
    """
    multiprocessing.current_process().daemon = False
    if hasattr(os, "setpgid"):
        with suppress(OSError):
            os.setpgid(0, 0)  # its children join its group and are killed with it
    threading.Thread(target=_kill_after_driver, name="hpo-watch", daemon=True).start()


def _kill_after_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is None:
        return
    wait([driver.sentinel])
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _load(
    address: Any, n_threads: int, settings: Settings, limits: ExitStack
) -> BaseObjective | LoadError:
    try:
        from hpo.training.threads import limit_threads

        limits.enter_context(limit_threads(n_threads))
        objective: BaseObjective = load(address)
        settings.configure()
        limits.enter_context(settings.warning_alike())
    except BaseException as error:  # loading runs the user's code
        return LoadError(-1, reason_of(error), traceback_of(error))
    return objective


def _serve(connection: Connection, loaded: BaseObjective | LoadError, device: str) -> None:
    while True:
        command, trial = connection.recv()
        if command != "start":  # ignore a late "stop" or "step" for a trial that has ended
            continue
        if isinstance(loaded, LoadError):
            connection.send(replace(loaded, number=trial.number))
        else:
            _train(connection, loaded, trial, device)


def _train(connection: Connection, objective: BaseObjective, trial: Trial, device: str) -> None:
    """Make the trial's steps, waiting for the driver's answer after each report."""
    running = RunningTrial(trial.number, partial(objective.begin, trial, device))
    connection.send((BEGUN, trial.number))
    try:
        while isinstance(event := running.step_for_the_driver(), Reported):
            connection.send(event)
            command, _ = connection.recv()
            if command == "put_aside":
                running.put_aside()
                connection.send(PutAside(trial.number))
            if command != "step":
                return
        connection.send(event)
    finally:
        running.close()
