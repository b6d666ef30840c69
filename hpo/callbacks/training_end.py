"""Scores that count once the training is over."""

from typing import Any

from skorch.callbacks import Callback

from hpo.callbacks._once import Once

__all__ = ["EndOfTraining", "OnceTrained"]


class EndOfTraining(Callback):  # type: ignore[misc]  # skorch has no types
    """Knows whether the training of a net is over: at its last epoch, or stopped before.

    Attributes
    ----------
    over_ : bool
    """

    def initialize(self) -> "EndOfTraining":
        """Forget an earlier training."""
        self.over_ = False
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Take note."""
        self.over_ = False

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Take note."""
        self.over_ = True


class OnceTrained(Once):
    """A scorer that is 0 until the training of a net is over; see `Once`.

    The score is that of the weights that a training ends with: needed where the question is what a
    training comes to, or which weights early stopping keeps. The net needs `EndOfTraining`.
    """

    needs = EndOfTraining

    def counts(self, callback: Any) -> bool:
        """Return whether the training is over."""
        return bool(callback.over_)
