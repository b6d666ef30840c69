"""scikit-learn's own tests of its searches, run on HPOSearchCV by way of thin adapters."""

import importlib.util
import inspect
import sys
import warnings

import numpy as np
import pytest
import sklearn.model_selection
from sklearn.linear_model import Ridge
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._test_common.instance_generator import INIT_PARAMS
from sklearn.utils.estimator_checks import parametrize_with_checks

from hpo import HPOSearchCV

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class _Adapter(HPOSearchCV):
    """HPOSearchCV with the parameters of one of scikit-learn's searches."""

    def __init__(self, estimator, *, pre_dispatch="2*n_jobs", **settings):
        BaseSearchCV.__init__(self, estimator, pre_dispatch=pre_dispatch, **settings)

    def __dir__(self):
        """Leave out what is HPOSearchCV's own: a test compares all attributes."""
        own = {"corrected_score_", "n_steps_", "result_"}
        return [name for name in super().__dir__() if name not in own]


for _parameter in inspect.signature(HPOSearchCV).parameters.values():
    if _parameter.default is not inspect.Parameter.empty:
        setattr(_Adapter, _parameter.name, _parameter.default)
_Adapter.pruner = "nop"


class GridSearchCV(_Adapter):
    sampler, n_trials, random_state = "grid", None, 0

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_grid = param_grid

    @property
    def search_space(self):
        return self.param_grid


class RandomizedSearchCV(_Adapter):
    sampler = "random"

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=10,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.random_state = random_state

    @property
    def search_space(self):
        return self.param_distributions

    @property
    def n_trials(self):
        return self.n_iter


def _load(name):
    """Return a test module of scikit-learn's in which the searches are ours."""
    spec = importlib.util.find_spec(name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    ours = {cls.__name__: cls for cls in (GridSearchCV, RandomizedSearchCV)}
    with pytest.MonkeyPatch.context() as patch:
        for cls_name, cls in ours.items():
            patch.setattr(sklearn.model_selection, cls_name, cls)
        spec.loader.exec_module(module)
    return module


_search = _load("sklearn.model_selection.tests.test_search")
_routing = _load("sklearn.tests.test_metaestimators_metadata_routing")

LEFT_OUT = {
    "test_array_api_search_cv_classifier",  # scikit-learn skips it without other array libraries
}
globals().update(
    {k: v for k, v in vars(_search).items() if k.startswith("test_") and k not in LEFT_OUT}
)

REFUSED = "hpo refuses a choice that is given twice: the second one would be the same trial"
COUNTED = "hpo counts failed trials and not failed fits: a trial ends at the first fold that raises"
NO_SCORE = "hpo names no winner where no trial has a score: it raises, with cv_results_ set"

EXPECTED_TO_FAIL = {
    "test_grid_search_bad_param_grid": "every mistake in a space is a SpaceError, a ValueError",
    "test_grid_search_failing_classifier": COUNTED,
    "test_grid_search_classifier_all_fits_fail": REFUSED,
    "test_grid_search_cv_splits_consistency": REFUSED,
    "test_callable_multimetric_error_failing_clf": COUNTED,
    "test_callable_multimetric_clf_all_fits_fail": REFUSED,
    "test_search_callbacks_with_partial_fit_failures": COUNTED,
    "test_search_cv_results_none_param": NO_SCORE,
    "test_unsupported_sample_weight_scorer": NO_SCORE,
    "test_search_with_2d_array": "a seed draws other points of a finite space than scikit-learn's",
}
"""Names of scikit-learn's tests to why they fail; one that passes is an error."""


@pytest.fixture(autouse=True)
def expected(request):
    """Expect the test to fail if it is listed."""
    reason = EXPECTED_TO_FAIL.get(request.node.originalname)
    if reason is not None:
        request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def test_every_expected_failure_is_a_test():
    assert EXPECTED_TO_FAIL.keys() <= globals().keys()


# -- routing of metadata -------------------------------------------------------------------------

OURS = [m for m in _routing.METAESTIMATORS if issubclass(m["metaestimator"], HPOSearchCV)]


@pytest.mark.parametrize("metaestimator", OURS, ids=lambda m: m["metaestimator"].__name__)
@pytest.mark.parametrize(
    "test",
    [
        function
        for name, function in vars(_routing).items()
        if name.startswith("test_")
        and list(inspect.signature(function).parameters) == ["metaestimator"]
    ],
    ids=lambda function: function.__name__,
)
def test_metadata_is_routed_as_by_scikit_learn(test, metaestimator):
    test(metaestimator)


def test_methods_are_delegated_as_by_scikit_learn(monkeypatch):
    with warnings.catch_warnings(action="ignore"):
        from sklearn.tests import test_metaestimators as theirs
    searches = [d for d in theirs.DELEGATING_METAESTIMATORS if "SearchCV" in d.name]
    for cls in (GridSearchCV, RandomizedSearchCV):
        monkeypatch.setattr(theirs, cls.__name__, cls)
    assert {type(d.construct(Ridge())) for d in searches} == {GridSearchCV, RandomizedSearchCV}
    monkeypatch.setattr(theirs, "DELEGATING_METAESTIMATORS", searches)
    theirs.test_metaestimator_delegation()


# -- checks of estimators ------------------------------------------------------------------------

INSTANCES = [
    cls(**settings)
    for cls, theirs in (
        (GridSearchCV, sklearn.model_selection.GridSearchCV),
        (RandomizedSearchCV, sklearn.model_selection.RandomizedSearchCV),
    )
    for settings in INIT_PARAMS[theirs]
]


@parametrize_with_checks(INSTANCES)
def test_instances_pass_the_checks_that_scikit_learn_makes_of_its_own(estimator, check):
    check(estimator)
