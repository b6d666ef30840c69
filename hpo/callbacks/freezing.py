"""Frozen stages of a pretrained module, and their gradual unfreezing."""

from typing import Any

from skorch.callbacks import Callback

from hpo._stages import stages_of

__all__ = ["Freezing"]


def _evaluate(stage: Any, inputs: Any) -> None:
    """Switch a frozen stage back to evaluation mode just before it runs.

    skorch calls ``module.train()`` before each batch, which affects every layer.
    """
    stage.eval()


class Freezing(Callback):  # type: ignore[misc]  # skorch has no types
    """Freezes the first stages of a module, for the whole training or its beginning.

    The stages are the direct children of the net's module that have parameters, in the order
    in which they were registered; the last of them is the head, which is always trained.
    `hpo.modules.ResNetCIFAR` has ``stem``, ``stage1``, ``stage2``, ``stage3`` and the head.

    A frozen stage has no gradients, and needs no backward pass if all stages before it are frozen
    too. It runs in evaluation mode: its batch norms use their stored statistics and do not update
    them, and it has no dropout. The optimizer has its weights but does not change them, not even
    by weight decay, until they are unfrozen.

    Parameters
    ----------
    depth : int, default=0
        Number of stages to freeze, counted from the input; 0 freezes none.
    unfreeze_every : int, optional
        Number of epochs after which the last frozen stage is unfrozen, repeatedly until none is
        left (Howard and Ruder 2018, *Universal language model fine-tuning*, section 3.3, where it
        is 1). If None, they stay frozen.

    Attributes
    ----------
    n_frozen_ : int
        Number of stages that are frozen now, recorded as ``frozen_stages`` in the net's history.

    Notes
    -----
    ``on_train_begin`` raises ValueError if a parameter is out of its range or the module has
    fewer stages than ``depth``.
    """

    def __init__(self, depth: int = 0, unfreeze_every: int | None = None) -> None:
        self.depth = depth
        self.unfreeze_every = unfreeze_every

    def initialize(self) -> "Freezing":
        """Start with a new module without frozen stages."""
        self.n_frozen_ = 0
        self._hooks_: list[Any] = []
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Freeze exactly the first ``depth`` stages."""
        stages = stages_of(net.module_)[:-1]
        if not 0 <= self.depth <= len(stages):
            named = ", ".join(name for name, _ in stages) or "none"
            raise ValueError(
                f"The depth of Freezing must be from 0 to {len(stages)}, the number of stages "
                f"before the head of {type(net.module_).__name__} ({named}). "
                f"Got {self.depth!r} instead."
            )
        if self.unfreeze_every is not None and self.unfreeze_every < 1:
            raise ValueError(
                "The unfreeze_every of Freezing must be None or at least 1 epoch. "
                f"Got {self.unfreeze_every!r} instead."
            )
        self._unfreeze_to(net, 0)
        self._hooks_ = [_freeze(stage) for _, stage in stages[: self.depth]]
        self.n_frozen_ = self.depth
        self._n_epochs_ = 0

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Unfreeze a stage when it is due."""
        if self.unfreeze_every and self._n_epochs_:
            self._unfreeze_to(net, self.depth - self._n_epochs_ // self.unfreeze_every)
        self._n_epochs_ += 1

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record how many stages were frozen."""
        net.history.record("frozen_stages", self.n_frozen_)

    def _unfreeze_to(self, net: Any, n_frozen: int) -> None:
        stages = stages_of(net.module_)
        while self.n_frozen_ > max(0, n_frozen):
            self.n_frozen_ -= 1
            self._hooks_.pop().remove()
            stages[self.n_frozen_][1].requires_grad_(True)


def _freeze(stage: Any) -> Any:
    stage.requires_grad_(False)
    for parameter in stage.parameters():
        parameter.grad = None  # from an earlier training; an optimizer would still use it
    return stage.register_forward_pre_hook(_evaluate)
