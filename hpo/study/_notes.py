"""Notes for the user about a valid study that may not do what was intended."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.metrics import accuracy_score
from skorch import NeuralNet
from skorch.dataset import ValidSplit

from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.training.adapters import last_step, net_prefix
from hpo.training.indexing import as_numpy
from hpo.training.objective import Objective
from hpo.training.scorer_parts import scores_by
from hpo.trial import TrialRecord, TrialState

__all__ = ["note_on_baseline", "note_on_lost_reports", "note_on_majority", "note_on_train_split"]

_NEARLY_ALL = 0.9
"""Share of the trials that must score like a constant prediction for a note."""
_ABOVE, _BELOW = 0.05, 0.5
"""Tolerances around that score, as shares of its distance from 1."""
_MIN_SHARE = 0.6
_MIN_TRIALS = 2
_FEWEST_OTHERS = 10
"""Other trials from which on it says something that none was better than the own settings."""
_SCORED = {TrialState.COMPLETE, TrialState.PRUNED}


def note_on_train_split(estimator: Any, space: SearchSpace) -> str:
    """Return a note if a net holds out part of each fold only because that is skorch's default."""
    net = last_step(estimator)
    if not isinstance(net, NeuralNet) or f"{net_prefix(estimator)}train_split" in space:
        return ""
    if not _is_default(net.train_split) or _uses_validation(net):
        return ""
    default = f"ValidSplit({net.train_split.cv})"
    return (
        f"a fifth of every fold's training part is set aside by the net's train_split={default}, "
        "skorch's default: no trial learns from it. Pass train_split=None to train on it"
    )


def _is_default(split: Any) -> bool:
    default = inspect.signature(NeuralNet.__init__).parameters["train_split"].default
    return type(split) is ValidSplit and (split.cv, split.random_state) == (
        default.cv,
        default.random_state,
    )


def _uses_validation(net: NeuralNet) -> bool:
    """Return whether one of the user's callbacks uses the part that the net holds out."""
    callbacks = net.callbacks if isinstance(net.callbacks, list | tuple) else ()
    instances = [item[1] if isinstance(item, tuple) else item for item in callbacks]
    values = [value for callback in instances for value in _settings(callback)]
    return any("valid" in value for value in values if isinstance(value, str))


def _settings(callback: Any) -> Iterable[Any]:
    if isinstance(callback, type):
        return [parameter.default for parameter in inspect.signature(callback).parameters.values()]
    return list(vars(callback).values())


def note_on_lost_reports(records: Iterable[TrialRecord]) -> str:
    """Return a note if the storage has lost reports: each trial reports steps 1, 2, 3 and so on."""
    lost = {
        record.number: sorted({*range(1, record.last_step)} - {r.step for r in record.reports})
        for record in records
        if len(record.reports) > 1  # a fit without epochs reports its last step alone
    }
    found = [f"{n} (epochs {', '.join(map(str, steps))})" for n, steps in lost.items() if steps]
    if not found:
        return ""
    return (
        f"the storage has lost reports of the trials {'; '.join(found)}: it was damaged, and what "
        "stood there may have been their best scores. Their scores are those of what is left"
    )


def note_on_majority(result: StudyResult, objective: Objective) -> str:
    """Return a note if trials do no better than predicting the most frequent class.

    Checked for accuracy only, and only if one class is frequent: other scores reveal the
    difference themselves.
    """
    if objective.classes is None or not _is_accuracy(objective):
        return ""
    share = _majority(objective)
    values = [record.furthest.value for record in result.records if record.state in _SCORED]
    above, below = (amount * (1 - share) for amount in (_ABOVE, _BELOW))
    similar = [value for value in values if share - below <= value <= share + above]
    if share < _MIN_SHARE or len(similar) < _MIN_TRIALS or len(similar) < _NEARLY_ALL * len(values):
        return ""
    return (
        f"{len(similar)} of {len(values)} trials have no better accuracy than naming the most "
        f"frequent class for every row ({share:.4g}): they learned nothing that accuracy can tell. "
        "Search another score (scoring=, or --scoring): balanced_accuracy, roc_auc, f1, "
        "average_precision"
    )


def note_on_baseline(result: StudyResult, settings: Mapping[str, Any] | None) -> str:
    """Return a note if no trial was better than the estimator's own settings.

    Parameters
    ----------
    result : StudyResult
    settings : mapping of str to object or None
        Params of the trial with them; None if there is none.
    """
    if settings is None or result.winner is None:
        return ""
    own = next((r for r in result.records if dict(r.trial.params) == dict(settings)), None)
    if own is None or own.state is not TrialState.COMPLETE or own.value < result.best_score:
        return ""
    n = sum(record.state in _SCORED for record in result.records) - 1
    if n < _FEWEST_OTHERS:
        return ""
    return (
        f"none of {n} other trials was better than the estimator's own settings (trial "
        f"{own.number}): search longer, or other ranges"
    )


def _is_accuracy(objective: Objective) -> bool:
    scorers, metric = objective.scoring.scorers(), objective.scoring.metric
    if metric not in scorers or objective.scoring.names_itself:
        return False
    scorer = scorers[metric]
    if scorer is not None:
        return scores_by(scorer, accuracy_score)
    score_method = getattr(type(last_step(objective.estimator)), "score", None)
    return is_classifier(objective.estimator) and score_method is ClassifierMixin.score


def _majority(objective: Objective) -> float:
    """Return the mean accuracy over the folds of predicting the most frequent training class."""
    labels = np.asarray(as_numpy(objective.y))
    shares = []
    for train, valid in objective.splits:
        values, counts = np.unique(labels[train], return_counts=True)
        shares.append(np.mean(labels[valid] == values[counts.argmax()]))
    return float(np.mean(shares))
