"""A score that is 0 until a callback of the net says that it is valid."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from sklearn.metrics import get_scorer
from skorch.callbacks import Callback

__all__ = ["Once"]


class Once(ABC):
    """A scorer that is 0 until all callbacks of one class agree.

    A search selects the best epoch of a trial and refits the winner for that number of epochs.
    With such a scorer this is an epoch at which the score is valid. (``select="last"`` selects the
    last epoch.)

    Parameters
    ----------
    scoring : str, default="accuracy"
        Name of a scikit-learn scorer whose values are 0 or greater.
    """

    before = 0.0
    """The score until they agree; `hpo.training.row_formulas` knows each row's share by it."""

    needs: ClassVar[type[Callback]]
    """Class of the callbacks that decide."""

    def __init__(self, scoring: str = "accuracy") -> None:
        self.scoring = scoring

    @abstractmethod
    def counts(self, callback: Any) -> bool:
        """Return whether the score is valid now, according to ``callback``."""

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return the score of a fitted net, or of a Pipeline that ends in one.

        Raises
        ------
        ValueError
            If the net has no such callback.
        """
        net = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        callbacks = [callback for _, callback in net.callbacks_ if isinstance(callback, self.needs)]
        if not callbacks:
            raise ValueError(
                f"{type(self).__name__} needs a net with the callback "
                f"hpo.callbacks.{self.needs.__name__}."
            )
        if not all(map(self.counts, callbacks)):
            return self.before
        return float(get_scorer(self.scoring)(estimator, X, y))
