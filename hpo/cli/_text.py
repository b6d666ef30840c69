"""Numbers, times and parameters as people read them."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.trial import TrialRecord, TrialState

__all__ = [
    "ago",
    "amount",
    "brief",
    "brief_value",
    "clock",
    "counted",
    "duration",
    "ending",
    "number",
    "score",
    "short_names",
    "single_line",
]

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def amount(value: float) -> str:
    """Return a measured amount: whole ones in full (``98,260``), others as `number` does."""
    return f"{int(value):,}" if float(value).is_integer() else number(value)


def number(value: Any, digits: int = 4) -> str:
    """Return a float with ``digits`` significant digits, anything else as its text."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return single_line(str(value))


def single_line(text: str) -> str:
    """Return ``text`` with every run of blanks, line ends among them, as one space."""
    return " ".join(text.split())


def score(value: float, error: float = math.nan) -> str:
    """Return a score, with its standard error to two digits where it has a positive one.

    The error decides how many decimals the score has: 0.9763 ± 0.0031.
    """
    if not math.isfinite(value):
        return str(value)
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.6g}"
    decimals = min(8, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def counted(n: int, thing: str) -> str:
    """Return ``"1 trial"``, ``"2 trials"``."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def clock(seconds: float) -> str:
    """Return ``0:41``, ``12:05`` or ``3:12:05``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """Return ``4.2 s``, ``41 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ago(seconds: float) -> str:
    """Return a rough time span: ``just now``, ``5 min ago``, ``3 h ago``, ``12 days ago``."""
    for size, name in ((86400, "day"), (3600, "h"), (60, "min")):
        n = int(seconds // size)
        if n:
            return f"{counted(n, name) if name == 'day' else f'{n} {name}'} ago"
    return "just now"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each parameter its last part where that is unique: ``weight_decay``."""
    names = list(names)
    tails = [name.rpartition("__")[2] for name in names]
    return {
        name: tail if tails.count(tail) == 1 else name
        for name, tail in zip(names, tails, strict=True)
    }


def brief(params: Mapping[str, Any]) -> str:
    """Return parameters on one line: ``lr 0.0041, batch_size 64, optimizer Adam``."""
    names = short_names(params)
    return ", ".join(f"{names[name]} {brief_value(value)}" for name, value in params.items())


def brief_value(value: Any) -> str:
    """Return a parameter's value with three digits, a dotted path as its last name."""
    if isinstance(value, str) and _DOTTED.fullmatch(value):
        return value.rpartition(".")[2]
    return number(value, 3)


def ending(record: TrialRecord) -> str:
    """Return how a trial ended, on one line: ``pruned at epoch 4: 0.412 < median ...``."""
    if record.state is TrialState.COMPLETE:
        best = record.best_report
        at = f" at epoch {best.step}" if best and record.last_step > 1 else ""
        return f"complete: {score(record.value)}{at}"
    reason = single_line(record.reason)
    if record.interrupted:
        return reason
    epoch = f"epoch {record.last_step}: "
    if record.last_step and reason.startswith(epoch):
        return f"{record.state} at {epoch}{reason.removeprefix(epoch)}"
    return f"{record.state}: {reason}" if reason else str(record.state)
