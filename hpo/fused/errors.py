"""Why some model cannot be trained in a batch of models."""

__all__ = ["DivergedError", "NotFusibleError"]


class NotFusibleError(Exception):
    """A module, an optimizer or a loss that the fused engine cannot train; names the cause."""


class DivergedError(NotFusibleError):
    """A model whose values are not finite, so that nothing can be compared."""
