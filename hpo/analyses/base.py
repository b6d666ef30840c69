"""What every analysis is, and what it is given."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.out_of_fold import OutOfFold
from hpo.trial import TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BaseAnalysis", "Winner"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Winner:
    """A refitted winner, and what it can be asked on.

    Parameters
    ----------
    estimator : estimator
        Fitted on ``X`` and ``y``.
    ranked : sequence of TrialRecord
        The complete trials, best first; the winner's own is the first.
    X, y : data that it was fitted on
    X_test, y_test : the held-out test part; None without one
    classes : array of shape (n_classes,) or None
        Labels in ascending order; None where ``y`` holds no classes.
    class_names : tuple of str or None
        Their names, in that order.
    scoring : str
        Name of the study's score.
    seed : int
        For random numbers.
    take : callable
        ``take(X, rows)`` returns rows of data of any kind, by an array of their numbers.
    refitter : callable
        See `refit`.
    oof : callable or None
        See `out_of_fold`.
    """

    estimator: Any
    ranked: Sequence[TrialRecord]
    X: Any
    y: Any
    X_test: Any = None
    y_test: Any = None
    classes: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    scoring: str = "score"
    seed: int = 0
    take: Callable[[Any, np.ndarray], Any]
    refitter: Callable[[TrialRecord, np.ndarray | None], Any]
    oof: Callable[[int], OutOfFold] | None = None

    def refit(self, record: TrialRecord | None = None, rows: np.ndarray | None = None) -> Any:
        """Return an estimator with a trial's parameters and epochs, newly fitted.

        Parameters
        ----------
        record : TrialRecord, optional
            None means the winner's.
        rows : array of int, optional
            Rows of ``X`` to fit on, repeated ones among them; None means all.
        """
        return self.refitter(record or self.ranked[0], rows)

    def out_of_fold(self, record: TrialRecord | None = None) -> OutOfFold:
        """Return the out-of-fold predictions of a trial, by default the winner's.

        Raises
        ------
        ValueError
            If they are not kept.
        """
        number = (record or self.ranked[0]).number
        try:
            if self.oof is not None:
                return self.oof(number)
        except KeyError as error:
            raise ValueError(str(error.args[0])) from None
        raise ValueError("No out-of-fold predictions are kept.")

    def labels(self) -> list[str]:
        """Return a name for each class.

        Raises
        ------
        ValueError
            If the winner is no classifier.
        """
        if self.classes is None:
            raise ValueError("The study's y holds no classes.")
        names = self.class_names
        if names is not None and len(names) == len(self.classes):
            return list(names)
        return [str(label) for label in self.classes]

    def test_part(self) -> tuple[Any, np.ndarray]:
        """Return the held-out test part, its y as an array.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.X_test is None:
            raise ValueError("The study has no held-out test part.")
        y = self.y_test
        return self.X_test, np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)


CLASS = "class"
"""Where what an analysis from outside hpo found keeps its `BaseAnalysis.reference`."""


class BaseAnalysis(ABC):
    """Something worth knowing of a refitted winner: computed once, told and drawn at any time.

    What `compute` returns is kept in the study's storage; `summarize` and `plot` see that and
    nothing else, so they work on a study of last year. Its numbers at the top level become
    metrics ``<analysis>_<name>`` of the study's run in MLflow.
    """

    title = ""
    """Heading of the report's section."""

    needs_classes = True
    """Whether it refuses a winner whose ``y`` holds no classes."""

    needs_test_part = False
    """Whether a study without a held-out test part is refused before it runs."""

    @property
    def name(self) -> str:
        """Name of its module; of a class outside hpo, that of the class in lower case."""
        package, _, module = type(self).__module__.rpartition(".")
        return module if package == "hpo.analyses" else type(self).__name__.lower()

    @property
    def reference(self) -> str:
        """What finds the class again: its name, or ``"module:Class"`` outside hpo."""
        cls = type(self)
        if cls.__module__.startswith("hpo.analyses."):
            return self.name
        return f"{cls.__module__}:{cls.__qualname__}"

    @abstractmethod
    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return what there is to know, as plain data: numbers, text, lists and dicts of them.

        Raises
        ------
        Exception
            Any one: it is told in the analysis's place, and the study goes on.
        """

    @abstractmethod
    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the few lines to print, each a name and a text."""

    @abstractmethod
    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Return a picture that belongs to the caller alone."""
