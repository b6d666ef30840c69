"""Private parts of scikit-learn's scorers, with fallbacks if they are missing."""

from typing import Any

from sklearn.metrics import accuracy_score, get_scorer, make_scorer

from hpo._private_parts import note_missing

__all__ = ["asked_methods", "is_scorer", "is_the_scorer", "scores_by"]

_Scorer = type(make_scorer(accuracy_score))


def is_scorer(value: Any) -> bool:
    """Return whether a value is a scorer made by `sklearn.metrics.make_scorer`."""
    return isinstance(value, _Scorer)


def scores_by(scorer: Any, function: Any) -> bool:
    """Return whether a scorer computes its score by ``function``; False if that is unknown."""
    if not hasattr(scorer, "_score_func"):
        note_missing("sklearn", "_Scorer._score_func", "scores are computed trial by trial")
        return False
    return scorer._score_func is function


def is_the_scorer(scorer: Any, name: str) -> bool:
    """Return whether a scorer equals scikit-learn's scorer of this name, with options and sign."""
    builtin = get_scorer(name)
    return repr(scorer) == repr(builtin) and scores_by(
        scorer, getattr(builtin, "_score_func", None)
    )


def asked_methods(scorer: Any) -> tuple[str, ...]:
    """Return the methods of an estimator, of which a scorer calls the first available one."""
    if is_scorer(scorer) and not hasattr(scorer, "_response_method"):
        note_missing("sklearn", "_Scorer._response_method", "scorers are not checked beforehand")
    methods = getattr(scorer, "_response_method", None) or ()
    return (methods,) if isinstance(methods, str) else tuple(methods)
