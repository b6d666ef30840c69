"""Why some model cannot be trained in a batch of models."""

__all__ = ["NotFusibleError"]


class NotFusibleError(Exception):
    """A module, an optimizer or a loss that the fused engine cannot train; names the cause."""
