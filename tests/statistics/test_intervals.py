"""Intervals of a score on held-out rows."""

import numpy as np
import pytest

from hpo.statistics.intervals import bootstrap_interval, interval_of_mean, interval_of_share


def test_known_values_of_clopper_and_pearson():
    assert interval_of_share(8, 10) == pytest.approx((0.4439, 0.9748), abs=1e-4)
    assert interval_of_share(0, 20) == pytest.approx((0.0, 0.1684), abs=1e-4)
    assert interval_of_share(20, 20)[1] == 1.0


def test_shares_are_exact_and_other_means_are_drawn():
    rng = np.random.default_rng(0)
    right = rng.random(100) < 0.9
    assert interval_of_mean(right) == interval_of_share(int(right.sum()), 100)
    errors = rng.normal(size=400)
    low, high = interval_of_mean(errors)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_coverage_of_the_bootstrap():
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(200):
        values = rng.normal(3.0, 1.0, size=80)
        low, high = bootstrap_interval(lambda rows, v=values: v[rows].mean(), 80, seed=i, n=200)
        covered += low <= 3.0 <= high
    assert 180 <= covered <= 199


def test_a_score_that_is_mostly_undefined_has_no_interval():
    assert np.isnan(bootstrap_interval(lambda rows: float("nan"), 10, n=20)).all()
