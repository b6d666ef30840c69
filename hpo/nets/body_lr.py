"""skorch nets with different learning rates for the body and the head of a module."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from hpo._stages import stages_of
from hpo.nets.penalty import RegularizedClassifier

__all__ = ["BodyLRMixin", "FineTuningClassifier"]


class BodyLRMixin:
    """Gives the layers before a module's head their own learning rate.

    Put it before a skorch net in the bases of a class. The head is the last of the
    module's direct children that have parameters; the body is everything else. Schedules of
    torch multiply both rates by the same factor (Howard and Ruder 2018, *Universal language
    model fine-tuning*, section 3.2, with two groups instead of one per layer).

    Parameters
    ----------
    body_lr_ratio : float, default=1.0
        Learning rate of the body divided by that of the head, which is ``lr``; greater than 0. To
        train only the head, freeze the body (`hpo.callbacks.Freezing`).
    *args, **kwargs
        Arguments of the skorch net. With ``optimizer__param_groups`` only those are used.
    """

    def __init__(self, *args: Any, body_lr_ratio: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.body_lr_ratio = body_lr_ratio

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If ``body_lr_ratio`` is not a number greater than 0.
        """
        if not (self.body_lr_ratio > 0 and math.isfinite(self.body_lr_ratio)):
            raise ValueError(
                f"body_lr_ratio must be a number greater than 0. Got {self.body_lr_ratio!r} "
                "instead. Freeze the body to train only the head."
            )
        return super().initialize()  # type: ignore[misc]

    def get_params_for_optimizer(
        self, prefix: str, named_parameters: Iterable[tuple[str, nn.Parameter]]
    ) -> tuple[Any, dict[str, Any]]:
        """Return two groups of parameters, and the other arguments of the optimizer."""
        net: Any = self
        named = list(named_parameters)
        args, kwargs = super().get_params_for_optimizer(prefix, named)  # type: ignore[misc]
        stages = stages_of(net.module_)
        if self.body_lr_ratio == 1 or not stages or "param_groups" in net.get_params_for(prefix):
            return args, kwargs
        in_head = {id(parameter) for parameter in stages[-1][1].parameters()}
        head = [parameter for _, parameter in named if id(parameter) in in_head]
        body = [parameter for _, parameter in named if id(parameter) not in in_head]
        groups = [{"params": head}, {"params": body, "lr": kwargs["lr"] * self.body_lr_ratio}]
        return ([group for group in groups if group["params"]],), kwargs


class FineTuningClassifier(BodyLRMixin, RegularizedClassifier):
    """A skorch classifier on logits, with `BodyLRMixin`'s parameter and L1 and L2 penalties.

    Parameters
    ----------
    module : torch module (class or instance)
        Must return a logit for each class, without a softmax.
    *args, **kwargs
        Arguments of `RegularizedClassifier` and ``body_lr_ratio``. The default of
        ``train_split`` is None too.
    """
