"""Show a study while it runs: a calm picture on a terminal, plain lines anywhere else."""

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

from hpo.cli._progress import Plan, Progress
from hpo.cli._screen import heading, screen
from hpo.cli._text import clock, counted, ending, not_in_a_batch, score
from hpo.trackers import BaseTracker, StudyInfo
from hpo.trial import Report, TrialRecord

__all__ = ["BaseDisplay", "LiveDisplay", "PlainDisplay"]

_STOPPING = "stopping after this epoch (Ctrl-C again: at once)"
_STOPPING_REFIT = "stopping when the winner is trained (Ctrl-C again: at once)"

_FRAME = 0.2
"""Seconds between two pictures, at least: drawing one takes milliseconds of the interpreter."""


class BaseDisplay(BaseTracker):
    """Told of a study as an observer; a context manager around its whole run.

    Parameters
    ----------
    at_once : str
        What a second Ctrl-C leaves on the screen.
    """

    def __init__(self, at_once: str = "stopped at once") -> None:
        self._at_once = at_once
        self.progress = Progress(Plan())

    def plan(self, plan: Plan) -> None:
        """Say what the study may spend; before it starts."""
        self.progress = Progress(plan)

    @abstractmethod
    def on_signal(self, first: bool) -> None:
        """Answer Ctrl-C, inside the signal handler, where only `os.write` is safe."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class PlainDisplay(BaseDisplay):
    """One line for each trial that ends.

    Parameters
    ----------
    stream : TextIO
        Where the lines go.
    at_once : str
    """

    def __init__(self, stream: TextIO, at_once: str = "stopped at once") -> None:
        super().__init__(at_once)
        self._stream = stream

    def on_study_start(self, info: StudyInfo) -> None:
        """Say what starts, or goes on."""
        self.progress.begin(info.copied)
        plan = self.progress.plan
        done = self.progress.n_done
        total = plan.n_trials
        if done:
            begun = (
                f" goes on, {done} of {total} trials made" if total else f" goes on after {done}"
            )
        else:
            begun = f", {counted(total, 'trial')}" if total else ""
        self._write(f"{info.name}{begun}: {heading(info.params)}")

    def on_trial_start(self, record: TrialRecord) -> None:
        """Note it."""
        self.progress.started(record)

    def trial_trained_by(self, record: TrialRecord) -> None:
        """Say why the trial is trained in no batch, if it is the first one for that reason."""
        self.progress.trained_by(record)
        if self.progress.reasons.get(record.trained_by_reason) is record:
            self._write(f"trial {record.number} {not_in_a_batch(record)}")

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Note it."""
        self.progress.reported(record)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Say how the trial ended, and how far the study is."""
        progress = self.progress
        progress.ended(record)
        total = f" of {progress.plan.n_trials}" if progress.plan.n_trials else ""
        told = [f"{progress.n_done}{total}", clock(progress.elapsed)]
        if progress.best is record:
            told.append("best so far")
        elif progress.best is not None:
            told.append(f"best {score(progress.best.value)}")
        self._write(f"trial {record.number} {ending(record)}  ({', '.join(told)})")

    def on_signal(self, first: bool) -> None:
        """Say what Ctrl-C does."""
        stopping = _STOPPING if self.progress.searching else _STOPPING_REFIT
        with suppress(OSError):
            os.write(2, f"\n{stopping if first else self._at_once}\n".encode())

    def _write(self, line: str) -> None:
        # A closed pipe or a full disk must not end the study.
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()


class LiveDisplay(BaseDisplay):
    """A picture on the terminal that a thread of its own draws when something has changed.

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
        self._places = 1
        self._guard = threading.Lock()
        self._changed = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="hpo-display", daemon=True)
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),  # what goes to a file stays there
            get_renderable=self._picture,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        self._thread.start()
        return self

    def on_study_start(self, info: StudyInfo) -> None:
        """Draw the study from now on."""
        with self._guard:
            self.progress.begin(info.copied)
            self._info = info
        self._changed = True

    def on_trial_start(self, record: TrialRecord) -> None:
        """Draw the trial."""
        with self._guard:
            self.progress.started(record)
            self._places = max(self._places, len(self.progress.running))
        self._changed = True

    def trial_trained_by(self, record: TrialRecord) -> None:
        """Draw how many trials are trained how."""
        with self._guard:
            self.progress.trained_by(record)
        self._changed = True

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Draw how far the trial is."""
        with self._guard:
            self.progress.reported(record)
        self._changed = True

    def on_trial_end(self, record: TrialRecord) -> None:
        """Draw how the trial ended."""
        with self._guard:
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
        """Say that only the tracker has something left to do."""
        self._notice = "handing the last records to the tracker"
        self._changed = True

    def on_signal(self, first: bool) -> None:
        """Say what Ctrl-C does; the second leaves the terminal as it was found."""
        if first:
            self._notice = _STOPPING if self.progress.searching else _STOPPING_REFIT
            self._changed = True
            return
        with suppress(OSError):
            os.write(1, f"\x1b[?25h\n{self._at_once}\n".encode())

    def close(self, timeout: float = 60.0) -> str:
        """Take the picture away."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):
            self._live.stop()
        return ""

    def _draw(self) -> None:
        """Draw when something has changed, and once a second for the clock."""
        drawn = 0.0
        while not self._ended.wait(_FRAME):
            now = time.monotonic()
            if self._changed or now - drawn >= 1.0:
                self._changed, drawn = False, now
                with suppress(OSError):
                    self._live.refresh()

    def _picture(self) -> RenderableType:
        if self._info is None:
            return Text("getting ready ...", style="dim")
        with self._guard:
            return screen(
                self._info,
                self.progress,
                self._notice,
                places=self._places,
                height=self._console.height,
            )
