"""The fast Parzen estimator is Optuna's, evaluated in another order."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

from hpo.samplers._parzen import FastParzenEstimator

SPACE = {
    "plain": FloatDistribution(-3.0, 50.0),
    "far": FloatDistribution(1e6, 1e6 + 1),
    "log": FloatDistribution(1e-8, 10.0, log=True),
    "int": IntDistribution(1, 5),
    "units": IntDistribution(16, 1024, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def observed(rng, n):
    draw = {
        "plain": rng.uniform(-3, 50, n),
        "far": rng.uniform(1e6, 1e6 + 1, n),
        "log": 10 ** rng.uniform(-8, 1, n),
        "int": rng.integers(1, 6, n).astype(float),
        "units": np.round(2 ** rng.uniform(4, 10, n)),
        "step": np.round(rng.uniform(0, 1, n), 1),
        "kind": rng.integers(0, 3, n).astype(float),
    }
    for name in ("plain", "log", "units"):  # at the bounds too
        low, high = SPACE[name].low, SPACE[name].high
        draw[name][: n // 3] = rng.choice([low, high], n // 3)
    return draw


@pytest.mark.parametrize("n", [0, 1, 2, 7, 60, 900, 3000])  # the last: not all parameters at once
@pytest.mark.parametrize("names", [list(SPACE), ["units"], ["kind"], ["plain", "far", "log"]])
def test_densities_are_optunas(n, names):
    rng = np.random.default_rng(n)
    space = {name: SPACE[name] for name in names}
    seen = {name: values for name, values in observed(rng, n).items() if name in space}
    parameters = TPESampler()._parzen_estimator_parameters
    ours, theirs = FastParzenEstimator(seen, space), _ParzenEstimator(seen, space, parameters)
    points = {name: v for name, v in observed(rng, 40).items() if name in space}
    np.testing.assert_allclose(ours.log_pdf(points), theirs.log_pdf(points), rtol=1e-8, atol=1e-8)
    first, second = (e.sample(np.random.RandomState(0), 9) for e in (ours, theirs))
    for name in names:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9)
