import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.display.text import ago, amount, brief, clock, duration, ending, number, score, short_names
from hpo.trial import Report, Trial, TrialRecord, TrialState


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.97634, 0.00312, "0.9763 ± 0.0031"),
        (0.97634, 0.0995, "0.976 ± 0.100"),
        (0.97634, math.nan, "0.9763"),
        (0.97634, 0.0, "0.9763"),
        (-1234.5678, 12.0, "-1235 ± 12"),
        (-1234.5678, 120.0, "-1235 ± 120"),
        (math.nan, 0.1, "nan"),
        (-math.inf, math.nan, "-inf"),
    ],
)
def test_a_score_has_as_many_decimals_as_its_error_allows(
    value: float, error: float, text: str
) -> None:
    assert score(value, error) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-7, 1e6))
def test_a_score_is_rounded_by_less_than_a_tenth_of_its_error(value: float, error: float) -> None:
    told_value, told_error = (float(part) for part in score(value, error).split(" ± "))
    assert abs(told_value - value) <= max(0.051 * error, 0.5 if error > 1 else 0)
    assert abs(told_error - error) <= max(0.051 * error, 0.5 if error > 1 else 0)


def test_times() -> None:
    assert [clock(s) for s in (-1, 41.9, 725, 11525)] == ["0:00", "0:41", "12:05", "3:12:05"]
    assert [duration(s) for s in (4.21, 41.2, 59.9, 200, 7500)] == [
        "4.2 s",
        "41 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert [ago(s) for s in (5, 300, 7300, 90000, 200000)] == [
        "just now",
        "5 min ago",
        "2 h ago",
        "1 day ago",
        "2 days ago",
    ]


def test_numbers_have_sensible_digits_and_stay_on_one_line() -> None:
    assert number(0.0041234567) == "0.004123"
    assert number(64) == "64"
    assert number(True) == "True"
    assert number("a\nb") == "a b"


def test_names_are_shortened_where_that_is_clear() -> None:
    assert short_names(["lr", "optimizer__weight_decay", "a__units", "b__units"]) == {
        "lr": "lr",
        "optimizer__weight_decay": "weight_decay",
        "a__units": "a__units",
        "b__units": "b__units",
    }
    params = {"lr": 0.00412345, "optimizer": "torch.optim.Adam", "file": "not.a path", "n": None}
    assert brief(params) == "lr 0.00412, optimizer Adam, file not.a path, n None"


def _record(state: TrialState, reason: str = "", n_reports: int = 4) -> TrialRecord:
    reports = tuple(Report(7, step, 0.1 * step) for step in range(1, n_reports + 1))
    return TrialRecord(Trial(7, {}, 0), state, reports, reason)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (_record(TrialState.COMPLETE), "complete: 0.4000 at epoch 4"),
        (_record(TrialState.COMPLETE, n_reports=1), "complete: 0.1000"),
        (
            _record(TrialState.PRUNED, "epoch 4: 0.412 < median 0.587 of 9 trials"),
            "pruned at epoch 4: 0.412 < median 0.587 of 9 trials",
        ),
        (_record(TrialState.FAILED, "ValueError: a\n b"), "failed: ValueError: a b"),
        (_record(TrialState.FAILED, "", 0), "failed"),
        (_record(TrialState.INTERRUPTED, "Ctrl-C"), "interrupted: Ctrl-C"),
    ],
)
def test_how_a_trial_ended_is_one_line(record: TrialRecord, text: str) -> None:
    assert ending(record) == text


@pytest.mark.parametrize(
    ("value", "told"), [(98260.0, "98,260"), (3.14159, "3.142"), (0.0, "0"), (1e-7, "1e-07")]
)
def test_amounts(value, told):
    assert amount(value) == told
