"""Render a `Progress` for the live display, a few times a second."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo._trained_by import format_trained_by
from hpo.display.progress import N_RECENT, Progress
from hpo.display.text import brief, clock, counted, ending, not_in_a_batch, score, time_span
from hpo.observer import StudyInfo
from hpo.trial import TrialRecord, TrialState

__all__ = ["COLORS", "heading", "screen"]

COLORS = {
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    "interrupted": "magenta",
    "running": "cyan",
}
"""The color of each state, here and in the tables of `hpo show`."""

_BAR = 30
_LABEL = 12
"""Columns of a row's label and the gaps beside it."""
_SPELLED_OUT = re.compile(r" \(rung [^)]*\)| is rank \d+ of \d+(?=, not above)")
"""Parts of reasons that would push their end off a terminal of 80 columns."""
_FIXED_ROWS = 13
"""Rows needed in addition to those of the running trials."""


def heading(settings: Mapping[str, Any]) -> str:
    """Return the study's settings on one line: ``accuracy over 5 folds, sampler tpe, ...``.

    The last setting is the executor, or the backend if it has its own workers.
    """
    texts = []
    if "scoring" in settings and "n_folds" in settings:
        raced = ", raced" if settings.get("folds") == "race" else ""
        texts.append(f"{settings['scoring']} over {counted(settings['n_folds'], 'fold')}{raced}")
    texts += [f"{name} {settings[name]}" for name in ("sampler", "pruner") if name in settings]
    trainer = "backend" if _backend_with_workers(settings) else "executor"
    return ", ".join([*texts, *(str(settings[n]) for n in (trainer,) if n in settings)])


def _backend_with_workers(settings: Mapping[str, Any]) -> str:
    """Return the name of a backend with its own workers; empty if an executor trains."""
    name = str(settings.get("backend", "")).partition(":")[0].strip()
    return "" if name == "optuna" else name


def screen(
    info: StudyInfo,
    progress: Progress,
    notice: str,
    *,
    places: int,
    height: int,
    width: int = 80,
) -> RenderableType:
    """Return the rendered view.

    Parameters
    ----------
    info : StudyInfo
    progress : Progress
    notice : str
        A message for the user; empty for none.
    places : int
        Rows reserved for running trials, so that the view does not jump between two trials.
    height, width : int
        Rows and columns of the terminal. The best trial's parameters are never cut off where
        there is room for their lines.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", width=8)
    grid.add_column(overflow="ellipsis")
    best = _best(progress, width - _LABEL, height)
    _rows(grid, "best", best, max(2, len(best)))
    grid.add_row("", "")
    trained = _trained(progress)
    extra = (len(trained) + 1 if trained else 0) + max(0, len(best) - 2)
    n_running = max(1, min(places, height - _FIXED_ROWS - extra))
    idle = "" if notice else _idle(progress, _backend_with_workers(info.params))
    _rows(grid, "running", _running(progress, n_running, idle), n_running)
    grid.add_row("", "")
    _rows(grid, "finished", [_finished(record) for record in reversed(progress.recent)], N_RECENT)
    if trained:
        grid.add_row("", "")
        _rows(grid, "trained", trained, len(trained))
    title = Text.assemble((info.name, "bold"), "  ", (heading(info.params), "dim"))
    title.no_wrap, title.overflow = True, "ellipsis"
    last = Text(notice, style="bold yellow", no_wrap=True, overflow="ellipsis")
    return Group(title, _bar(progress), _counts(progress), Text(), grid, last)


def _rows(grid: Table, label: str, lines: list[Text], n_rows: int) -> None:
    for i in range(n_rows):
        line = lines[i] if i < len(lines) else Text()
        line.no_wrap, line.overflow = True, "ellipsis"
        grid.add_row(label if i == 0 else "", line)


def _bar(progress: Progress) -> RenderableType:
    plan, row = progress.plan, Table.grid(padding=(0, 2))
    trials = f"{progress.n_done} of {plan.n_trials} trials" if plan.n_trials else ""
    text = Text.assemble(
        trials or counted(progress.n_done, "trial"), "   ", clock(progress.elapsed)
    )
    left = progress.time_left()
    if left is not None:
        text.append(f", {time_span(*left)} left" if left.high >= 1 else ", nearly done")
    fraction = progress.fraction()
    if fraction is None:
        return text
    bar = ProgressBar(
        total=1.0, completed=fraction, width=_BAR, complete_style="cyan", finished_style="green"
    )
    row.add_row(bar, text)
    return row


def _counts(progress: Progress) -> Text:
    text = Text()
    for state in ("complete", "pruned", "failed", "interrupted"):
        n = progress.counts[state]
        if n or state in {"complete", "pruned", "failed"}:
            text.append(f"{n} ", style=COLORS[state] if n else "dim")
            text.append(f"{state}   ", style="" if n else "dim")
    return text


def _best(progress: Progress, width: int, height: int) -> list[Text]:
    best = progress.best
    report = best.best_report if best is not None else None
    if best is None or report is None:
        return [Text("no trial is complete yet", style="dim")]
    return [
        Text.assemble(
            (score(best.value, progress.best_error), "bold green"),
            (f"  trial {best.number}, epoch {report.step}", "dim"),
        ),
        *(Text(line) for line in _wrapped(brief(best.trial.params), width, height // 4)),
    ]


def _wrapped(text: str, width: int, n_lines: int) -> list[str]:
    """Return a text on at most ``n_lines`` lines, the last of which may be too long."""
    lines = textwrap.wrap(text, max(20, width), break_on_hyphens=False) or [""]
    shown, rest = lines[: max(1, n_lines)], lines[max(1, n_lines) :]
    return [*shown[:-1], " ".join([shown[-1], *rest])]


def _trained(progress: Progress) -> list[Text]:
    """Return how the trials are trained, and the last reason why one is not batched."""
    lines = [Text(text)] if (text := format_trained_by(progress.trained)) else []
    last = next(reversed(progress.reasons.values()), None)
    if last is not None:
        lines.append(Text(f"trial {last.number} {not_in_a_batch(last)}", style="dim"))
    return lines


def _running(progress: Progress, n_shown: int, idle: str) -> list[Text]:
    records = list(progress.running.values())
    if not records:
        return [Text(idle, style="dim")]
    lines = [_in_flight(record) for record in records[:n_shown]]
    if len(records) > n_shown:
        lines[-1] = Text(f"and {len(records) - n_shown + 1} more", style="dim")
    return lines


def _idle(progress: Progress, backend: str) -> str:
    if progress.searching and backend and not progress.n_done_now:
        return f"waiting for {backend}"  # which takes seconds to start
    if progress.searching:
        return "choosing the next trial"
    if progress.best is None or not progress.plan.refit:
        return "the search is over"
    return "training the winner on all data; then the held-out test part, once"


def _in_flight(record: TrialRecord) -> Text:
    last = record.last_reported
    steps = f"{last.step if last else 0}/{record.max_steps or '?'}"
    value = score(last.value) if last else "-"
    where = "first fold, " if last and last.screening and not last.last else ""
    return Text.assemble(
        f"trial {record.number:<4} {where}epoch {steps:<7} ",
        (f"{value:<9}", COLORS["running"]),
        (brief(record.trial.params), "dim"),
    )


def _finished(record: TrialRecord) -> Text:
    color = COLORS[str(record.state)]
    # `hpo show --trial N` has the reason in full.
    text = _SPELLED_OUT.sub("", ending(record)).replace(", not above the ", " ≤ the ")
    state, rest = text[: len(record.state)], text[len(record.state) :]
    if record.interrupted:
        state, rest = text, ""
    style = "" if record.state is TrialState.COMPLETE else "dim"
    return Text.assemble(f"trial {record.number:<4} ", (state, color), (rest, style))
