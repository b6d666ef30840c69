"""Display a running study: a live view on a terminal, plain lines otherwise."""

import os
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from hpo._format import printable
from hpo.display.progress import Plan, Progress, standard_error
from hpo.display.screen import heading, screen
from hpo.display.text import brief, clock, counted, ending, going_on, not_in_a_batch, score
from hpo.observer import BaseObserver, StudyInfo
from hpo.trial import Report, TrialRecord

__all__ = ["BaseDisplay", "LiveDisplay", "PlainDisplay", "SilentDisplay"]

_STOPPING = "stopping after this epoch (Ctrl-C again: at once)"
_STOPPING_REFIT = "stopping when the winner is trained (Ctrl-C again: at once)"

_FRAME = 0.2
"""Minimal seconds between two updates; each one takes milliseconds of the interpreter."""


class BaseDisplay(BaseObserver):
    """An observer of a study; a context manager around its whole run.

    Parameters
    ----------
    at_once : str
        The text printed after a second Ctrl-C.
    """

    def __init__(self, at_once: str = "stopped at once") -> None:
        self._at_once = at_once
        self.progress = Progress(Plan())

    def plan(self, plan: Plan) -> None:
        """Set the budget of the study before it starts."""
        self.progress = Progress(plan)

    @abstractmethod
    def on_signal(self, first: bool) -> None:
        """React to Ctrl-C inside the signal handler, where only `os.write` is safe."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SilentDisplay(BaseDisplay):
    """Keeps count of a study and prints nothing but what Ctrl-C does."""

    def on_study_start(self, info: StudyInfo) -> None:
        """Start the clock."""
        self.progress.begin(info.copied)

    def on_trial_start(self, record: TrialRecord) -> None:
        """Update the progress."""
        self.progress.started(record)

    def trial_trained_by(self, record: TrialRecord) -> None:
        """Update how the trials are trained."""
        self.progress.trained_by(record)

    def on_screening(self, record: TrialRecord, report: Report) -> None:
        """Show it like a report of all folds."""
        self.on_report(record, report)

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Update the progress."""
        self.progress.reported(record)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Update the progress."""
        self.progress.ended(record)

    def on_signal(self, first: bool) -> None:
        """Print what Ctrl-C does."""
        stopping = _STOPPING if self.progress.searching else _STOPPING_REFIT
        with suppress(OSError):
            os.write(2, f"\n{stopping if first else self._at_once}\n".encode())


class PlainDisplay(SilentDisplay):
    """Prints a line for each trial that ends, with its parameters.

    Parameters
    ----------
    stream : TextIO
        Where the lines go.
    at_once : str
    epochs : bool
        Whether each epoch has a line too.
    """

    def __init__(
        self, stream: TextIO, at_once: str = "stopped at once", *, epochs: bool = False
    ) -> None:
        super().__init__(at_once)
        self._stream, self._epochs = stream, epochs

    def on_study_start(self, info: StudyInfo) -> None:
        """Print that the study starts or resumes."""
        self.progress.begin(info.copied)
        plan = self.progress.plan
        done = self.progress.n_done
        total = plan.n_trials
        if done:
            status = (
                f" goes on, {done} of {total} trials made" if total else f" goes on after {done}"
            )
        else:
            status = f", {counted(total, 'trial')}" if total else ""
        self._write(f"{info.name}{status}: {heading(info.params)}")

    def on_trial_start(self, record: TrialRecord) -> None:
        """Update the progress; print if the trial goes on with an interrupted one."""
        self.progress.started(record)
        if record.trial.resumed_from is not None:
            self._write(f"trial {record.number} {going_on(record)}")

    def trial_trained_by(self, record: TrialRecord) -> None:
        """Print why the trial is not batched, if it is the first one with that reason."""
        self.progress.trained_by(record)
        if self.progress.reasons.get(record.trained_by_reason) is record:
            self._write(f"trial {record.number} {not_in_a_batch(record)}")

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Update the progress; print the epoch if epochs are wanted."""
        self.progress.reported(record)
        if self._epochs:
            total = f" of {record.max_steps}" if record.max_steps else ""
            text = score(report.value, standard_error(report.fold_values))
            where = "first fold, " if report.screening else ""
            self._write(f"trial {record.number}, {where}epoch {report.step}{total}: {text}")

    def on_trial_end(self, record: TrialRecord) -> None:
        """Print how the trial ended, the progress of the study and the trial's parameters."""
        progress = self.progress
        progress.ended(record)
        total = f" of {progress.plan.n_trials}" if progress.plan.n_trials else ""
        details = [f"{progress.n_done}{total}", clock(progress.elapsed)]
        if progress.best is record:
            details.append("best so far")
        elif progress.best is not None:
            details.append(f"best {score(progress.best.value)}")
        params = brief(record.trial.params)
        line = f"trial {record.number} {ending(record)}  ({', '.join(details)})"
        self._write(f"{line}  {params}" if params else line)

    def _write(self, line: str) -> None:
        # A closed pipe or a full disk must not end the study.
        with suppress(OSError, ValueError):
            self._stream.write(f"{printable(line)}\n")
            self._stream.flush()


class LiveDisplay(BaseDisplay):
    """A live view on the terminal; a background thread redraws it after changes.

    Parameters
    ----------
    console : rich.console.Console
    at_once : str
    """

    def __init__(self, console: Console, at_once: str = "stopped at once") -> None:
        super().__init__(at_once)
        self._console = console
        self._info: StudyInfo | None = None
        self._notice = ""
        self._n_rows = 1
        self._lock = threading.Lock()
        self._changed = True
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="hpo-display", daemon=True)
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),  # a redirected stderr is left alone
            get_renderable=self._render,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        self._thread.start()
        return self

    def on_study_start(self, info: StudyInfo) -> None:
        """Show the study from now on."""
        with self._lock:
            self.progress.begin(info.copied)
            self._info = info
        self._changed = True

    def on_trial_start(self, record: TrialRecord) -> None:
        """Show the trial."""
        with self._lock:
            self.progress.started(record)
            self._n_rows = max(self._n_rows, len(self.progress.running))
        self._changed = True

    def trial_trained_by(self, record: TrialRecord) -> None:
        """Update how the trials are trained."""
        with self._lock:
            self.progress.trained_by(record)
        self._changed = True

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Update the progress of the trial."""
        with self._lock:
            self.progress.reported(record)
        self._changed = True

    def on_trial_end(self, record: TrialRecord) -> None:
        """Show how the trial ended."""
        with self._lock:
            self.progress.ended(record)
        self._changed = True

    def on_study_end(
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        artifacts: Mapping[str, Path],
        *,
        state: str = "complete",
    ) -> None:
        """Show that only the tracker still has work to do."""
        self._notice = "handing the last records to the tracker"
        self._changed = True

    def on_signal(self, first: bool) -> None:
        """Show what Ctrl-C does; after the second one, restore the terminal."""
        if first:
            self._notice = _STOPPING if self.progress.searching else _STOPPING_REFIT
            self._changed = True
            return
        with suppress(OSError):
            os.write(1, f"\x1b[?25h\n{self._at_once}\n".encode())

    def close(self, timeout: float = 60.0) -> str:
        """Remove the live view."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):
            self._live.stop()
        return ""

    def _draw(self) -> None:
        """Redraw after changes, and once a second for the clock."""
        drawn = 0.0
        while not self._closed.wait(_FRAME):
            now = time.monotonic()
            if self._changed or now - drawn >= 1.0:
                self._changed, drawn = False, now
                with suppress(OSError):
                    self._live.refresh()

    def _render(self) -> RenderableType:
        if self._info is None:
            return Text("getting ready ...", style="dim")
        with self._lock:
            return screen(
                self._info,
                self.progress,
                self._notice,
                places=self._n_rows,
                height=self._console.height,
                width=self._console.width,
            )
