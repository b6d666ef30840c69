"""How results, studies and data show themselves: short, escaped, without passwords."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from hpo import HPOSearchCV, Study, StudyData, StudyResult
from hpo.trial import Report, Trial, TrialRecord, TrialState


def _record(number, state=TrialState.COMPLETE, **params):
    value = 0.9 + number * 1e-4
    reports = tuple(
        Report(number, step, value, (value - 0.01, value + 0.01)) for step in range(1, 5)
    )
    return TrialRecord(
        Trial(number, {"lr": 0.1 / (number + 1), **params}, 0), state, reports, max_steps=4
    )


def test_a_result_is_a_few_lines():
    records = [_record(i) for i in range(300)] + [_record(300, TrialState.PRUNED)]
    result = StudyResult(name="x", records=tuple(records), scoring="accuracy", test_score=0.91)
    text = repr(result)
    assert text.splitlines() == [
        "StudyResult 'x': 301 trials (300 complete, 1 pruned)",
        "  winner     trial 299, epoch 1 of 4",
        "  accuracy   0.930 ± 0.010 s.e.",
        "  held-out   0.9100",
        "  params     lr 0.000333",
    ]
    assert str(result) == text


def test_a_result_of_many_parameters_stays_short():
    many = {f"module__parameter_{i}": "x" * 50 for i in range(500)}
    result = StudyResult(name="x", records=tuple(_record(i, **many) for i in range(20)))
    assert len(repr(result)) < 700
    assert len(result._repr_html_()) < 20_000


@pytest.mark.parametrize("records", [(), (_record(0, TrialState.RUNNING),), (_record(0),)])
def test_a_result_of_few_trials(records):
    result = StudyResult(name="x", records=records)
    assert repr(result).startswith(f"StudyResult 'x': {len(records)} trial")
    ElementTree.fromstring(result._repr_html_().replace("&ensp;", " "))


def test_a_notebook_shows_the_best_trials_and_a_curve():
    result = StudyResult(name="x", records=tuple(_record(i) for i in range(2000)), scoring="acc")
    text = result._repr_html_()
    root = ElementTree.fromstring(text.replace("&ensp;", " "))
    (body,) = root.iter("tbody")
    assert [row[0].text for row in body] == ["1999", "1998", "1997", "1996", "1995"]
    (curve,) = root.iter("{http://www.w3.org/2000/svg}svg")
    xy = [
        float(dot.get(key))
        for dot in curve.iter("{http://www.w3.org/2000/svg}circle")
        for key in ("cx", "cy")
    ]
    assert 100 < len(xy) < 1000
    assert min(xy) >= 0
    assert max(xy) <= 440
    assert len(text) < 80_000


def test_what_comes_from_elsewhere_is_text_in_a_notebook():
    bad = "<script>alert(1)</script>\x1b[2J"
    result = StudyResult(
        name=bad, records=(_record(0, **{bad: bad}), _record(1)), scoring=bad, stopped=bad
    )
    study = Study(
        name="x", estimator=object(), data=StudyData(X=[1], y=[1]), search_space={bad: [1]}
    )
    for shown in (result._repr_html_(), study._repr_html_()):
        assert "<script" not in shown
        assert "\x1b" not in shown
        assert "&lt;script" in shown
    assert "\x1b" not in repr(result) + repr(study)


def test_a_study_shows_what_was_given_and_its_sizes():
    data = StudyData(X=np.zeros((1000, 20)), y=[0] * 1000, X_test={"a": [1, 2]}, y_test=[0, 1])
    study = Study(
        name="x",
        estimator=HPOSearchCV(None, {}),
        data=data,
        search_space={f"p{i}": [1] for i in range(100)},
        storage="postgresql://me:secret@host/db",
        n_trials=7,
    )
    text = repr(study)
    assert str(study) == text
    assert "secret" not in text + study._repr_html_()
    assert "estimator=HPOSearchCV(" in text
    assert "StudyData(X 1,000 x 20, y 1,000, X_test {a: 2}, y_test 2)" in text
    assert "100 in all" in text
    assert "n_trials=7" in text
    assert not re.search("epochs|pruner|cv=", text)
    assert len(text) < 500
