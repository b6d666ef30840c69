"""Which of several candidates may be the best: the model confidence set.

Hansen, Lunde and Nason (2011): The Model Confidence Set. Econometrica 79. As long as the equality
of all that are left is rejected, the one that is worst is taken out. The best one is then among
those that stay with the probability that was asked for, and where all are equal none is taken
out. Comparing each pair and correcting for their number would be right too, and sees less: what is
clearly worse stays among what is corrected for, and scores of the same rows go up and down
together.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["MOST_CANDIDATES", "ConfidenceSet", "confidence_set"]

MOST_CANDIDATES = 60
"""Beyond that, the comparison of all pairs in all samples takes too long."""


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceSet:
    """What is known of each of several candidates.

    Parameters
    ----------
    p : ndarray of shape (n_candidates,)
        A candidate is taken out at all levels above this; 1 for the last one.
    critical : float
        Differences of pairs, in standard errors, that would be significant among those
        that are left at the level.
    """

    p: np.ndarray
    critical: float


def confidence_set(
    means: np.ndarray, samples: np.ndarray, errors: np.ndarray, *, level: float
) -> ConfidenceSet:
    """Return with what probability each candidate would look as bad if it were the best.

    The statistic of a set is the greatest difference of a pair in standard errors, and its
    distribution that of the same in the samples.

    Parameters
    ----------
    means : ndarray of shape (n_candidates,)
        Scores; greater is better.
    samples : ndarray of shape (n_candidates, n_samples)
        Scores in bootstrap samples, all candidates in the same ones.
    errors : ndarray of shape (n_candidates, n_candidates)
        Standard error of the difference of each pair, which may be larger than the samples
        show. Where it is 0, two different scores are different.
    level : float
        That of ``critical``.
    """
    deviations = samples - samples.mean(axis=1, keepdims=True)
    differences = deviations[:, None] - deviations[None]
    spread = differences.std(axis=2, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.abs(np.where(spread[..., None] > 0, differences / spread[..., None], 0.0))
        losses = np.nan_to_num((means[None] - means[:, None]) / errors, nan=0.0, posinf=np.inf)
    left = np.arange(len(means))
    p = np.ones(len(means))
    so_far, critical = 0.0, 0.0
    while len(left) > 1:
        null = scaled[np.ix_(left, left)].max(axis=(0, 1))
        loss = losses[np.ix_(left, left)].max(axis=1)
        so_far = max(so_far, float(1 + (null >= loss.max()).sum()) / (1 + len(null)))
        if not critical:
            critical = float(np.quantile(null, 1 - level))
        worst = loss.argmax()
        p[left[worst]] = so_far
        left = np.delete(left, worst)
        if so_far < level and len(left) > 1:
            critical = float(np.quantile(scaled[np.ix_(left, left)].max(axis=(0, 1)), 1 - level))
    return ConfidenceSet(p, critical)
