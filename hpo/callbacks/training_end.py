"""Scores that are valid once the training is over."""

from typing import Any

from skorch.callbacks import Callback

from hpo.callbacks._once import Once

__all__ = ["EndOfTraining", "OnceTrained"]


class EndOfTraining(Callback):  # type: ignore[misc]  # skorch has no types
    """Records whether the training of a net is over, after its last epoch or stopped before.

    Attributes
    ----------
    over_ : bool
        Whether the training is over.
    """

    def initialize(self) -> "EndOfTraining":
        """Reset the state."""
        self.over_ = False
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Record the beginning of the training."""
        self.over_ = False

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Record the end of the training."""
        self.over_ = True


class OnceTrained(Once):
    """A scorer that is 0 until the training of a net is over; see `Once`.

    It scores the final weights of a training. Use it if the final result of a training matters,
    or if early stopping selects the weights. The net needs the callback `EndOfTraining`.
    """

    needs = EndOfTraining

    def counts(self, callback: Any) -> bool:
        """Return whether the training is over."""
        return bool(callback.over_)
