"""The pruner that never stops a trial."""

from collections.abc import Sequence

from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord

__all__ = ["NopPruner"]


class NopPruner(BasePruner):
    """Never stops a trial: a search without pruning."""

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Return a decision to continue, always."""
        return PruneDecision(False)

    def __repr__(self) -> str:
        return "NopPruner()"
