"""The settings of a LoRA adapter, checked, under all the names by which they are known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from hpo._discovery import did_you_mean

__all__ = ["LoraSettings", "check_choice", "lora_settings"]

BIASES = ("none", "all", "lora_only")
INITS = ("default", "gaussian", "pissa", "olora")


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """An adapter's settings, each as in `peft.LoraConfig`.

    ``target_modules`` may also be one of hpo's own words; see `hpo.nets.AdaptedNet`.
    """

    r: int
    lora_alpha: float
    lora_dropout: float = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    bias: str = "none"
    init_lora_weights: str = "default"
    target_modules: str | tuple[str, ...] = "all-linear"

    @property
    def changes_base(self) -> bool:
        """Whether the frozen weights of the adapted layers become what the adapter leaves over."""
        return self.init_lora_weights in ("pissa", "olora")


def lora_settings(
    *,
    r: int | None = None,
    lora_r: int | None = None,
    scale: float | None = None,
    lora_alpha: float | None = None,
    lora_dropout: float = 0.0,
    use_rslora: bool = False,
    use_dora: bool = False,
    bias: str = "none",
    init_lora_weights: str | bool = "default",
    target_modules: str | Sequence[str] = "all-linear",
) -> LoraSettings:
    """Return the settings; r is 8 and ``lora_alpha / r`` is 2 unless they are given.

    Raises
    ------
    ValueError
        If one of them is out of its range, or is given by two names.
    """
    if r is not None and lora_r is not None:
        raise ValueError(f"r and lora_r are the same. Give one of them. Got {r!r} and {lora_r!r}.")
    if scale is not None and lora_alpha is not None:
        raise ValueError(
            "scale is lora_alpha / r. Give scale or lora_alpha, not both "
            f"({scale!r}, {lora_alpha!r})."
        )
    rank: Any = r if r is not None else 8 if lora_r is None else lora_r
    is_number = isinstance(rank, Real) and not isinstance(rank, bool)
    if not is_number or rank < 1 or float(rank) != int(rank):
        raise ValueError(f"r must be at least 1. Got {rank!r} instead.")
    rank = int(rank)
    for name, value in (("scale", scale), ("lora_alpha", lora_alpha)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be greater than 0. Got {value!r} instead.")
    alpha = lora_alpha if lora_alpha is not None else rank * (2.0 if scale is None else scale)
    if not 0 <= lora_dropout < 1:
        raise ValueError(f"lora_dropout must be from 0 to below 1. Got {lora_dropout!r}.")
    check_choice("bias", bias, BIASES)
    init = "default" if init_lora_weights is True else init_lora_weights
    check_choice("init_lora_weights", init, INITS)
    if use_dora and init in ("pissa", "olora"):
        raise ValueError(
            f"use_dora and init_lora_weights={init!r} do not go together: both decompose the "
            "weights. Use one of them."
        )
    words = target_modules if isinstance(target_modules, str) else tuple(target_modules)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(
            "target_modules must be a word, a regular expression, or names of layers. "
            f"Got {target_modules!r}."
        )
    return LoraSettings(
        rank,
        int(alpha) if float(alpha).is_integer() else float(alpha),
        lora_dropout,
        use_rslora,
        use_dora,
        bias,
        str(init),
        words,
    )


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of the choices."""
    if value not in choices:
        hint = did_you_mean(str(value), choices) or "."
        raise ValueError(f"{name} must be one of: {', '.join(choices)}. Got {value!r}{hint}")
