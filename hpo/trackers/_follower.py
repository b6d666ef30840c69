"""The follower: makes a tracker's target agree with a study's storage, in its own process."""

import io
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from hpo._own_files import make_folder
from hpo._redaction import redact
from hpo.storage.stored_study import StoredStudy
from hpo.storage.study_facts import StudyRecord, current_records, read_study
from hpo.storage.urls import file_of
from hpo.trackers._order import Order, Outcome, read_outcome, write_outcome
from hpo.trackers._progress import progress_of
from hpo.trackers.base import WHOLE, BaseTracker, TrialChange, trial_mark
from hpo.trial import TrialRecord, TrialState

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["DONE", "ELSEWHERE", "GAVE_UP", "Driver", "Follower", "follow_once", "main"]

WAKE_SECONDS = 1.0
IDLE = 5.0
"""A follower waits at least this many times as long as reading the storage took."""
LONGEST_WAIT = 30.0
LAST_ATTEMPTS = 2
CHUNK = 50
"""Trials that are given to the tracker at a time."""

DONE, GAVE_UP, ELSEWHERE = 0, 3, 4
"""Exit codes: everything is in the target; something is left; another follower does the work."""

log = logging.getLogger(__name__)


class Driver:
    """The driver process as its follower sees it: at work, or done (or dead).

    Parameters
    ----------
    name : str
        Name of the driver in the storage.
    watched : bool
        Whether there is a driver, on the other end of standard input. It writes a byte to
        say that it is done; the end of the stream says that it is dead.
    """

    def __init__(self, name: str = "", *, watched: bool = False) -> None:
        self._name = name
        self._parent = os.getppid()
        self._done = threading.Event()
        self._said_so = not watched
        if watched:
            threading.Thread(target=self._listen, daemon=True).start()
        else:
            self._done.set()

    def _listen(self) -> None:
        with suppress(OSError):
            self._said_so = bool(sys.stdin.buffer.read(1))
        self._done.set()

    @property
    def done(self) -> bool:
        """Whether the driver has finished or died."""
        # A forked child of a dead driver keeps the stream open, but the parent id changes.
        return self._done.is_set() or os.getppid() != self._parent

    @property
    def gone(self) -> frozenset[str]:
        """The name of the driver if it has died."""
        return frozenset() if self._said_so or not self.done else frozenset({self._name})

    def wait(self, seconds: float) -> None:
        """Wait until the driver is done, at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.done and (left := deadline - time.monotonic()) > 0:
            self._done.wait(min(left, 1.0))


class Follower:
    """Makes the target of a tracker agree with the storage of a study.

    Parameters
    ----------
    order : Order
    tracker : BaseTracker
    driver : Driver or None, default=None
        The driver to follow until it is done; None to write what there is now.
    """

    def __init__(self, order: Order, tracker: BaseTracker, driver: Driver | None = None) -> None:
        self._order = order
        self._tracker = tracker
        self._driver = driver or Driver()
        self._store: StoredStudy | None = None
        self._study_mark = ""
        self._trial_marks: dict[int, str] | None = None
        self._n_progress = 0
        self._drivers: Collection[str] = ()
        self.outcome = Outcome()

    def run(self) -> int:
        """Write until the driver is done and everything is written, or writing keeps failing.

        Returns
        -------
        int
            `DONE`, `GAVE_UP` or `ELSEWHERE`.
        """
        from filelock import FileLock  # a driver starts followers and needs none

        make_folder(self._order.place)
        lock = FileLock(self._order.place / "lock")
        if not self._acquire(lock):
            return ELSEWHERE
        try:
            code = self._follow()
        finally:
            with suppress(Exception):
                self._tracker.close()
            lock.release()
        return code

    def _acquire(self, lock: "BaseFileLock") -> bool:
        """Wait for the lock; return False if its holder has read the storage after our driver."""
        done_at = 0.0
        while True:
            with suppress(TimeoutError):
                lock.acquire(timeout=0)
                return True
            if not self._driver.done:
                self._driver.wait(WAKE_SECONDS)
                continue
            done_at = done_at or time.time()
            theirs = read_outcome(self._order.place)
            if theirs is not None and theirs.read_at > done_at:
                return False
            time.sleep(0.1)

    def _follow(self) -> int:
        wait, last_attempts = WAKE_SECONDS, 0
        while True:
            # Checked first, so that everything the driver has stored is read below.
            done = self._driver.done
            try:
                reading = self._write_changes(reopen=done)
                wait = min(max(WAKE_SECONDS, IDLE * reading), LONGEST_WAIT)
                self.outcome.cause = ""
            except Exception as error:
                log.exception("following %s failed", self._order.name)
                text = redact(str(error).strip()) or type(error).__name__
                self.outcome.cause = text.splitlines()[0][:300]
                wait = min(2 * wait, LONGEST_WAIT)
                self._start_anew()
            write_outcome(self._order.place, self.outcome)
            if not done:
                self._driver.wait(wait)
                continue
            if self.outcome.complete:
                self._finish()
                return DONE
            last_attempts += 1
            if last_attempts == LAST_ATTEMPTS:
                return GAVE_UP
            time.sleep(0.5)

    def _start_anew(self) -> None:
        """Forget what was read, as storage and target may have changed."""
        with suppress(Exception):
            self._tracker.close()
        self._store, self._trial_marks = None, None

    def _write_changes(self, *, reopen: bool) -> float:
        """Read the storage once, and write what differs from it in the target.

        Returns
        -------
        float
            Seconds that reading took.
        """
        began = time.monotonic()
        if self._store is None or reopen:
            self._store = StoredStudy(self._order.name, self._order.url)
        self.outcome.read_at = time.time()
        # First the study: once it has ended, all of its trials are read below.
        study = read_study(self._store, self._driver.gone)
        self._drivers = study.drivers
        records = [r for r in current_records(self._store, self._driver.gone) if _is_whole(r)]
        self.outcome.total = len(records)
        if self._trial_marks is None or study.shared:  # another machine's follower writes too
            written = self._tracker.open(study)
            self._study_mark, self._trial_marks = written.study, dict(written.trials)
            self._n_progress = written.progress
            self.outcome.page = redact(self._tracker.page)
        changes = [c for c in map(self._change, records) if c is not None]
        reading = time.monotonic() - began
        self.outcome.left = len(changes)
        self.outcome.study_left = self._study_mark != study.mark
        if study.state == "running":
            self._write_study(study)
        for chunk in _chunks(changes):
            self._tracker.write_trials(chunk)
            self._note_written(chunk)
        self._write_progress(records)
        if study.state != "running":
            self._write_study(study)
        if study.state == "running":
            self._tracker.watch(study)
        self._note_refused(self._tracker.refused())
        return reading

    def _change(self, record: TrialRecord) -> TrialChange | None:
        assert self._trial_marks is not None
        before, mark = self._trial_marks.get(record.number, ""), trial_mark(record)
        if before in {mark, WHOLE}:
            return None
        n_written = int(start) if (start := before.partition(" ")[0]).isdigit() else 0
        return TrialChange(record, mark, min(n_written, len(record.all_reports)))

    def _write_study(self, study: StudyRecord) -> None:
        if self._study_mark != study.mark:
            self._tracker.write_study(study)
            self._study_mark = study.mark
        self.outcome.study_left = False

    def _write_progress(self, records: Sequence[TrialRecord]) -> None:
        course = progress_of(records)
        if len(course) > self._n_progress:
            self._tracker.write_progress(course[self._n_progress :])
        self._n_progress = len(course)

    def _note_written(self, chunk: Sequence[TrialChange]) -> None:
        assert self._trial_marks is not None
        for change in chunk:
            self._trial_marks[change.record.number] = change.mark
            self.outcome.reports += len(change.new_reports)
        self.outcome.trials += len(chunk)
        self.outcome.left -= len(chunk)
        write_outcome(self._order.place, self.outcome)

    def _note_refused(self, texts: Sequence[str]) -> None:
        self.outcome.refused += len(texts)
        if texts:
            with (self._order.place / "refused.log").open("a", encoding="utf-8") as file:
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                file.writelines(f"{now} {' '.join(redact(text).split())}\n" for text in texts)

    def _finish(self) -> None:
        """Remove the orders that are fulfilled, and a storage that is needed no more."""
        self._order.withdraw(self._drivers)
        path = file_of(self._order.url)
        if self._order.temporary and path is not None and not self._drivers:
            for leftover in path.parent.glob(f"{path.name}*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)


def follow_once(order: Order, tracker: BaseTracker) -> Outcome:
    """Make a tracker's target agree with a study as it is now, in this process."""
    follower = Follower(order, tracker)
    follower.run()
    return follower.outcome


def _is_whole(record: TrialRecord) -> bool:
    """Return whether the reports of a trial are as they will remain.

    Those of a running trial without their times, as another program stores them, will be
    completed at its end.
    """
    running = record.state is TrialState.RUNNING
    return not running or all(report.time for report in record.all_reports)


def _chunks(changes: Sequence[TrialChange]) -> Iterator[Sequence[TrialChange]]:
    for start in range(0, len(changes), CHUNK):
        yield changes[start : start + CHUNK]


class _Redacting(io.TextIOBase):
    """A stream that forwards texts without passwords."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def main(arguments: Sequence[str]) -> int:
    """Follow as a process: ``python -m hpo.trackers ORDER [watched]``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What trackers print goes to a log file, which people share when something is wrong.
    sys.stdout = sys.stderr = _Redacting(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    if hasattr(os, "nice"):
        os.nice(5)
    order = Order.read(Path(arguments[0]))
    driver = Driver(order.driver, watched="watched" in arguments)
    return Follower(order, order.load_tracker(), driver).run()
