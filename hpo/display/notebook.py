"""The live display in a notebook: the same picture as HTML, in one output that is updated."""

import io
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from hpo._format import printable
from hpo.display.displays import SilentDisplay
from hpo.display.screen import screen
from hpo.observer import StudyInfo
from hpo.trial import Report, TrialRecord

__all__ = ["NotebookDisplay"]

_EVERY = 0.5
"""Minimal seconds between two updates: each is a message to the browser."""
_WIDTH, _HEIGHT = 100, 24
_PAGE = '<pre style="line-height:1.3;white-space:pre;overflow-x:auto">{code}</pre>'


class NotebookDisplay(SilentDisplay):
    """Shows a running study below its cell, and leaves its last picture there.

    IPython is there wherever this is used, and is not needed for anything else.
    """

    def __init__(self, at_once: str = "stopped at once") -> None:
        super().__init__(at_once)
        self._info: StudyInfo | None = None
        self._notice = ""
        self._n_rows = 1
        self._handle: Any = None
        self._shown = -_EVERY

    def on_study_start(self, info: StudyInfo) -> None:
        """Show the study from now on."""
        super().on_study_start(info)
        self._info = info
        self._show(now=True)

    def on_trial_start(self, record: TrialRecord) -> None:
        """Show the trial."""
        super().on_trial_start(record)
        self._n_rows = max(self._n_rows, len(self.progress.running))
        self._show()

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Update the progress of the trial."""
        super().on_report(record, report)
        self._show()

    def on_trial_end(self, record: TrialRecord) -> None:
        """Show how the trial ended."""
        super().on_trial_end(record)
        self._show(now=not self.progress.searching)

    def on_study_end(
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        artifacts: Mapping[str, Path],
        *,
        state: str = "complete",
    ) -> None:
        """Show how the study ended."""
        self._notice = f"the study is {state}" if state != "interrupted" else "interrupted"
        self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        """Update the output, unless that was done a moment ago."""
        if self._info is None or not (now or time.monotonic() - self._shown >= _EVERY):
            return
        self._shown = time.monotonic()
        picture = _Html(self._html())
        with suppress(Exception):  # a browser that is gone must not end a study
            if self._handle is None:
                display = sys.modules["IPython"].display.display
                self._handle = display(picture, display_id=True)
            else:
                self._handle.update(picture)

    def _html(self) -> str:
        assert self._info is not None
        console = Console(
            file=io.StringIO(),
            record=True,
            width=_WIDTH,
            height=_HEIGHT,
            highlight=False,
            markup=False,
            emoji=False,
            force_jupyter=False,
        )
        console.print(
            screen(
                self._info,
                self.progress,
                self._notice,
                places=self._n_rows,
                height=_HEIGHT,
                width=_WIDTH,
            )
        )
        return printable(console.export_html(inline_styles=True, code_format=_PAGE))


class _Html:
    """What a notebook shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<the progress of a study>"
