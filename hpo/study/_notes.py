"""What a user should know of a study, though nothing of it is wrong."""

import inspect
from collections.abc import Iterable
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
from hpo.trial import TrialState

__all__ = ["note_on_majority", "note_on_train_split"]

_NEARLY_ALL = 0.9
"""Share of the complete trials that may score as a constant prediction does."""
_ABOVE, _BELOW = 0.05, 0.5
"""Of the rest up to 1: how far from that score is no better, and of the same kind."""
_FREQUENT = 0.6
_FEWEST = 2
_SCORED = {TrialState.COMPLETE, TrialState.PRUNED}


def note_on_train_split(estimator: Any, space: SearchSpace) -> str:
    """Return that a net sets a part of each fold aside, where nobody has said that it should."""
    net = last_step(estimator)
    if not isinstance(net, NeuralNet) or f"{net_prefix(estimator)}train_split" in space:
        return ""
    if not _is_default(net.train_split) or _looks_at_valid(net):
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


def _looks_at_valid(net: NeuralNet) -> bool:
    """Return whether a callback of the user's looks at the part that is set aside."""
    callbacks = net.callbacks if isinstance(net.callbacks, list | tuple) else ()
    given = [item[1] if isinstance(item, tuple) else item for item in callbacks]
    values = [value for callback in given for value in _settings(callback)]
    return any("valid" in value for value in values if isinstance(value, str))


def _settings(callback: Any) -> Iterable[Any]:
    if isinstance(callback, type):
        return [parameter.default for parameter in inspect.signature(callback).parameters.values()]
    return list(vars(callback).values())


def note_on_majority(result: StudyResult, objective: Objective) -> str:
    """Return that trials do no better than naming the most frequent class; empty if they do.

    Asked of accuracy alone, and where one class is frequent: other scores tell the two apart.
    """
    if objective.classes is None or not _is_accuracy(objective):
        return ""
    share = _majority(objective)
    values = [record.value for record in result.records if record.state in _SCORED]
    above, below = (amount * (1 - share) for amount in (_ABOVE, _BELOW))
    alike = [value for value in values if share - below <= value <= share + above]
    if share < _FREQUENT or len(alike) < _FEWEST or len(alike) < _NEARLY_ALL * len(values):
        return ""
    return (
        f"{len(alike)} of {len(values)} trials have no better accuracy than naming the most "
        f"frequent class for every row ({share:.4g}): they learned nothing that accuracy can tell. "
        "Search another score (scoring=, or --scoring): balanced_accuracy, roc_auc, f1, "
        "average_precision"
    )


def _is_accuracy(objective: Objective) -> bool:
    scorers, metric = objective.scoring.scorers(), objective.scoring.metric
    if metric not in scorers or objective.scoring.names_itself:
        return False
    scorer = scorers[metric]
    if scorer is not None:
        return scores_by(scorer, accuracy_score)
    own = getattr(type(last_step(objective.estimator)), "score", None)
    return is_classifier(objective.estimator) and own is ClassifierMixin.score


def _majority(objective: Objective) -> float:
    """Return the mean score over the folds of naming the training part's most frequent class."""
    labels = np.asarray(as_numpy(objective.y))
    shares = []
    for train, valid in objective.splits:
        values, counts = np.unique(labels[train], return_counts=True)
        shares.append(np.mean(labels[valid] == values[counts.argmax()]))
    return float(np.mean(shares))
