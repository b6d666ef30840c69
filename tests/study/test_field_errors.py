"""A wrong field of a study is told in hpo's words, whatever it is."""

import re

import pytest

from hpo import Study
from hpo.exceptions import StudyError

GOOD = {"name": "x", "estimator": object(), "data": lambda: None, "search_space": {}}
WORDS = re.compile(
    "Input should|pydantic|Value error|_type|is-instance|validat|Mapping|Sequence|instance of|"
    "parse|another type"
)
"""What pydantic says, and what no user should read."""


@pytest.mark.parametrize("name", [n for n in Study.model_fields if n not in ("estimator",)])
def test_no_word_of_another_library(name):
    for value in (object(), "", "a/b", -1, -2.5, [object()], {"a": 1}, 1e999):
        try:
            Study(**{**GOOD, name: value})
        except StudyError as error:
            told = str(error)
            assert told.startswith(f"Study's '{name}' must be ")
            assert told.endswith(" instead.")
            assert not WORDS.search(told.partition(" Got ")[0]), told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"epochs": 0}, "Study's 'epochs' must be 1 or more. Got 0 instead."),
        (
            {"data": {"a": 1}},
            "Study's 'data' must be a StudyData or a function without arguments that returns it. "
            "Got {'a': 1} instead.",
        ),
        ({"epochs": "x"}, "Study's 'epochs' must be a whole number. Got 'x' instead."),
        ({"timeout": 0}, "Study's 'timeout' must be greater than 0. Got 0 instead."),
        ({"select": "b"}, "Study's 'select' must be 'best' or 'last'. Got 'b' instead."),
        ({"name": ""}, "Study's 'name' must be longer than nothing. Got '' instead."),
        (
            {"data": 3},
            "Study's 'data' must be a StudyData or a function without arguments that returns it. "
            "Got 3 instead.",
        ),
        (
            {"watch": [3]},
            "Study's 'watch' must be a list of which each item is text (item 0 is not). "
            "Got [3] instead.",
        ),
        ({"epoch": 3}, "Study has no field 'epoch', did you mean 'epochs'?"),
    ],
)
def test_what_is_told(fields, told):
    with pytest.raises(StudyError) as error:
        Study(**{**GOOD, **fields})
    assert str(error.value) == told


def test_all_at_once():
    with pytest.raises(StudyError) as error:
        Study(name="x", epochs=0, n_trials=0, nope=1)
    assert len(str(error.value).splitlines()) == 6
