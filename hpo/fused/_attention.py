"""Multi-head attention in plain tensor operations, whose dropout is replayed.

That of torch calls kernels for which `torch.func.vmap` has no rule, and draws its own noise.
"""

import math
from typing import Any

import torch
from torch import nn

from hpo.fused._dropout import ReplayedDropout
from hpo.fused.errors import NotFusibleError

__all__ = ["ReplayedAttention"]


class ReplayedAttention(nn.Module):
    """`torch.nn.MultiheadAttention` (Vaswani et al. 2017), with the noise of its dropout as input.

    Parameters
    ----------
    layer : torch.nn.MultiheadAttention
        The layer whose weights are used, under the same names.
    p : float
        The dropout rate.

    Raises
    ------
    NotFusibleError
        If keys or values have sizes other than the queries', or a bias or zero is added to them.
    """

    _qkv_same_embed_dim = False
    """Keeps `torch.nn.TransformerEncoderLayer` from its fast path, which would skip this layer."""

    def __init__(self, layer: nn.MultiheadAttention, p: float) -> None:
        super().__init__()
        same_sizes = layer.kdim == layer.vdim == layer.embed_dim
        if not same_sizes or layer.bias_k is not None or layer.add_zero_attn:
            raise NotFusibleError("an attention has keys or values of their own size, or adds some")
        self.embed_dim, self.num_heads = layer.embed_dim, layer.num_heads
        self.batch_first = layer.batch_first
        self.in_proj_weight, self.in_proj_bias = layer.in_proj_weight, layer.in_proj_bias
        self.out_proj = layer.out_proj
        self.drop = ReplayedDropout(p)

    def forward(  # noqa: PLR0917 - the signature of torch
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return outputs and attention weights, as torch's layer does for a batch of sequences."""
        if query.ndim != 3:
            raise NotFusibleError("an attention is given one sequence and no batch of them")
        weight, bias = self.in_proj_weight.chunk(3), self._biases()
        q, k, v = (
            self._heads(nn.functional.linear(X, w, b))
            for X, w, b in zip((query, key, value), weight, bias, strict=True)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.embed_dim // self.num_heads)
        for mask in self._masks(attn_mask, key_padding_mask, scores):
            scores = scores + mask
        weights = self.drop(torch.softmax(scores, -1))
        heads = (weights @ v).transpose(1, 2).flatten(2)
        out = self.out_proj(heads)
        out = out if self.batch_first else out.transpose(0, 1)
        if not need_weights:
            return out, None
        return out, weights.mean(1) if average_attn_weights else weights

    def _biases(self) -> Any:
        return (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)

    def _heads(self, X: torch.Tensor) -> torch.Tensor:
        """Return X in the shape (n_samples, n_heads, length, head size)."""
        X = X if self.batch_first else X.transpose(0, 1)
        return X.reshape(*X.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _masks(
        self, attn: torch.Tensor | None, padding: torch.Tensor | None, scores: torch.Tensor
    ) -> list[torch.Tensor]:
        masks = []
        if attn is not None:
            by_head = (-1, self.num_heads, *attn.shape[1:])
            masks.append(attn.reshape(by_head) if attn.ndim == 3 else attn)
        if padding is not None:
            masks.append(padding[:, None, None, :])
        return [
            torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, -math.inf)
            if mask.dtype == torch.bool
            else mask
            for mask in masks
        ]
