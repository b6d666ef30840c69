"""Scores that count once the training is over."""

from typing import Any

from sklearn.metrics import get_scorer
from skorch.callbacks import Callback

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


class OnceTrained:
    """A scorer that is 0 until the training of a net is over.

    A search takes the best epoch of a trial. By this scorer that is the last one, and the score is
    that of the weights that a training ends with: needed where the question is what a training
    comes to, or which weights early stopping keeps.

    Parameters
    ----------
    scoring : str, default="accuracy"
        Name of a scikit-learn scorer whose values are 0 or greater.
    """

    def __init__(self, scoring: str = "accuracy") -> None:
        self.scoring = scoring

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return the score of a fitted net, or of a Pipeline that ends in one.

        Raises
        ------
        ValueError
            If the net has no callback `EndOfTraining`.
        """
        net = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        found = [callback for _, callback in net.callbacks_ if isinstance(callback, EndOfTraining)]
        if not found:
            raise ValueError(
                "OnceTrained needs a net with the callback hpo.callbacks.EndOfTraining."
            )
        return float(get_scorer(self.scoring)(estimator, X, y)) if found[0].over_ else 0.0
