"""The places of trials in a batch, and how they are put aside."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo.executors.fused.extract import ExtractedTrial
from hpo.fused import ModelState
from hpo.training.pickling import dumps
from hpo.training.row_scores import FoldRows, RowRecorder

__all__ = ["FoldScores", "Seat", "SeatState"]


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
    """

    step: int
    epoch: int
    folds: Sequence[FoldScores]
    model: ModelState
    rows: Any = None

    def dumps(self) -> bytes:
        """Return it pickled."""
        model = self.model
        kept = (model.states, model.progress, self.rows)
        return dumps((self.step, self.epoch, self.folds, *kept))

    @staticmethod
    def loads(data: bytes, extracted: ExtractedTrial) -> ExtractedTrial:
        """Return a trial that goes on from what `dumps` returned; only load what you trust.

        Raises
        ------
        ValueError
            If its models are others.
        """
        step, epoch, folds, states, progress, rows = pickle.loads(data)
        pairs = zip(states, extracted.member.states, strict=True)
        if not all(_shapes(saved).items() <= _shapes(fresh).items() for saved, fresh in pairs):
            raise ValueError("its models have other weights")
        model = replace(extracted.member, states=states, progress=progress)
        return replace(extracted, member=model, resumed=SeatState(step, epoch, folds, model, rows))


def _shapes(state: Any) -> dict[str, Any]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}


@dataclass
class Seat:
    """One trial in a slot of a batch."""

    extracted: ExtractedTrial
    folds: list[FoldScores]
    nth: int
    recorder: RowRecorder | None = None
    step: int = 0
    first_step: int = 0

    @classmethod
    def of(cls, extracted: ExtractedTrial, nth: int, recorder: RowRecorder | None) -> "Seat":
        """Return a seat for a trial, which begins or goes on."""
        resumed = extracted.resumed
        if resumed is None:
            folds = [FoldScores() for _ in extracted.member.states]
            return cls(extracted, folds, nth, recorder)
        if recorder is not None and resumed.rows is not None:
            recorder.load_state(resumed.rows)
        return cls(extracted, list(resumed.folds), nth, recorder, resumed.step, resumed.step)

    @property
    def is_over(self) -> bool:
        """Whether the trial has made all its steps, or all its folds have ended early."""
        return self.step >= self.extracted.n_steps or all(fold.finished for fold in self.folds)
