"""The base class of all pruners, and the decision that they return."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.trial import Cause, TrialRecord

__all__ = ["BasePruner", "PruneDecision"]


@dataclass(frozen=True, slots=True)
class PruneDecision:
    """Whether to stop a trial now, and why.

    Parameters
    ----------
    stop : bool
    reason : str
        In words; required if ``stop`` is true.
    cause : Cause, default=Cause.PRUNER

    Raises
    ------
    ValueError
        If ``stop`` is true and there is no reason.
    """

    stop: bool
    reason: str = ""
    cause: Cause = Cause.PRUNER

    def __post_init__(self) -> None:
        if self.stop and not self.reason:
            raise ValueError("A decision to stop must carry its reason.")


class BasePruner(ABC):
    """Decides after each report whether the trial continues.

    A pruner depends only on the records passed to it: the same records give the same decision,
    whichever backend or executor runs the trials.
    """

    @abstractmethod
    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Decide on the trial whose last report has just come in.

        Parameters
        ----------
        record : TrialRecord
            The running trial; its last report is the one to decide on.
        peers : sequence of TrialRecord
            Every other trial of the study, whatever its state.
        """
