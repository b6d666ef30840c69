"""skorch nets with more to tune; each is loaded, with skorch, when it is first asked for."""

from importlib import import_module
from typing import Any

__all__ = [
    "AdaptedCausalLM",
    "CausalLMNet",
    "NextTokenLoss",
    "PenaltyMixin",
    "RegularizedClassifier",
    "RegularizedRegressor",
    "causal_lm_scores",
    "neg_log_perplexity",
]

_PENALTY = {"PenaltyMixin", "RegularizedClassifier", "RegularizedRegressor"}
_HOMES = {name: f"hpo.nets.{'penalty' if name in _PENALTY else 'causal_lm'}" for name in __all__}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
