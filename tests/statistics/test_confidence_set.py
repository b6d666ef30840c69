"""The best candidate stays in the set, and what is clearly worse does not."""

import numpy as np
import pytest
from scipy.special import ndtr

from hpo.statistics.confidence_set import confidence_set
from hpo.statistics.paired import adjusted_by_holm


def bootstrapped(rows, rng, n=300):
    """Return means of candidates, in bootstrap samples too, and errors of their differences."""
    bags = rng.integers(rows.shape[1], size=(n, rows.shape[1]))
    samples = np.stack([rows[:, bag].mean(axis=1) for bag in bags], axis=1)
    gaps = samples[:, None] - samples[None]
    return rows.mean(axis=1), samples, gaps.std(axis=2, ddof=1)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_of_equal_candidates_none_is_taken_out_but_rarely(shared):
    rng = np.random.default_rng(0)
    n_false = 0
    for _ in range(200):
        noise = rng.normal(size=(7, 100)) + 2 * shared * rng.normal(size=100)
        found = confidence_set(*bootstrapped(noise, rng, 200), level=0.05)
        n_false += (found.p < 0.05).any()
    assert n_false <= 20


def test_the_best_stays_and_the_worse_go():
    rng = np.random.default_rng(1)
    truth = np.array([0.0, 0.0, -0.3, -2.0, -2.0])
    kept = np.zeros(5)
    for _ in range(60):
        rows = truth[:, None] + rng.normal(size=(5, 80))
        kept += confidence_set(*bootstrapped(rows, rng, 200), level=0.05).p >= 0.05
    assert kept[:2].min() >= 55
    assert kept[3:].max() == 0


def test_it_sees_more_than_all_pairs_do():
    """Eleven candidates, of which eight are far behind, are no reason to miss the third."""
    rng = np.random.default_rng(2)
    truth = np.r_[0.0, -0.05, -0.42, np.full(8, -5.0)]
    n_seen, n_by_pairs = 0, 0
    for _ in range(60):
        rows = truth[:, None] + rng.normal(size=(11, 100))
        means, samples, errors = bootstrapped(rows, rng, 200)
        n_seen += confidence_set(means, samples, errors, level=0.05).p[2] < 0.05
        best = means.argmax()
        others = [i for i in range(11) if i != best]
        z = (means[best] - means[others]) / errors[best, others]
        adjusted = adjusted_by_holm(2 * ndtr(-z), n=55)
        n_by_pairs += 2 in others and adjusted[others.index(2)] < 0.05
    assert n_seen > 1.3 * n_by_pairs


def test_the_same_candidate_twice_is_not_worse():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(1, 50)).repeat(3, axis=0)
    assert (confidence_set(*bootstrapped(rows, rng), level=0.05).p == 1).all()


def test_larger_errors_take_fewer_out():
    rng = np.random.default_rng(4)
    rows = np.array([0.0, -0.5])[:, None] + rng.normal(size=(2, 100))
    means, samples, errors = bootstrapped(rows, rng)
    sharp = confidence_set(means, samples, errors, level=0.05)
    blunt = confidence_set(means, samples, 3 * errors, level=0.05)
    assert sharp.p.min() < 0.05 < blunt.p.min()
    assert blunt.critical == pytest.approx(sharp.critical, rel=1e-9)


def test_who_is_taken_out_later_has_no_smaller_p():
    """Of two candidates, the one with the smaller score is never the only one that stays."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        rows = rng.normal(size=(6, 60)) + rng.normal(scale=0.2, size=(6, 1))
        means, samples, errors = bootstrapped(rows, rng, 100)
        p = confidence_set(means, samples, np.full_like(errors, 0.18), level=0.05).p
        assert (np.diff(p[means.argsort()]) >= 0).all()
        assert p[means.argmax()] == 1
