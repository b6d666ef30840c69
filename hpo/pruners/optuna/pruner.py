"""Adapter for Optuna's pruners."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from hpo.pruners.base import BasePruner, PruneDecision
from hpo.trial import TrialRecord

__all__ = ["OptunaPruner"]

_CONTINUE = PruneDecision(False)
_REASONS = {
    "MedianPruner": "best so far {best} is below the median of the complete trials",
    "PercentilePruner": "best so far {best} is below the percentile of the complete trials",
    "ThresholdPruner": "{last} is out of bounds",
    "SuccessiveHalvingPruner": "{last} was not promoted from its rung",
    "HyperbandPruner": "{last} was not promoted from its rung of its bracket",
    "PatientPruner": "no gain within its patience, best so far {best}",
    "WilcoxonPruner": "{last} is worse over the folds than the best complete trial",
}


class OptunaPruner(BasePruner):
    """Stops the trials that a pruner of Optuna would stop.

    The pruner is applied to a private in-memory study that contains the same trials. There,
    steps count from 0 as in Optuna: ``n_warmup_steps=w`` allows the first stop after step
    w + 1, and a rung of successive halving at resource r is evaluated after step r + 1.

    Parameters
    ----------
    pruner : str or optuna.pruners.BasePruner, default="successive_halving"
        A pruner, or the name of one: ``"hyperband"``, ``"median"``, ``"nop"``, ``"patient"``,
        ``"percentile"``, ``"successive_halving"``, ``"threshold"``, ``"wilcoxon"`` and
        whatever else ``optuna.pruners`` has. A pruner object is copied, not changed.
    study_name : str, default="hpo"
        Name of the private study. Hyperband derives a trial's bracket from this name and the
        trial's number, so the same name gives the same brackets.
    **options
        Arguments of the named pruner, as Optuna documents them. For ``"patient"`` the
        wrapped pruner is ``wrapped``, a name, an Optuna pruner or None (the default: stop only
        for lack of improvement), and its own options are ``wrapped__<option>``.

    Raises
    ------
    ValueError
        If Optuna has no such pruner, or the pruner rejects an option.

    Notes
    -----
    Successive halving and Hyperband decide on each report once, in the order in which reports
    arrive; a repeated call returns the same decision. Reports that arrived before this object
    was created (a study that was restarted) are processed first, in the order of the trials'
    numbers. With ``"auto"`` resources, which are fixed at the first complete trial, and several
    running trials, that order can differ from the first run's: pass the resources as numbers if
    decisions must not depend on it.

    ``"wilcoxon"`` compares the fold scores of the trial's last report with those of the best
    complete trial at that step (at its last step, if it made fewer). With k folds the smallest
    p-value is 2 ** -k: at Optuna's threshold of 0.1 fewer than four folds never stop a trial. A
    trial with a fold without a finite score is not stopped either.

    Examples
    --------
    >>> OptunaPruner("hyperband", max_resource=20)
    OptunaPruner('hyperband', max_resource=20)
    """

    def __init__(
        self,
        pruner: Any = "successive_halving",
        *,
        study_name: str = "hpo",
        **options: Any,
    ) -> None:
        # Importing Optuna is slow, and `hpo list` imports this module without needing it.
        from hpo.pruners.optuna.build import make_pruner

        if not isinstance(study_name, str):
            raise ValueError(
                "The 'study_name' parameter of OptunaPruner must be a str. "
                f"Got {study_name!r} instead."
            )
        self.pruner = pruner
        self.study_name = study_name
        self.options = options
        self._wrapped = make_pruner(pruner, options)
        self._judge: Callable[[TrialRecord, Sequence[TrialRecord]], bool] = self._new_judge()

    def _new_judge(self) -> Callable[[TrialRecord, Sequence[TrialRecord]], bool]:
        from hpo.pruners.optuna.judges import make_judge

        return make_judge(self._wrapped, self.study_name)

    def decide(self, record: TrialRecord, peers: Sequence[TrialRecord]) -> PruneDecision:
        """Decide on the last report of ``record``; see `BasePruner.decide`."""
        if not record.reports or not self._judge(record, peers):
            return _CONTINUE
        return PruneDecision(True, self._reason(record))

    def _reason(self, record: TrialRecord) -> str:
        last = record.reports[-1].value
        best = max((r.value for r in record.reports if not math.isnan(r.value)), default=math.nan)
        names = (kind.__name__ for kind in type(self._wrapped).__mro__)
        template = next((_REASONS[name] for name in names if name in _REASONS), "{last}")
        if math.isnan(last if "{last}" in template else best):
            template = "no finite score (diverged)"
        text = template.format(last=f"{last:.4g}", best=f"{best:.4g}")
        return f"epoch {record.last_step}: {text}; stopped by {self._label()}"

    def _label(self) -> str:
        name = type(self._wrapped).__name__
        options = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{name}({options})" if options else name

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_judge"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._judge = self._new_judge()

    def __repr__(self) -> str:
        options = {**self.options}
        if self.study_name != "hpo":
            options["study_name"] = self.study_name
        arguments = [repr(self.pruner), *(f"{key}={value!r}" for key, value in options.items())]
        return f"OptunaPruner({', '.join(arguments)})"
