"""Global settings that a fit has changed, such as ``no_grad``, while another fit runs."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import sklearn
import torch

__all__ = ["SuspendedSettings"]

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
    # The identity of the list matters too: `catch_warnings` restores the list object itself.
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
"""Settings of the thread or the process, each with its getter and its setter.

Context variables (NumPy's ``errstate``) are not among them: each greenlet has its own.
"""


class SuspendedSettings:
    """Settings that a fit has changed; a context manager around every piece of the fit.

    Settings that a piece leaves changed are restored when it ends, and changed again for the
    next piece. What the last piece leaves changed stays so, as if the fit had run in one go.
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None
        self._outside: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}
        self.finished = False
        """Whether this piece is the last one."""

    def __enter__(self) -> "SuspendedSettings":
        self._outside = _now()
        if self._before is None:
            self._before = self._outside
        _change(self._outside, self._changed)
        return self

    def __exit__(self, *exc_info: object) -> None:
        inside, outside, before = _now(), self._outside, self._before or {}
        self._outside = {}
        self._changed = {name: value for name, value in inside.items() if value != outside[name]}
        permanent = {
            name for name in self._changed if self.finished and inside[name] != before[name]
        }
        _change(inside, {name: outside[name] for name in self._changed if name not in permanent})


def _now() -> dict[str, Any]:
    return {name: read() for name, (read, _) in _SETTINGS.items()}


def _change(now: dict[str, Any], settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if now[name] != value:
            _SETTINGS[name][1](value)
