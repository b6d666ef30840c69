"""Scores as means over rows: each row's share, for the scorers for which that is known.

Accuracy or a squared error is a mean over rows. A score that is a smooth function of such means
(an F1 score, an AUC, R2) has a linear approximation, whose rows have exactly the score as their
mean, and vary with the drawn rows as the score does (Efron 1982: The Jackknife, the Bootstrap and
Other Resampling Plans, chapter 6: the infinitesimal jackknife). The mean is checked against the
scorer wherever a formula is used.
"""

from collections.abc import Mapping
from typing import Any

from sklearn.base import is_classifier, is_regressor

from hpo.training.row_formulas._base import Delayed, Predicted, RowFormula
from hpo.training.row_formulas._errors import explained_variance, mean_error, r2, root_mean_error
from hpo.training.row_formulas._labels import (
    accuracy,
    balanced_accuracy,
    matthews,
    of_positive,
    over_classes,
)
from hpo.training.row_formulas._values import (
    average_precision,
    neg_brier_score,
    neg_log_loss,
    one_against_rest,
    roc_auc,
    top_2_accuracy,
)
from hpo.training.scorer_parts import is_the_scorer
from hpo.training.scoring import Scoring

__all__ = ["Delayed", "Predicted", "RowFormula", "row_formula"]


def row_formula(scoring: Scoring, estimator: Any) -> RowFormula | None:
    """Return the formula of the rows of the trial's score; None if none is known.

    Parameters
    ----------
    scoring : Scoring
    estimator : estimator
        Its own ``score`` counts where there is no scorer.
    """
    if not scoring.looks_at_predictions_only:
        return _delayed(scoring)
    scorer = scoring.scorers().get(scoring.metric)
    if scorer is None:  # the estimator's own, which is one of these as a rule; that is checked
        if is_classifier(estimator):
            return accuracy
        return r2 if is_regressor(estimator) else None
    return next((f for name, f in _FORMULAS.items() if is_the_scorer(scorer, name)), None)


def _delayed(scoring: Scoring) -> RowFormula | None:
    """Return the formula of a scorer that has a constant value until a training has come so far.

    Such a scorer has the attributes ``scoring``, the name of the scorer that it calls then, and
    ``before``, the constant (`hpo.callbacks.OnceTrained`). Whether that is so is checked at each
    step, like any formula.
    """
    scorer = scoring.by_name.get(scoring.metric)
    name, before = getattr(scorer, "scoring", None), getattr(scorer, "before", None)
    formula = _FORMULAS.get(name) if isinstance(name, str) else None
    return None if formula is None or before is None else Delayed(formula, before)


_FORMULAS: Mapping[str, RowFormula] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "matthews_corrcoef": matthews,
    **{name: of_positive(name) for name in ("f1", "precision", "recall", "jaccard")},
    **{
        f"{name}_{average}": over_classes(name, average)
        for name in ("f1", "precision", "recall", "jaccard")
        for average in ("macro", "micro", "weighted")
    },
    "neg_log_loss": neg_log_loss,
    "neg_brier_score": neg_brier_score,
    "top_k_accuracy": top_2_accuracy,
    "roc_auc": roc_auc,
    "roc_auc_ovr": one_against_rest(weighted=False),
    "roc_auc_ovr_weighted": one_against_rest(weighted=True),
    "average_precision": average_precision,
    "neg_mean_squared_error": mean_error("squared"),
    "neg_mean_absolute_error": mean_error("absolute"),
    "neg_mean_absolute_percentage_error": mean_error("percentage"),
    "neg_mean_squared_log_error": mean_error("squared_log"),
    "neg_root_mean_squared_error": root_mean_error("squared"),
    "neg_root_mean_squared_log_error": root_mean_error("squared_log"),
    "r2": r2,
    "explained_variance": explained_variance,
}
