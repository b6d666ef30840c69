"""Out-of-memory errors: recognized, described with their bytes, and cleaned up after."""

import gc
import re
import sys

import psutil

from hpo._failures import notes_of, text_of

__all__ = ["clear_memory", "clear_memory_after", "free_memory", "oom_reason"]

_REQUESTED = re.compile(
    r"(?:tried to allocate|unable to allocate) (\d+(?:\.\d+)?) ?(bytes|[KMGTPE]i?B)?", re.IGNORECASE
)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def oom_reason(error: BaseException) -> str:
    """Return the reason to end a trial that ran out of memory; empty for any other error.

    Torch raises its ``OutOfMemoryError`` on a GPU and a plain RuntimeError on the CPU, NumPy and
    Python a MemoryError.
    """
    text = text_of(error)
    lowercase = text.lower()
    is_shortage = (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in lowercase)
        or (isinstance(error, RuntimeError) and "out of memory" in lowercase)
    )
    if not is_shortage:
        return ""
    match = _REQUESTED.search(text)
    amount = f": tried to allocate {_format_size(match)}" if match else ""
    return " ".join(filter(None, [f"out of memory{amount}", notes_of(error)]))


def _format_size(match: re.Match[str]) -> str:
    amount, unit = float(match[1]), match[2] or "bytes"
    if unit.lower() != "bytes":
        return f"{amount:g} {unit}"
    power = 0
    while amount >= 1024 and power < len(_UNITS) - 1:
        amount, power = amount / 1024, power + 1
    return f"{amount:.4g} {_UNITS[power]}"


def clear_memory() -> None:
    """Free the memory that a trial has left behind."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def clear_memory_after(error: BaseException) -> None:
    """Free what a failed computation has left behind, if memory was short."""
    if oom_reason(error):
        clear_memory()


def free_memory(device: str) -> float:
    """Return the free bytes of a torch device; for the CPU, those of the machine."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)
