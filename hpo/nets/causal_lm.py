"""Fine-tuning of causal language models, fully or by LoRA adapters, as a skorch net."""

import hashlib
import math
import time
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.dataset import get_len, unpack_data
from skorch.utils import to_tensor
from torch import nn

from hpo.nets._adapted import AdaptedCausalLM
from hpo.nets._base_models import Source
from hpo.nets._memory import PeakMemory
from hpo.nets._optimizer_steps import OptimizerStepsMixin
from hpo.nets.lora import LoRAMixin
from hpo.nets.penalty import PenaltyMixin

__all__ = [
    "AdaptedCausalLM",
    "CausalLMNet",
    "NextTokenLoss",
    "causal_lm_scores",
    "neg_log_perplexity",
]


class NextTokenLoss(nn.Module):
    """Mean cross-entropy of each token given those before it in its block, in nats."""

    def forward(self, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : tensor of shape (n_blocks, context_length, n_tokens)
            Logits of the token after each token.
        tokens : integer tensor of shape (n_blocks, context_length)
            The blocks themselves; all tokens but the first of each block are predicted.

        Raises
        ------
        ValueError
            If the shapes are others.
        """
        if logits.ndim != 3 or tokens.shape != logits.shape[:2]:
            raise ValueError(
                "CausalLMNet predicts each token of blocks of shape (n_blocks, context_length), "
                f"which are X and y alike. Got logits of shape {tuple(logits.shape)} and targets "
                f"of shape {tuple(tokens.shape)}. For labels of texts, use LoRAMixin with a "
                "classifier."
            )
        predicted = logits[:, :-1].flatten(0, 1).float()
        return nn.functional.cross_entropy(predicted, tokens[:, 1:].flatten().long())


class CausalLMNet(LoRAMixin, OptimizerStepsMixin, PenaltyMixin, NeuralNet):  # type: ignore[misc]
    """A pretrained causal language model, fine-tuned on blocks of tokens.

    ``X`` and ``y`` are the same blocks, integers of shape (n_blocks, context_length); see
    `hpo.data.load_text`. The score is `neg_log_perplexity`. Parameters to search are
    ``module__r``, ``module__scale`` and the other parameters of `AdaptedCausalLM`, ``lr``,
    ``lr_schedule``, ``warmup_ratio``, ``batch_size``, ``gradient_accumulation_steps``,
    ``optimizer__weight_decay``, ``loraplus_lr_ratio``, ``l1_lambda`` and ``l2_lambda``.

    Weight decay and penalties only apply to matrices: those of the adapter, or in full
    fine-tuning all parameters except normalizations and biases. With ``"full"`` the penalties
    pull towards 0 and not towards the pretrained weights.

    Parameters
    ----------
    module : class, default=AdaptedCausalLM
        Its ``module__model`` must be given: a folder, or an id on the hub.
    *args, **kwargs
        Arguments of `skorch.NeuralNet`; ``l1_lambda`` and ``l2_lambda`` (see `PenaltyMixin`);
        ``gradient_accumulation_steps``, ``lr_schedule``, ``warmup_ratio`` and
        ``schedule_epochs`` (see `OptimizerStepsMixin`). ``batch_size`` counts blocks.
    loraplus_lr_ratio : float, default=1.0
        Learning rate of the matrices B of an adapter divided by that of the matrices A, which is
        ``lr`` (Hayou et al. 2024, *LoRA+*); greater than 0.

    Attributes
    ----------
    module_ : AdaptedCausalLM
        After ``initialize``.
    """

    def __init__(
        self,
        module: Any = AdaptedCausalLM,
        *args: Any,
        criterion: Any = NextTokenLoss,
        optimizer: Any = torch.optim.AdamW,
        lr: float = 2e-4,
        batch_size: int = 16,
        train_split: Any = None,
        loraplus_lr_ratio: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            *args,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            batch_size=batch_size,
            train_split=train_split,
            loraplus_lr_ratio=loraplus_lr_ratio,
            **kwargs,
        )

    def initialize(self) -> "CausalLMNet":
        """Build the net; the frozen base is loaded unless this process has it already.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        DataError
            If the model cannot be loaded.
        MissingExtraError
            If the ``lora`` extra is not installed.
        """
        super().initialize()
        self._peak = PeakMemory(self.device)
        self._n_tokens = 0
        self._seconds = 0.0
        return self

    def get_loss(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Return the loss of a batch."""
        if training:
            self._peak.update()  # all activations are in memory now
        loss: torch.Tensor = super().get_loss(y_pred, y_true, X=X, training=training)
        return loss

    def run_single_epoch(self, iterator: Any, training: bool, *args: Any, **kwargs: Any) -> None:
        """Run an epoch; in training, measure its time and memory."""
        if not training:
            super().run_single_epoch(iterator, training, *args, **kwargs)
            return
        self._peak.begin()
        start = time.perf_counter()
        super().run_single_epoch(iterator, training, *args, **kwargs)
        self._seconds += time.perf_counter() - start
        self._peak.update()

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Train on one batch."""
        Xi, _ = unpack_data(batch)
        self._n_tokens += Xi.numel()
        return super().train_step(batch, **fit_params)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the negative logarithm of the perplexity of ``X``."""
        return neg_log_perplexity(self, X, y)

    def metrics(self) -> dict[str, float]:
        """Return the number of trained parameters, the speed and the memory of the training.

        Returns
        -------
        dict
            ``trainable_parameters``; ``tokens_per_second`` of the training so far (nan
            before); ``peak_memory_bytes`` (see `PeakMemory`; 0 before).
        """
        return {
            "trainable_parameters": self.n_trained(),
            "tokens_per_second": self._n_tokens / self._seconds if self._seconds else math.nan,
            "peak_memory_bytes": self._peak.bytes,
        }


def neg_log_perplexity(net: CausalLMNet, X: Any, y: Any = None) -> float:
    """Return the negative logarithm of the perplexity of ``X``: greater is better.

    It is minus the mean loss per token in nats. Use it as ``scoring=neg_log_perplexity``.

    Parameters
    ----------
    net : CausalLMNet
        An initialized net; it is evaluated without dropout.
    X : integer array of shape (n_blocks, context_length)
    y : ignored
    """
    return -_mean_loss(net, net.module_, X)


def causal_lm_scores(net: CausalLMNet, X: Any, y: Any = None) -> dict[str, float]:
    """Return the score of a net and its other metrics, for ``scoring=causal_lm_scores``.

    Returns
    -------
    dict
        ``neg_log_perplexity``, which is the first and therefore the score of a trial;
        ``perplexity``; ``perplexity_before``, that of the pretrained model (with ``"qlora"`` the
        quantized one), computed once per process for the same model and blocks; and
        `CausalLMNet.metrics`.
    """
    score = neg_log_perplexity(net, X)
    return {
        "neg_log_perplexity": score,
        "perplexity": _perplexity(-score),
        "perplexity_before": _perplexity(_loss_before(net, X)),
        **net.metrics(),
    }


_losses_before: dict[tuple[Source, bytes], float] = {}


def _loss_before(net: CausalLMNet, X: Any) -> float:
    """Return the mean loss of the pretrained model that ``net`` adapts."""
    module = net.module_
    blocks = np.ascontiguousarray(X)
    key = module.source, hashlib.blake2b(blocks.tobytes() + repr(blocks.shape).encode()).digest()
    if key not in _losses_before:
        with module.pretrained() as before:
            _losses_before[key] = _mean_loss(net, before, X)
    return _losses_before[key]


def _perplexity(loss: float) -> float:
    return math.inf if loss > 700 else math.exp(loss)


def _mean_loss(net: CausalLMNet, module: nn.Module, X: Any) -> float:
    """Return the mean loss over all blocks, without keeping their logits."""
    module.eval()
    total, n = 0.0, 0
    with torch.no_grad():
        for batch in net.get_iterator(net.get_dataset(X, X), training=False):
            Xi, yi = (to_tensor(part, device=net.device) for part in unpack_data(batch))
            total += net.criterion_(module(Xi), yi).item() * get_len(Xi)
            n += get_len(Xi)
    return total / n
