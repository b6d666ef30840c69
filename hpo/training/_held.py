"""What a fit holds open, such as ``no_grad`` or a silenced output, while another one runs."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import sklearn
import torch

__all__ = ["Held"]

Setting = tuple[Callable[[], Any], Callable[[Any], None]]


def _set_gradients(enabled: bool) -> None:
    torch.set_grad_enabled(enabled)


def _autocast() -> tuple[Any, ...]:
    kinds = tuple(
        (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
    )
    return torch.is_autocast_cache_enabled(), kinds


def _set_autocast(state: tuple[Any, ...]) -> None:
    cached, kinds = state
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(cached)
    for kind, enabled, dtype in kinds:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _filters() -> tuple[Any, ...]:
    # Which list it is counts too: `catch_warnings` puts the one back that it found.
    return id(warnings.filters), warnings.filters, warnings.showwarning


def _set_filters(state: tuple[Any, ...]) -> None:
    _, warnings.filters, warnings.showwarning = state


def _folder() -> str:
    with contextlib.suppress(OSError):  # it may have been removed
        return os.getcwd()  # noqa: PTH109
    return ""


def _set_folder(folder: str) -> None:
    with contextlib.suppress(OSError):
        os.chdir(folder)


def _gpu() -> int | None:
    return torch.cuda.current_device() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]


def _set_gpu(device: int | None) -> None:
    if device is not None:
        torch.cuda.set_device(device)


def _set_sklearn(config: dict[str, Any]) -> None:
    sklearn.set_config(**config)


_SETTINGS: dict[str, Setting] = {
    "gradients": (torch.is_grad_enabled, _set_gradients),
    "autocast": (_autocast, _set_autocast),
    "dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "gpu": (_gpu, _set_gpu),
    "scikit-learn": (sklearn.get_config, _set_sklearn),
    "warnings": (_filters, _set_filters),
    "stdout": (lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream)),
    "stderr": (lambda: sys.stderr, lambda stream: setattr(sys, "stderr", stream)),
    "folder": (_folder, _set_folder),
}
"""Of the thread or the process; context variables (NumPy's ``errstate``) are a greenlet's own."""


class Held:
    """Settings that a fit has changed; a context manager around every piece of it.

    What a piece leaves changed is put back when it ends, and changed again for the next piece.
    What the last piece leaves changed stays: it would, had the fit run in one go.
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None
        self._outside: dict[str, Any] = {}
        self._own: dict[str, Any] = {}
        self.over = False
        """Whether this piece is the last one."""

    def __enter__(self) -> "Held":
        self._outside = _now()
        if self._before is None:
            self._before = self._outside
        _change(self._outside, self._own)
        return self

    def __exit__(self, *exc_info: object) -> None:
        inside, outside, before = _now(), self._outside, self._before or {}
        self._outside = {}
        self._own = {name: value for name, value in inside.items() if value != outside[name]}
        kept = {name for name in self._own if self.over and inside[name] != before[name]}
        _change(inside, {name: outside[name] for name in self._own if name not in kept})


def _now() -> dict[str, Any]:
    return {name: read() for name, (read, _) in _SETTINGS.items()}


def _change(now: dict[str, Any], settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if now[name] != value:
            _SETTINGS[name][1](value)
