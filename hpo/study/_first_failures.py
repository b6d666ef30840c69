"""Stop a study whose first trials all fail with the same error: the rest would fail too."""

import re
from collections.abc import Sequence
from typing import Any

from hpo._stop_signal import StopSignal
from hpo.exceptions import NoCompletedTrialError
from hpo.observer import BaseObserver
from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.trial import TrialRecord, TrialState

__all__ = ["FirstFailures"]


class FirstFailures(BaseObserver):
    """Stops a study once its first trials have all failed with the same error.

    The cause may be a parameter value that all of them share, although the parameter has others;
    so the study continues until two values of each such parameter have been tried.

    Parameters
    ----------
    interrupt : StopSignal
        Used to stop the study.
    n : int or None
        Number of failures after which the study is stopped; None never stops it.
    space : SearchSpace
    earlier : sequence of TrialRecord
        Trials of earlier runs: if one of them did not fail, the study is never stopped.
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
        self._searched = [
            name for name, options in values.items() if options is None or len(options) > 1
        ]
        self._failed: list[TrialRecord] = []
        self._done = n is None or any(record.state in _WORKED for record in earlier)
        self.stopped = False
        """Whether this has stopped the study."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Stop the study if enough trials have failed."""
        if self._done or record.interrupted:
            return
        failed = record.state is TrialState.FAILED and record.error is not None
        if not failed or (self._failed and _kind(record) != _kind(self._failed[0])):
            self._done = True
            return
        self._failed.append(record)
        assert self._n is not None
        if len(self._failed) >= self._n and not self._shared():
            self._done = self.stopped = True
            self._interrupt.request(f"the first {len(self._failed)} trials failed with one error")

    def _shared(self) -> list[str]:
        """Return the parameters of which all failed trials have the same value."""
        if len(self._failed) == 1:
            return []
        absent = object()
        return [name for name in self._searched if len(self._values(name, absent)) == 1]

    def _values(self, name: str, absent: Any) -> set[Any]:
        return {record.trial.params.get(name, absent) for record in self._failed}

    def error(self, result: StudyResult) -> NoCompletedTrialError:
        """Return the error that ends the study; its message summarises the errors of the trials."""
        return NoCompletedTrialError(
            f"{result.failure_summary()} They are the first ones and failed with one error, so the "
            "study was stopped; fail_fast=None goes on regardless."
        )


_WORKED = {TrialState.COMPLETE, TrialState.PRUNED}


def _kind(record: TrialRecord) -> str:
    """Return an error's message without its numbers, which may be values of parameters."""
    return re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?", "#", record.reason)
