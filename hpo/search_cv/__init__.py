"""The scikit-learn style estimator."""

from hpo.search_cv.estimator import HPOSearchCV

__all__ = ["HPOSearchCV"]
