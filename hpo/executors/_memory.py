"""Out of memory: told with its bytes, and cleared away so that the next trial has room."""

import gc
import re
import sys

import psutil

from hpo._failures import notes_of, text_of

__all__ = ["clear_memory", "free_memory", "oom_reason"]

_WANTED = re.compile(
    r"(?:tried to allocate|unable to allocate) (\d+(?:\.\d+)?) ?(bytes|[KMGTPE]i?B)?", re.IGNORECASE
)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def oom_reason(error: BaseException) -> str:
    """Return the reason to end a trial that ran out of memory; empty for any other error.

    Torch raises its ``OutOfMemoryError`` on a GPU and a plain RuntimeError on the CPU, NumPy and
    Python a MemoryError.
    """
    text = text_of(error)
    low = text.lower()
    is_shortage = (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in low)
        or (isinstance(error, RuntimeError) and "out of memory" in low)
    )
    if not is_shortage:
        return ""
    wanted = _WANTED.search(text)
    told = f": tried to allocate {_shown(wanted)}" if wanted else ""
    return " ".join(filter(None, [f"out of memory{told}", notes_of(error)]))


def _shown(wanted: re.Match[str]) -> str:
    amount, unit = float(wanted[1]), wanted[2] or "bytes"
    if unit.lower() != "bytes":
        return f"{amount:g} {unit}"
    power = 0
    while amount >= 1024 and power < len(_UNITS) - 1:
        amount, power = amount / 1024, power + 1
    return f"{amount:.4g} {_UNITS[power]}"


def clear_memory() -> None:
    """Give back what a trial has left behind."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_memory(device: str) -> float:
    """Return the bytes that are free on a torch device; for the CPU those of the machine."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)
