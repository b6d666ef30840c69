"""The median rule at every step: Optuna's, and that of Google Vizier."""

import bisect
import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from hpo.pruners._cache import RecordCache
from hpo.pruners._checks import check_choice, check_int
from hpo.pruners._peer_values import PeerValues
from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord, TrialState

__all__ = ["EveryStepMedian"]

_CONTINUE = PruneDecision(False)


class EveryStepMedian(BasePruner):
    """Stops a trial whose best score so far is worse than the median of its peers at that step.

    See `hpo.pruners.optuna_median.OptunaMedianPruner`, which is this under a name.
    """

    def __init__(
        self,
        n_startup_trials: int = 5,
        n_warmup_steps: int = 0,
        interval_steps: int = 1,
        *,
        n_min_trials: int = 1,
        reference: str = "step_value",
        peers: str = "complete",
    ) -> None:
        owner = type(self).__name__
        self.n_startup_trials = check_int(owner, "n_startup_trials", n_startup_trials, low=0)
        self.n_warmup_steps = check_int(owner, "n_warmup_steps", n_warmup_steps, low=0)
        self.interval_steps = check_int(owner, "interval_steps", interval_steps, low=1)
        self.n_min_trials = check_int(owner, "n_min_trials", n_min_trials, low=1)
        self.reference = check_choice(owner, "reference", reference, _REFERENCES)
        self.peers = check_choice(owner, "peers", peers, _PEERS)
        self._peer_values = PeerValues(
            _is_complete if self.peers == "complete" else _has_value,
            _value_at if self.reference == "step_value" else _RunningMean(),
        )

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Decide on the last report of ``record``; see `BasePruner.decide`."""
        if not record.reports or not self._is_check(record):
            return _CONTINUE
        step = record.last_step
        values = self._peer_values.at(step, peers)
        if not values.n_peers or values.n_peers < self.n_startup_trials:
            return _CONTINUE
        best = max((r.value for r in record.reports if not math.isnan(r.value)), default=None)
        if best is None:
            return PruneDecision(True, f"epoch {step}: no finite score so far (diverged)")
        if values.n_values < self.n_min_trials or not values.ordered:
            return _CONTINUE
        median = _median(values.ordered)
        if best < median:
            return PruneDecision(True, self._reason(step, best, median, len(values.ordered)))
        return _CONTINUE

    def _is_check(self, record: TrialRecord) -> bool:
        """Return whether the last report is the first one since a check was due."""
        n_steps_since = record.last_step - self.n_warmup_steps - 1
        if n_steps_since < 0:
            return False
        due = record.last_step - n_steps_since % self.interval_steps
        return len(record.reports) == 1 or record.reports[-2].step < due

    def _reason(self, step: int, best: float, median: float, n_peers: int) -> str:
        best_text, median_text = _distinct(best, median)
        prefix = "the running means of " if self.reference == "running_mean" else ""
        trials = "1 trial" if n_peers == 1 else f"{n_peers} trials"
        return f"epoch {step}: {best_text} < median {median_text} of {prefix}{trials}"

    def __repr__(self) -> str:
        params = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        options = ", ".join(f"{key}={value!r}" for key, value in params.items())
        return f"{type(self).__name__}({options})"


_REFERENCES = ("step_value", "running_mean")
_PEERS = ("complete", "reported")


def _is_complete(record: TrialRecord, step: int) -> bool:
    return record.state is TrialState.COMPLETE


def _has_value(record: TrialRecord, step: int) -> bool:
    return record.value_at(step) is not None


def _value_at(record: TrialRecord, step: int) -> float | None:
    return record.value_at(step)


def _median(ordered: Sequence[float]) -> float:
    """Return the median as Optuna computes it: with `numpy.percentile`, whose rounding differs.

    It depends on the values in the middle alone.
    """
    n = len(ordered)
    middle = ordered[max(n // 2 - 1, 0) : n // 2 + 1 + n % 2]
    with np.errstate(invalid="ignore"):  # infinity - infinity, between two infinite values
        return float(np.percentile(middle, 50.0))


class _RunningMean:
    """Returns the mean of a trial's values up to a step; None if there are none."""

    def __init__(self) -> None:
        self._means = RecordCache(_running_means)

    def __call__(self, record: TrialRecord, step: int) -> float | None:
        return _mean_up_to(record, self._means(record), step)


def _running_means(record: TrialRecord) -> list[float]:
    """Return the mean of all values up to each report, ignoring nan; nan if there are none."""
    total, n, means = 0.0, 0, []
    for report in record.reports:
        if not math.isnan(report.value):
            total, n = total + report.value, n + 1
        means.append(total / n if n else math.nan)
    return means


def _mean_up_to(record: TrialRecord, means: list[float], step: int) -> float | None:
    """Return the running mean at the last report up to ``step``; None if there is none."""
    index = min(step, len(means)) - 1
    if index < 0:
        return None
    if record.reports[index].step > step:  # steps were skipped
        index = bisect.bisect_right(record.reports, step, key=attrgetter("step")) - 1
    return means[index] if index >= 0 else None


def _distinct(low: float, high: float) -> tuple[str, str]:
    """Format two different numbers with the fewest digits (at least 4) that distinguish them."""
    pairs = ((f"{low:.{digits}g}", f"{high:.{digits}g}") for digits in range(4, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(low), repr(high)))
