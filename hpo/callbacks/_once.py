"""A score that is 0 until a callback of the net says that it counts."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from sklearn.metrics import get_scorer
from skorch.callbacks import Callback

__all__ = ["Once"]


class Once(ABC):
    """A scorer that is 0 until all callbacks of one class agree.

    A search takes the best epoch of a trial and refits the winner for as many: by such a scorer
    that is an epoch at which the score means what is asked. (``select="last"`` takes the last one.)

    Parameters
    ----------
    scoring : str, default="accuracy"
        Name of a scikit-learn scorer whose values are 0 or greater.
    """

    needs: ClassVar[type[Callback]]
    """Of the callbacks that are asked."""

    def __init__(self, scoring: str = "accuracy") -> None:
        self.scoring = scoring

    @abstractmethod
    def counts(self, callback: Any) -> bool:
        """Return whether the score counts by now, as far as ``callback`` knows."""

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return the score of a fitted net, or of a Pipeline that ends in one.

        Raises
        ------
        ValueError
            If the net has no such callback.
        """
        net = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        found = [callback for _, callback in net.callbacks_ if isinstance(callback, self.needs)]
        if not found:
            raise ValueError(
                f"{type(self).__name__} needs a net with the callback "
                f"hpo.callbacks.{self.needs.__name__}."
            )
        if not all(map(self.counts, found)):
            return 0.0
        return float(get_scorer(self.scoring)(estimator, X, y))
