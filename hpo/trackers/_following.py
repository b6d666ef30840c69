"""Start followers: for a driver that runs a study, and once for a study that is there."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hpo._redaction import redact
from hpo.storage.trial_store import TrialStore
from hpo.trackers._follower import DONE, ELSEWHERE, GAVE_UP
from hpo.trackers._order import Order, Outcome, read_outcome
from hpo.trackers.base import BaseTracker

__all__ = ["Following", "catch_up", "environment", "left_message", "start"]

LOG_BYTES = 1_000_000

_LOOK = 0.2
"""Seconds between two looks at whether the driver is in a hurry."""

_AT_WORK = -100
"""Stands for the exit code of a follower that has none yet."""

_left_at_work: list["subprocess.Popen[bytes]"] = []
"""Followers that nobody waits for; forgotten ones would be warned of."""

# -P: a file in the current folder must not shadow a module of the follower.
COMMAND = [sys.executable, "-P", "-m", "hpo.trackers"]


class Following:
    """A follower of the study that this process drives.

    Parameters
    ----------
    tracker : BaseTracker
    store : TrialStore
        The study, in a storage that another process can read.
    temporary : bool, default=False
        Whether the storage is to be removed once everything is in the target.

    Raises
    ------
    PluginError
        If the tracker cannot be pickled.
    """

    def __init__(self, tracker: BaseTracker, store: TrialStore, *, temporary: bool = False) -> None:
        self._order = Order.make(
            tracker, store.name, store.key, str(store.url), driver=store.driver, temporary=temporary
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""

    def start(self) -> None:
        """Start the follower; if that fails, `finish` tries again and says why."""
        try:
            self._process = start(self._order, watched=True)
        except OSError as error:
            self._problem = f"{error}"

    @property
    def pid(self) -> int | None:
        """Id of the follower's process; None if it could not be started."""
        return None if self._process is None else self._process.pid

    def finish(self, timeout: float = 60.0, *, hurried: Callable[[], bool] = lambda: False) -> str:
        """Say that the study has ended, and wait for the follower.

        Parameters
        ----------
        timeout : float, default=60.0
            Seconds to wait at most.
        hurried : callable
            Asked meanwhile; once it returns True, the follower is left to finish by itself.

        Returns
        -------
        str
            A note for the user; empty if everything is in the target.
        """
        deadline = time.monotonic() + timeout
        code = self._end(deadline, hurried)
        if code not in {DONE, GAVE_UP, ELSEWHERE, _AT_WORK, None}:  # it was killed, or not started
            self.start()
            code = self._end(deadline, hurried)
        if code == ELSEWHERE:
            return ""
        if code == _AT_WORK:
            return redact(
                f"'{self._order.name}' is still on its way to {self._order.target}, by a process "
                f"of its own. `hpo sync {self._order.name}` sends what is missing there."
            )
        outcome = read_outcome(self._order.place) or Outcome(cause=self._cause(code))
        if code != DONE:
            return left_message(self._order, outcome)
        return _refused_message(self._order, outcome)

    def _cause(self, code: int | None) -> str:
        """Return why the follower has told nothing."""
        if self._problem or code is None:  # None: it had no answer from the target
            return self._problem
        return f"its process ended with {code}, see {self._order.place / 'follower.log'}"

    def _end(self, deadline: float, hurried: Callable[[], bool]) -> int | None:
        """Return the exit code of the follower, `_AT_WORK`, or None if it had to be killed."""
        process = self._process
        if process is None:
            return -1
        if process.stdin is not None and not process.stdin.closed:
            with suppress(OSError):
                process.stdin.write(b".")
            with suppress(OSError):
                process.stdin.close()
        while (left := deadline - time.monotonic()) > 0:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(min(left, _LOOK))
            if hurried():
                _left_at_work.append(process)
                return _AT_WORK
        process.kill()
        process.wait()
        return None


def catch_up(order: Order, timeout: float = 600.0) -> Outcome:
    """Make a tracker's target agree with a study, in a process of its own, and wait for it.

    Parameters
    ----------
    order : Order
    timeout : float, default=600.0
        Seconds to wait at most.
    """
    before = read_outcome(order.place)
    order = replace(order, driver="")
    try:
        process = start(order, watched=False)
    except OSError as error:
        return Outcome(cause=f"its follower cannot be started: {error}")
    try:
        code: int | None = process.wait(timeout)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        process.kill()
        process.wait()
        order.path.unlink(missing_ok=True)
    outcome = read_outcome(order.place)
    if outcome is None or (outcome == before and code != ELSEWHERE):
        log = order.place / "follower.log"
        return Outcome(cause=f"the process ended with {code}, see {log}")
    return replace(outcome, trials=0, reports=0) if code == ELSEWHERE else outcome


def left_message(order: Order, outcome: Outcome) -> str:
    """Return a note for the user on what has not reached the target."""
    n = outcome.left
    what = f"{n} trial{'s' * (n != 1)} of '{order.name}'" if n else f"The study '{order.name}'"
    has = "has" if n < 2 else "have"
    cause = f": {outcome.cause}" if outcome.cause else ""
    command = "hpo sync" if order.path.exists() else f"hpo sync {order.name}"
    return redact(
        f"{what} {has} not reached {order.target}{cause}. The storage has everything, and "
        f"`{command}` sends it."
    )


def _refused_message(order: Order, outcome: Outcome) -> str:
    """Return a note for the user on what the target has rejected; empty if that is nothing."""
    if not outcome.refused:
        return ""
    log = order.place / "refused.log"
    return redact(f"{order.target} refused {outcome.refused} records for good: see {log}.")


def environment() -> dict[str, str]:
    """Return the environment of a process connected to a target: quiet, with short timeouts."""
    package_root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    fixed = {
        "PYTHONPATH": path,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "OMP_NUM_THREADS": "1",
    }
    return {**defaults, **os.environ, **fixed}


def start(order: Order, *, watched: bool) -> "subprocess.Popen[bytes]":
    """Start a follower in its own session, which Ctrl-C in the terminal does not reach.

    Raises
    ------
    OSError
        If the order cannot be written, or the process not be started.
    """
    path = order.write()
    log = order.place / "follower.log"
    too_long = log.exists() and log.stat().st_size > LOG_BYTES
    with log.open("wb" if too_long else "ab") as output:
        return subprocess.Popen(
            [*COMMAND, str(path), *(["watched"] if watched else [])],
            stdin=subprocess.PIPE if watched else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
            bufsize=0,
        )
