"""skorch nets with more to tune; each is loaded, with skorch, when it is first asked for."""

from importlib import import_module
from typing import Any

__all__ = [
    "AdaptedCausalLM",
    "AugmentationMixin",
    "BodyLRMixin",
    "CausalLMNet",
    "ContrastiveClassifier",
    "DistillationMixin",
    "FineTuningClassifier",
    "ImageClassifier",
    "LabelNoiseMixin",
    "NextSymbolLoss",
    "NextSymbolNet",
    "NextTokenLoss",
    "PenaltyMixin",
    "RegularizedClassifier",
    "RegularizedRegressor",
    "ScaledTargetMixin",
    "causal_lm_scores",
    "neg_log_perplexity",
    "nt_xent",
]

_HOMES = {
    "AdaptedCausalLM": "causal_lm",
    "AugmentationMixin": "augmentation",
    "BodyLRMixin": "body_lr",
    "CausalLMNet": "causal_lm",
    "ContrastiveClassifier": "contrastive",
    "DistillationMixin": "distillation",
    "FineTuningClassifier": "body_lr",
    "ImageClassifier": "images",
    "LabelNoiseMixin": "label_noise",
    "NextSymbolLoss": "next_symbol",
    "NextSymbolNet": "next_symbol",
    "NextTokenLoss": "causal_lm",
    "PenaltyMixin": "penalty",
    "RegularizedClassifier": "penalty",
    "RegularizedRegressor": "penalty",
    "ScaledTargetMixin": "scaled_target",
    "causal_lm_scores": "causal_lm",
    "neg_log_perplexity": "causal_lm",
    "nt_xent": "contrastive",
}
"""Name of each net and the module that it stands in."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hpo.nets.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
