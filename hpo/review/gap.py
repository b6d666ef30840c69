"""How the score on the held-out part compares with what was to be expected."""

import math

from hpo.result import StudyResult
from hpo.statistics.intervals import error_of

__all__ = ["MOST_ERRORS", "gap_to_held_out"]

MOST_ERRORS = 1.96
"""Standard errors that a gap has by chance in 95 of 100 studies at most."""


def gap_to_held_out(result: StudyResult) -> tuple[str, str]:
    """Return a verdict on the held-out score, and where to look if it is surprising.

    The held-out score is compared with the corrected one (`StudyResult.corrected`), or the
    cross-validated one where there is none. Both have errors, and the gap has both.

    Returns
    -------
    verdict : str
        ``as expected from choosing among 30 trials``; empty without a held-out score.
    advice : str
        Empty if the gap is not larger than by chance.
    """
    if result.test_score is None:
        return "", ""
    corrected = result.corrected
    expected = result.best_score if corrected is None else corrected.value
    own_error = result.best_score_se if corrected is None else corrected.se
    error = math.hypot(own_error, error_of(result.test_interval))
    gap = result.test_score - expected
    name = "cross-validated" if corrected is None else "corrected"
    side = "above" if gap > 0 else "below"
    if not (math.isfinite(error) and error > 0):
        return ("the same" if gap == 0 else f"{abs(gap):.2g} {side} the {name} score"), ""
    if abs(gap) <= MOST_ERRORS * error:
        n = 1 if corrected is None else corrected.n_candidates
        return "as expected" + (f" from choosing among {n} trials" if n > 1 else ""), ""
    verdict = f"more than chance: {abs(gap):.2g} {side} the {name} score"
    return verdict, _ADVICE[side] + f" The gap is {abs(gap) / error:.1f} standard errors of both."


_ADVICE = {
    "below": (
        "Look at whether the held-out part is of another kind (a later time, another source), and "
        "whether rows of one subject, or copies, lie in several folds (give groups)."
    ),
    "above": (
        "Look at whether the held-out part is easier than the rest, and whether rows of it, or "
        "copies, are among those trained on."
    ),
}
