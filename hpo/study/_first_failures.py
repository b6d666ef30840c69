"""A study whose first trials all fail with one error is stopped: the rest would fail too."""

import re
from collections.abc import Sequence
from typing import Any

from hpo._stop_signal import StopSignal
from hpo.exceptions import NoCompletedTrialError
from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.trackers import BaseTracker
from hpo.trial import TrialRecord, TrialState

__all__ = ["FirstFailures"]


class FirstFailures(BaseTracker):
    """Asks a study to end once its first trials have all failed with one error.

    A value that all of them share may be to blame, where the parameter has others: so trials go
    on until each such parameter has had two.

    Parameters
    ----------
    interrupt : StopSignal
        Asked to end it.
    n : int or None
        Failures that are enough; None never ends a study.
    space : SearchSpace
    earlier : sequence of TrialRecord
        Trials of earlier runs: where one of them did not fail, nothing is stopped.
    """

    def __init__(
        self,
        interrupt: StopSignal,
        n: int | None,
        space: SearchSpace,
        earlier: Sequence[TrialRecord] = (),
    ) -> None:
        self._interrupt = interrupt
        self._n = n
        values = {name: space.values(name) for name in space.names}
        self._several = [name for name, known in values.items() if known is None or len(known) > 1]
        self._failed: list[TrialRecord] = []
        self._over = n is None or any(record.state in _WORKED for record in earlier)
        self.stopped = False
        """Whether the study was asked to end."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Look at how the trial ended."""
        if self._over or record.interrupted:
            return
        failed = record.state is TrialState.FAILED and record.error is not None
        if not failed or (self._failed and _kind(record) != _kind(self._failed[0])):
            self._over = True
            return
        self._failed.append(record)
        assert self._n is not None
        if len(self._failed) >= self._n and not self._shared():
            self._over = self.stopped = True
            self._interrupt.request(f"the first {len(self._failed)} trials failed with one error")

    def _shared(self) -> list[str]:
        """Return the parameters of which all failed trials have the same value."""
        if len(self._failed) == 1:
            return []
        absent = object()
        return [name for name in self._several if len(self._values(name, absent)) == 1]

    def _values(self, name: str, absent: Any) -> set[Any]:
        return {record.trial.params.get(name, absent) for record in self._failed}

    def error(self, result: StudyResult) -> NoCompletedTrialError:
        """Return the error that ends the study, which tells of those of its trials."""
        return NoCompletedTrialError(
            f"{result.failure_summary()} They are the first ones and failed with one error, so the "
            "study was stopped; fail_fast=None goes on regardless."
        )


_WORKED = {TrialState.COMPLETE, TrialState.PRUNED}


def _kind(record: TrialRecord) -> str:
    """Return what an error is but for its numbers, which may be those of the parameters."""
    return re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?", "#", record.reason)
