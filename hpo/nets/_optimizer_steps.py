"""Gradient accumulation and learning rate schedules for skorch nets."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from skorch.dataset import get_len, unpack_data

from hpo._skorch_parts import set_training, step, zero_grad

__all__ = ["OptimizerStepsMixin", "schedule_factor"]

_DECAYS: Mapping[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def schedule_factor(schedule: str, step: int, n_steps: int, warmup_ratio: float) -> float:
    """Return the factor of the learning rate at an optimizer step.

    It rises linearly to 1 over ``ceil(warmup_ratio * n_steps)`` steps, then falls as in
    `transformers.get_scheduler` (which starts one step earlier, with a useless step at rate 0).

    Parameters
    ----------
    schedule : {"constant", "linear", "cosine"}
        How it falls towards 0 at ``n_steps``: not at all, linearly, or along half a cosine.
    step : int
        Number of the step, from 0. Beyond ``n_steps`` the factor stays the same.
    n_steps : int
    warmup_ratio : float
        From 0 to below 1.
    """
    n_warmup = math.ceil(warmup_ratio * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    return _DECAYS[schedule](min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup)))


class OptimizerStepsMixin:
    """Accumulates gradients over batches, and schedules the learning rate by optimizer steps.

    Put it before a skorch net in the bases of a class. ``on_grad_computed`` is called
    once per optimizer step with the accumulated gradients, so that clipping applies to the whole.

    Parameters
    ----------
    gradient_accumulation_steps : int, default=1
        Number of batches per optimizer step, at least 1. The step equals that of a single batch
        with all their samples, but needs the memory of one batch. The last step of an epoch may
        have fewer batches.
    lr_schedule : {"constant", "linear", "cosine"}, default="constant"
        How the learning rate falls over ``schedule_epochs``; see `schedule_factor`.
    warmup_ratio : float, default=0.0
        Share of the schedule over which the learning rate rises, from 0 to below 1.
    schedule_epochs : int, optional
        Number of epochs of the schedule, or of reports if a study sets ``eval_every``. It is
        needed unless the schedule is constant without a warm-up. It is separate from
        ``max_epochs``: a winner that was best before the last epoch is refitted for fewer epochs
        on the same schedule.
    *args, **kwargs
        Arguments of the skorch net.
    """

    def __init__(
        self,
        *args: Any,
        gradient_accumulation_steps: int = 1,
        lr_schedule: str = "constant",
        warmup_ratio: float = 0.0,
        schedule_epochs: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.lr_schedule = lr_schedule
        self.warmup_ratio = warmup_ratio
        self.schedule_epochs = schedule_epochs

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If one of the four parameters is out of its range.
        """
        if self.gradient_accumulation_steps < 1:
            raise ValueError(
                "gradient_accumulation_steps must be at least 1. "
                f"Got {self.gradient_accumulation_steps!r} instead."
            )
        if self.lr_schedule not in _DECAYS:
            raise ValueError(
                f"lr_schedule must be one of: {', '.join(_DECAYS)}. Got {self.lr_schedule!r}."
            )
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"warmup_ratio must be from 0 to below 1. Got {self.warmup_ratio!r}.")
        if self._has_schedule() and self.schedule_epochs is None:
            raise ValueError(
                f"lr_schedule={self.lr_schedule!r} with warmup_ratio={self.warmup_ratio} needs "
                "schedule_epochs: the number of epochs over which the learning rate rises and "
                "falls (max_epochs, or the epochs of the study)."
            )
        if self.schedule_epochs is not None and self.schedule_epochs < 1:
            raise ValueError(f"schedule_epochs must be at least 1. Got {self.schedule_epochs!r}.")
        return super().initialize()  # type: ignore[misc]

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Build the optimizer; each group of parameters keeps its ratio to the learning rate."""
        super().initialize_optimizer(*args, **kwargs)  # type: ignore[misc]
        lr = self._lr()
        for group in self.optimizer_.param_groups:  # type: ignore[attr-defined]
            group.setdefault("lr_ratio", group["lr"] / lr if lr else 1.0)
        return self

    def set_params(self, **kwargs: Any) -> Any:
        """Set parameters; of a built net, skorch sets ``optimizer__lr`` only in the optimizer."""
        super().set_params(**kwargs)  # type: ignore[misc]
        if "optimizer__lr" in kwargs:
            self.optimizer__lr = kwargs["optimizer__lr"]
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin the schedule."""
        super().on_train_begin(net, **kwargs)  # type: ignore[misc]
        self._epochs_done = 0

    def run_single_epoch(self, iterator: Any, training: bool, *args: Any, **kwargs: Any) -> None:
        """Run an epoch; in training, make a step for the remaining batches at its end."""
        if training:
            self._begin_epoch(iterator)
        super().run_single_epoch(iterator, training, *args, **kwargs)  # type: ignore[misc]
        if training:
            if self._batches:
                self._take_step(self._batches[-1])
            self._epochs_done += 1

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Make the optimizer step of a batch, or accumulate its gradients for a later step."""
        if self.gradient_accumulation_steps == 1:
            self._set_lr()
            self._steps_done += 1
            return super().train_step(batch, **fit_params)  # type: ignore[misc]
        step = self._accumulate(batch, fit_params)
        if len(self._batches) == self.gradient_accumulation_steps:
            self._take_step(batch)
        return step

    def _begin_epoch(self, iterator: Any) -> None:
        self._steps_done = 0
        self._batches: list[Any] = []
        self._n_samples = 0
        if self._has_schedule():
            self._steps_an_epoch = math.ceil(len(iterator) / self.gradient_accumulation_steps)

    def _accumulate(self, batch: Any, fit_params: Mapping[str, Any]) -> dict[str, Any]:
        net: Any = self
        if not self._batches:
            zero_grad(net)
        set_training(net, True)
        Xi, yi = unpack_data(batch)
        y_pred = net.infer(Xi, **fit_params)
        loss = net.get_loss(y_pred, yi, X=Xi, training=True)
        # The sum is divided by the number of samples at the step, when it is known: the last
        # batch of an epoch may have fewer.
        n = get_len(Xi)
        (loss * n).backward()
        self._batches.append(batch)
        self._n_samples += n
        return {"loss": loss, "y_pred": y_pred}

    def _take_step(self, batch: Any) -> None:
        net: Any = self
        for _, parameter in net.get_all_learnable_params():
            if parameter.grad is not None:
                parameter.grad /= self._n_samples
        net.notify(
            "on_grad_computed",
            named_parameters=list(net.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        self._set_lr()
        step(net)
        self._steps_done += 1
        self._batches, self._n_samples = [], 0

    def _set_lr(self) -> None:
        factor = 1.0
        if self._has_schedule():
            factor = schedule_factor(
                self.lr_schedule,
                self._epochs_done * self._steps_an_epoch + self._steps_done,
                (self.schedule_epochs or 0) * self._steps_an_epoch,
                self.warmup_ratio,
            )
        for group in self.optimizer_.param_groups:  # type: ignore[attr-defined]
            group["lr"] = self._lr() * group["lr_ratio"] * factor

    def _has_schedule(self) -> bool:
        return self.lr_schedule != "constant" or self.warmup_ratio > 0

    def _lr(self) -> float:
        """Return the learning rate that is set, also during a training."""
        net: Any = self
        lr: float = net.get_params_for("optimizer").get("lr", net.lr)
        return lr
