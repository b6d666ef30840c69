"""Record the size of the weights of a net after each epoch."""

import math
from typing import Any

from skorch.callbacks import Callback

__all__ = ["WeightStats"]


class WeightStats(Callback):  # type: ignore[misc]  # skorch has no types
    """Records ``weight_norm``, ``sparsity`` and ``max_abs_weight`` of a net after each epoch.

    They are computed over all weights together: all parameters of two or more dimensions that are
    not frozen, as in `hpo.nets.PenaltyMixin`.

    * ``weight_norm``: the square root of the sum of their squares;
    * ``sparsity``: the share of them, from 0 to 1, whose absolute value is at most ``threshold``;
    * ``max_abs_weight``: the largest absolute value.

    Parameters
    ----------
    threshold : float, default=1e-3
        Maximum absolute value of a weight that counts as zero, 0 or greater. Gradient descent on
        an L1 penalty makes weights oscillate around zero but rarely exactly zero; 0 counts only
        exact zeros, such as those of pruning.
    """

    def __init__(self, threshold: float = 1e-3) -> None:
        self.threshold = threshold

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Check the parameter.

        Raises
        ------
        ValueError
            If ``threshold`` is negative or not finite.
        """
        if not (self.threshold >= 0 and math.isfinite(self.threshold)):
            raise ValueError(
                "The threshold of WeightStats must be a number of 0 or greater. "
                f"Got {self.threshold!r} instead."
            )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the three numbers."""
        squares, n_zero, n, largest = 0.0, 0, 0, 0.0
        for _, parameter in net.get_all_learnable_params():
            if parameter.ndim < 2 or not parameter.requires_grad:
                continue
            size = parameter.detach().abs()
            squares += size.square().sum().item()
            n_zero += int((size <= self.threshold).sum().item())
            n += size.numel()
            largest = max(largest, size.max().item())
        net.history.record("weight_norm", math.sqrt(squares))
        net.history.record("sparsity", n_zero / n if n else 0.0)
        net.history.record("max_abs_weight", largest)
