"""The learning rate over the epochs of a training, as parameters to search over."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from skorch.callbacks import Callback
from torch.optim import Optimizer, lr_scheduler

from hpo._discovery import did_you_mean

__all__ = ["LRSchedule"]


def _inverse_sqrt(epoch: int) -> float:
    return 1 / math.sqrt(epoch + 1)


def _cyclic(callback: Any, optimizer: Optimizer, n: int) -> Any:
    batches = n // callback.epochs
    length = callback.cycle_epochs * batches
    up = callback.warmup_epochs * batches or length / 2
    peaks = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"] / 10  # where torch begins, whatever base_lr says
    return lr_scheduler.CyclicLR(
        optimizer,
        [lr / 10 for lr in peaks],
        peaks,
        step_size_up=up,
        step_size_down=length - up,
        mode=callback.cycle,
        gamma=callback.gamma ** (1 / batches) if callback.gamma else 0.01 ** (1 / n),
        cycle_momentum=False,
    )


_POLICIES: Mapping[str, Callable[[Any, Optimizer, int], Any]] = {
    "constant": lambda callback, opt, n: lr_scheduler.ConstantLR(opt, factor=1.0),
    "linear": lambda callback, opt, n: lr_scheduler.LinearLR(
        opt, 1.0, end_factor=0.0, total_iters=n
    ),
    "inverse_sqrt": lambda callback, opt, n: lr_scheduler.LambdaLR(opt, _inverse_sqrt),
    "exponential": lambda callback, opt, n: lr_scheduler.ExponentialLR(
        opt, callback.gamma or 0.01 ** (1 / n)
    ),
    "step": lambda callback, opt, n: lr_scheduler.StepLR(
        opt, callback.step_epochs or math.ceil(n / 3), callback.gamma or 0.1
    ),
    "cosine": lambda callback, opt, n: lr_scheduler.CosineAnnealingLR(opt, T_max=n),
    "cosine_restarts": lambda callback, opt, n: lr_scheduler.CosineAnnealingWarmRestarts(
        opt, callback.step_epochs or math.ceil(n / 3), T_mult=2
    ),
    "plateau": lambda callback, opt, n: lr_scheduler.ReduceLROnPlateau(
        opt, factor=callback.gamma or 0.1, patience=callback.patience
    ),
    "one_cycle": lambda callback, opt, n: lr_scheduler.OneCycleLR(
        opt,
        [group["lr"] for group in opt.param_groups],
        total_steps=n,
        pct_start=callback.warmup_epochs / callback.epochs if callback.warmup_epochs else 0.3,
        cycle_momentum=False,
    ),
    "cyclic": _cyclic,
}
"""Functions that make a policy's scheduler for a number of epochs, or of batches (`_BY_BATCH`)."""

_BY_BATCH = {"one_cycle", "cyclic"}
"""Policies that change the rate after each batch, and rise by themselves."""

_ENDLESS = {"constant", "inverse_sqrt", "plateau"}
"""Policies that need no number of epochs."""

_CYCLES = ("triangular", "triangular2", "exp_range")


class LRSchedule(Callback):  # type: ignore[misc]  # skorch has no types
    """Changes the learning rate by one of torch's schedulers, after a linear warm-up.

    In the *w* epochs of the warm-up the learning rate of the net (of each group of parameters) is
    multiplied by 1 / (*w* + 1), 2 / (*w* + 1), … *w* / (*w* + 1). Then, with *n* remaining epochs
    and *t* from 0:

    =================== =========================================================================
    ``constant``        the rate itself
    ``linear``          times 1 - t / n
    ``inverse_sqrt``    times 1 / sqrt(t + 1)
    ``exponential``     times gamma each epoch; by default 1 % is left after n epochs
    ``step``            times gamma (0.1) every ``step_epochs`` (a third of n)
    ``cosine``          half a cosine towards 0 (Loshchilov and Hutter 2017, *SGDR*)
    ``cosine_restarts`` the same, restarted after ``step_epochs`` (a third of n), then after twice
                        as many, and so on (the same paper, section 3)
    ``plateau``         times gamma (0.1) when the loss has not fallen for ``patience`` epochs:
                        ``valid_loss`` of a net with its own validation part, else
                        ``train_loss``
    ``one_cycle``       by batches: rises from 1 / 25 for ``warmup_epochs`` (0.3 of the schedule),
                        falls to 4e-6 (Smith and Topin 2018, *Super-convergence*); the momentum
                        stays as it is
    ``cyclic``          by batches: rises from 1 / 10 for ``warmup_epochs`` (half of a cycle) and
                        falls back, in cycles of ``step_epochs`` (a third of the schedule), of the
                        kind ``cycle`` (Smith 2017, *Cyclical learning rates*)
    =================== =========================================================================

    After ``epochs`` the rate stays the same as in the last of them. Each epoch's ``lr`` is recorded
    in the history (that of the first group, at the last batch).

    Parameters
    ----------
    policy : str, default="constant"
        One of the policies above.
    epochs : int, optional
        Number of epochs of the schedule including the warm-up, or of reports if a study sets
        ``eval_every``. All policies except ``constant``, ``inverse_sqrt`` and ``plateau`` need it.
        It is separate from ``max_epochs``: a winner that was best before the last epoch is
        refitted for fewer epochs on the same schedule.
    warmup_epochs : int, default=0
        Number of epochs of the warm-up, from 0 to below ``epochs``.
    gamma : float, optional
        Factor of one decrease, from above 0 to below 1; of ``exp_range``, that of an epoch. None
        means the default of the policy.
    step_epochs : int, optional
        Number of epochs between two decreases, before the first restart, or of a cycle; at least 1.
    patience : int, default=2
        Number of epochs without progress before a decrease of ``plateau``, at least 0.
    cycle : {"triangular", "triangular2", "exp_range"}, default="triangular"
        Whether the peaks of ``cyclic`` stay the same, are half as high above the lowest rate after
        each cycle, or are lower by ``gamma`` each epoch (by default 1 % is left at the end).
    """

    def __init__(
        self,
        policy: str = "constant",
        epochs: int | None = None,
        warmup_epochs: int = 0,
        *,
        gamma: float | None = None,
        step_epochs: int | None = None,
        patience: int = 2,
        cycle: str = "triangular",
    ) -> None:
        self.policy = policy
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.gamma = gamma
        self.step_epochs = step_epochs
        self.patience = patience
        self.cycle = cycle

    @property
    def steps_by_batch(self) -> bool:
        """Whether the rate changes after each batch."""
        return self.policy in _BY_BATCH

    @property
    def cycle_epochs(self) -> int:
        """Number of epochs of a cycle of ``cyclic``."""
        return self.step_epochs or math.ceil((self.epochs or 1) / 3)

    def initialize(self) -> "LRSchedule":
        """Go to the start of the schedule.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``epochs`` is missing.
        """
        self._check()
        self.scheduler_: Any = None
        self.epochs_done_ = 0
        return self

    def _check(self) -> None:
        for name, choices in (("policy", tuple(_POLICIES)), ("cycle", _CYCLES)):
            value = getattr(self, name)
            if value not in choices:
                hint = did_you_mean(str(value), choices) or "."
                raise ValueError(
                    f"The {name} of LRSchedule must be one of: {', '.join(choices)}. "
                    f"Got {value!r} instead{hint}"
                )
        if self.epochs is None and self.policy not in _ENDLESS:
            raise ValueError(
                f"LRSchedule(policy={self.policy!r}) needs epochs: the number of epochs over which "
                "the learning rate falls (max_epochs, or the epochs of the study)."
            )
        for name, minimum in (("epochs", 1), ("step_epochs", 1), ("warmup_epochs", 0)):
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise ValueError(f"LRSchedule's {name} must be at least {minimum}. Got {value!r}.")
        if self.epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"LRSchedule's warmup_epochs must be below its epochs. Got {self.warmup_epochs!r} "
                f"of {self.epochs!r}."
            )
        if self.policy == "cyclic" and self.warmup_epochs >= self.cycle_epochs:
            raise ValueError(
                "LRSchedule's warmup_epochs, in which a cycle rises, must be below the epochs of a "
                f"cycle. Got {self.warmup_epochs!r} of {self.cycle_epochs!r}."
            )
        if self.gamma is not None and not 0 < self.gamma < 1:
            raise ValueError(
                f"LRSchedule's gamma must be from above 0 to below 1. Got {self.gamma!r}."
            )
        if self.patience < 0:
            raise ValueError(f"LRSchedule's patience must be at least 0. Got {self.patience!r}.")

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Make the scheduler if there is none, and set its optimizer."""
        groups = net.optimizer_.param_groups
        if any("initial_lr" not in group for group in groups):  # a new optimizer
            self.initialize()
            for group in groups:
                group["initial_lr"] = group["lr"]
        if self.scheduler_ is None:
            # Here and not at the end of the warm-up, as torch warns of a scheduler that was
            # pickled before its first step.
            self.scheduler_ = self._scheduler(net, dataset_train)
        self.scheduler_.optimizer = net.optimizer_  # an unpickled net has a copy of it

    def _scheduler(self, net: Any, dataset_train: Any) -> Any:
        optimizer = net.optimizer_
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        if self.steps_by_batch:
            n_batches = len(net.get_iterator(dataset_train, training=True))
            self.last_batch_ = (self.epochs or 0) * n_batches - 1
            return _POLICIES[self.policy](self, optimizer, self.last_batch_ + 1)
        if self.epochs_done_ < self.warmup_epochs:
            return lr_scheduler.LinearLR(
                optimizer, 1 / (self.warmup_epochs + 1), total_iters=self.warmup_epochs
            )
        return _POLICIES[self.policy](self, optimizer, (self.epochs or 0) - self.warmup_epochs)

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Step the scheduler of a policy that counts batches."""
        if not training:
            return
        self.lr_ = net.optimizer_.param_groups[0]["lr"]
        scheduler = self.scheduler_
        if self.steps_by_batch and scheduler.last_epoch < self.last_batch_:
            scheduler.step()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the rate of this epoch and step to that of the next."""
        net.history.record("lr", float(self.lr_))
        self.epochs_done_ += 1
        finished = self.epochs is not None and self.epochs_done_ >= self.epochs
        if finished or self.steps_by_batch:
            return
        if self.epochs_done_ == self.warmup_epochs:
            self.scheduler_ = None
        elif self.policy == "plateau" and self.epochs_done_ > self.warmup_epochs:
            epoch = net.history[-1]
            self.scheduler_.step(epoch.get("valid_loss", epoch["train_loss"]))
        else:
            self.scheduler_.step()
