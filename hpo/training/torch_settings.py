"""Global settings of torch in a process, except for threads and random generators."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch

__all__ = ["set_torch_settings", "torch_settings"]


def torch_settings() -> dict[str, Any]:
    """Return torch's settings by name, without those that this version does not have."""
    return {
        name: value for name, get in _GETTERS.items() if (value := _get_or_none(get)) is not None
    }


def set_torch_settings(settings: Mapping[str, Any]) -> None:
    """Apply settings that `torch_settings` returned in another process, where they differ."""
    for name, value in settings.items():
        if name in _GETTERS and _get_or_none(_GETTERS[name]) != value:
            _SETTERS[name](value)


def _get_or_none(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except (AttributeError, RuntimeError):  # torch does not allow to mix its old and new names
        return None


def _set_attribute(name: str, value: Any) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(attrgetter(owner)(torch), attribute, value)


def _deterministic() -> tuple[bool, bool]:
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warn_only


def _anomalies() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


_ATTRIBUTES = (
    "utils.deterministic.fill_uninitialized_memory",
    "backends.cudnn.enabled",
    "backends.cudnn.benchmark",
    "backends.cudnn.deterministic",
    "backends.cudnn.allow_tf32",
    "backends.cuda.matmul.allow_tf32",
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "backends.mkldnn.enabled",
    "backends.mkldnn.deterministic",
    "backends.fp32_precision",
    "backends.cuda.matmul.fp32_precision",
    "backends.cudnn.fp32_precision",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision",
    "backends.mkldnn.fp32_precision",
    "backends.mkldnn.matmul.fp32_precision",
    "backends.mkldnn.conv.fp32_precision",
    "backends.mkldnn.rnn.fp32_precision",
)
"""Attributes of torch that are read and set by name."""

_FUNCTIONS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default_device": (lambda: str(torch.get_default_device()), torch.set_default_device),
    "deterministic_algorithms": (
        _deterministic,
        lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]),
    ),
    "float32_matmul_precision": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "anomaly_detection": (
        _anomalies,
        lambda both: torch.autograd.set_detect_anomaly(both[0], check_nan=both[1]),
    ),
    "flash_sdp": (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    "mem_efficient_sdp": (
        torch.backends.cuda.mem_efficient_sdp_enabled,
        torch.backends.cuda.enable_mem_efficient_sdp,
    ),
    "math_sdp": (torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
    "cudnn_sdp": (torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp),
    "sharing_strategy": (
        torch.multiprocessing.get_sharing_strategy,
        torch.multiprocessing.set_sharing_strategy,
    ),
}

_GETTERS = {name: get for name, (get, _) in _FUNCTIONS.items()} | {
    name: (lambda name=name: attrgetter(name)(torch)) for name in _ATTRIBUTES
}
_SETTERS = {name: put for name, (_, put) in _FUNCTIONS.items()} | {
    name: (lambda value, name=name: _set_attribute(name, value)) for name in _ATTRIBUTES
}
