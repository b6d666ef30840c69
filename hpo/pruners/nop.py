"""The pruner that never stops a trial."""

from collections.abc import Sequence

from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord

__all__ = ["NopPruner"]


class NopPruner(BasePruner):
    """Lets every trial run to its last step: a search without pruning."""

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Go on, always."""
        return PruneDecision(False)

    def __repr__(self) -> str:
        return "NopPruner()"
