"""What runs in a worker process."""

import signal
import sys
import traceback
from collections.abc import Generator
from multiprocessing.connection import Connection
from typing import Any

from hpo.executors._base import Ended, Event, Failed, Reported, reason_of
from hpo.executors._memory import clear_memory, shortage
from hpo.executors._payload import load
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

__all__ = ["main"]


def main(
    connection: Connection, address: Any, device: str, n_threads: int, path: list[str]
) -> None:
    """Load the objective, then train what the driver sends until it hangs up.

    Parameters
    ----------
    connection : Connection
        Receives ``("start", trial)``, then after each report ``("step", None)`` or
        ``("stop", None)``; sends events.
    address : tuple
        Of the objective's `Payload`.
    device : str
    n_threads : int
    path : list of str
        The driver's ``sys.path``.
    """
    # Ctrl-C reaches every process of the terminal; the driver decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = path
    try:
        from hpo.training._threads import limit_threads

        with limit_threads(n_threads):
            _serve(connection, load(address), device)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver has hung up


def _serve(connection: Connection, objective: BaseObjective, device: str) -> None:
    while True:
        order, trial = connection.recv()
        if order == "start":  # a late "stop" or "step" of a trial that ended by itself is void
            for event in _events(connection, objective, trial, device):
                connection.send(event)


def _events(
    connection: Connection, objective: BaseObjective, trial: Trial, device: str
) -> Generator[Event]:
    """Yield what happens to ``trial``, waiting for the driver's answer after each report."""
    steps: Generator[Report] | None = None
    short = ""
    try:
        steps = objective.run(trial, device)
        for report in steps:
            yield Reported(report)
            order, _ = connection.recv()
            if order == "stop":
                return
        yield Ended(trial.number)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        short = shortage(error)
        yield Failed(trial.number, reason_of(error), traceback.format_exc())
    finally:
        if steps is not None:
            steps.close()
        if short:
            clear_memory()
