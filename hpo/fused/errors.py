"""Errors of models that cannot be trained in a batch."""

__all__ = ["DivergedError", "NotFusibleError"]


class NotFusibleError(Exception):
    """Raised if the fused engine cannot train a module, an optimizer or a loss; names the cause."""


class DivergedError(NotFusibleError):
    """Raised if values of a model are not finite, so that nothing can be compared."""
