"""How the score on the held-out part compares with what was to be expected."""

import math

import pytest

from hpo.result import StudyResult
from hpo.review.gap import gap_to_held_out
from hpo.statistics.selection_bias import CorrectedScore
from hpo.trial import Report, Trial, TrialRecord, TrialState

ERROR = 0.01


def result(test_score, *, corrected=0.9, n_candidates=30, interval_errors=1.0):
    report = Report(0, 1, 0.92, (0.92, 0.92, 0.95))
    record = TrialRecord(Trial(0, {}, 0), TrialState.COMPLETE, (report,))
    half = 1.96 * interval_errors * ERROR
    return StudyResult(
        name="x",
        records=(record,),
        test_score=test_score,
        test_interval=(test_score - half, test_score + half),
        corrected=None
        if corrected is None
        else CorrectedScore(corrected, 0.88, 0.92, ERROR, n_candidates),
    )


@pytest.mark.parametrize("errors", [0.0, 1.9, -1.9])
def test_a_gap_within_both_errors_is_as_expected(errors):
    score = 0.9 + errors * math.sqrt(2) * ERROR
    assert gap_to_held_out(result(score)) == ("as expected from choosing among 30 trials", "")
    assert gap_to_held_out(result(score, n_candidates=1)) == ("as expected", "")


@pytest.mark.parametrize(("errors", "side"), [(2.1, "above"), (-2.1, "below")])
def test_a_gap_beyond_them_says_where_to_look(errors, side):
    verdict, advice = gap_to_held_out(result(0.9 + errors * math.sqrt(2) * ERROR))
    assert verdict.startswith("more than chance")
    assert f"{side} the corrected score" in verdict
    assert "2.1 standard errors of both" in advice


def test_the_held_out_parts_own_error_counts():
    gap = 0.9 - 2.5 * ERROR
    assert gap_to_held_out(result(gap, interval_errors=0.1))[1]
    assert not gap_to_held_out(result(gap, interval_errors=2.0))[1]


def test_without_a_corrected_score_the_cross_validated_one_is_compared():
    verdict, _ = gap_to_held_out(result(0.5, corrected=None))
    assert "below the cross-validated score" in verdict


def test_nothing_to_compare():
    assert gap_to_held_out(StudyResult(name="x", records=())) == ("", "")
