"""skorch nets with more to tune; each is imported, with skorch, on first use."""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.nets.augmentation import AugmentationMixin
    from hpo.nets.body_lr import BodyLRMixin, FineTuningClassifier
    from hpo.nets.casting import CastingMixin, LabelEncodingMixin, TargetShapeMixin
    from hpo.nets.causal_lm import (
        AdaptedCausalLM,
        CausalLMNet,
        NextTokenLoss,
        causal_lm_scores,
        neg_log_perplexity,
    )
    from hpo.nets.contrastive import ContrastiveClassifier, nt_xent
    from hpo.nets.distillation import DistillationMixin
    from hpo.nets.images import ImageClassifier
    from hpo.nets.label_noise import LabelNoiseMixin
    from hpo.nets.lora import AdaptedNet, LoRAMixin, TokenLoss
    from hpo.nets.mixing import MixingMixin
    from hpo.nets.next_symbol import NextSymbolLoss, NextSymbolNet
    from hpo.nets.penalty import PenaltyMixin, RegularizedClassifier, RegularizedRegressor
    from hpo.nets.precision import PrecisionMixin
    from hpo.nets.scaled_target import ScaledTargetMixin
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "AdaptedCausalLM": ".causal_lm",
            "AdaptedNet": ".lora",
            "AugmentationMixin": ".augmentation",
            "BodyLRMixin": ".body_lr",
            "CastingMixin": ".casting",
            "CausalLMNet": ".causal_lm",
            "ContrastiveClassifier": ".contrastive",
            "DistillationMixin": ".distillation",
            "FineTuningClassifier": ".body_lr",
            "ImageClassifier": ".images",
            "LabelEncodingMixin": ".casting",
            "LabelNoiseMixin": ".label_noise",
            "LoRAMixin": ".lora",
            "MixingMixin": ".mixing",
            "NextSymbolLoss": ".next_symbol",
            "NextSymbolNet": ".next_symbol",
            "NextTokenLoss": ".causal_lm",
            "PenaltyMixin": ".penalty",
            "PrecisionMixin": ".precision",
            "RegularizedClassifier": ".penalty",
            "RegularizedRegressor": ".penalty",
            "ScaledTargetMixin": ".scaled_target",
            "TargetShapeMixin": ".casting",
            "TokenLoss": ".lora",
            "causal_lm_scores": ".causal_lm",
            "neg_log_perplexity": ".causal_lm",
            "nt_xent": ".contrastive",
        },
    )

__all__ = [
    "AdaptedCausalLM",
    "AdaptedNet",
    "AugmentationMixin",
    "BodyLRMixin",
    "CastingMixin",
    "CausalLMNet",
    "ContrastiveClassifier",
    "DistillationMixin",
    "FineTuningClassifier",
    "ImageClassifier",
    "LabelEncodingMixin",
    "LabelNoiseMixin",
    "LoRAMixin",
    "MixingMixin",
    "NextSymbolLoss",
    "NextSymbolNet",
    "NextTokenLoss",
    "PenaltyMixin",
    "PrecisionMixin",
    "RegularizedClassifier",
    "RegularizedRegressor",
    "ScaledTargetMixin",
    "TargetShapeMixin",
    "TokenLoss",
    "causal_lm_scores",
    "neg_log_perplexity",
    "nt_xent",
]
