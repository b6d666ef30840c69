"""scikit-learn's own checks of an estimator: none of them is expected to fail."""

import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from hpo import HPOSearchCV

pytestmark = pytest.mark.slow


def over_a_grid(estimator, space):
    return HPOSearchCV(
        estimator, space, sampler="grid", pruner="nop", cv=2, error_score="raise", random_state=0
    )


def expected_to_fail(search):
    if search.error_score == "raise":
        return {}
    return {"check_dtype_object": "all trials failing is a ValueError, which tells of TypeErrors"}


# y with an infinity: scikit-learn looks whether all of it are whole numbers before it refuses it.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks(
    [
        over_a_grid(LogisticRegression(), {"C": [0.1, 1.0]}),
        over_a_grid(Pipeline([("pca", PCA()), ("ridge", Ridge())]), {"ridge__alpha": [0.1, 1.0]}),
        HPOSearchCV(
            Ridge(),
            {"alpha": {"type": "float", "low": 0.1, "high": 1.0}},
            n_trials=2,
            cv=2,
            random_state=0,
        ),
    ],
    expected_failed_checks=expected_to_fail,
)
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)
