"""A trial of a batch that is put aside between two epochs."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo.fused import ModelState
from hpo.training.cross_validation import FoldPast
from hpo.training.pickling import dumps
from hpo.training.row_scores import FoldRows

__all__ = ["FoldScores", "SeatState"]


@dataclass
class FoldScores:
    """Scores and times of one fold of a trial; see `ScoredFold`."""

    scores: dict[str, float] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    finished: bool = False
    rows: FoldRows = field(default_factory=FoldRows)
    past: list[tuple[dict[str, float], FoldRows]] = field(default_factory=list)


@dataclass(frozen=True)
class SeatState:
    """A trial of a batch, put aside between two epochs.

    Parameters
    ----------
    step : int
        Its last step.
    epoch : int
        The epoch of the batch, on which the order of minibatches and the noise depend.
    folds : sequence of FoldScores
    model : ModelState
        Only its states and its progress are kept; all else follows from the trial.
    rows : tuple or None
        The state of its `RowRecorder`.
    past : sequence of FoldPast
        See `Seat`.
    """

    step: int
    epoch: int
    folds: Sequence[FoldScores]
    model: ModelState
    rows: Any = None
    past: Sequence[FoldPast] = ()

    def dumps(self) -> bytes:
        """Return it pickled."""
        model = self.model
        kept = (model.states, model.progress, self.rows, list(self.past))
        return dumps((self.step, self.epoch, self.folds, *kept))

    @staticmethod
    def loads(data: bytes, fresh: ModelState) -> "SeatState":
        """Return what `dumps` returned as bytes; only load what you trust.

        Parameters
        ----------
        data : bytes
        fresh : ModelState
            The model of the trial as it begins.

        Raises
        ------
        ValueError
            If its models are others.
        """
        step, epoch, folds, states, progress, rows, past = pickle.loads(data)
        pairs = zip(states, fresh.states, strict=True)
        if not all(_shapes(saved).items() <= _shapes(fresh).items() for saved, fresh in pairs):
            raise ValueError("its models have other weights")
        model = replace(fresh, states=states, progress=progress)
        return SeatState(step, epoch, folds, model, rows, past)


def _shapes(state: Any) -> dict[str, Any]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
