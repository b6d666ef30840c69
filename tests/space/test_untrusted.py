"""The reader of search spaces is safe to use on any text: a clear error, soon, no code run."""

import cProfile
import pstats
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.exceptions import SpaceError
from hpo.space import SearchSpace

PIECES = [
    *("a", "b: ", "- ", "[", "]", "{", "}", ",", ": ", "\n", "\n  ", "? ", "&x ", "*x", "<<: "),
    *("!!foo ", "!!python/object:os.system ", "!<x> ", "!e!x ", "!!binary ", "!!int ", "%YAML 9\n"),
    *("%TAG ! x\n", "---\n", "...\n", '"\\U00110000"', '"\\U99999999"', '"\\x1b"', "|\n", '"'),
    *("type: ", "float", "int", "categorical", "choices: ", "low: ", "high: ", "step: ", "when: "),
    *("1e999", ".nan", "-.inf", "9" * 30, "0x_", "0b2", "~", "true", "#", "\t", "\0", "\x85"),
]  # fmt: skip


def nested_aliases(width, levels, line):
    lines = ["a:", "  type: categorical", "  choices:", f"    - &a0 {line}"]
    for level in range(1, levels):
        parts = [f"k{i}: *a{level - 1}" for i in range(width)]
        lines.append(f"    - &a{level} {{{', '.join(parts)}}}")
    return "\n".join(lines)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@settings(max_examples=500, deadline=2000, derandomize=True)
def test_any_text_is_a_space_or_a_clear_error(text):
    with suppress(SpaceError):
        SearchSpace.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nested_aliases(9, 9, "{x: 1}"), "a: its aliases stand for more than 100,000 values (line"),
        (nested_aliases(1, 5000, "{x: 1}"), "a: its aliases are nested deeper than 100 levels"),
        ("a: " + "[" * 5000 + "]" * 5000, "is nested too deeply to be a search space"),
        ("a: " + "[" * 200_000, "is nested too deeply to be a search space"),
        ("- " * 50_000, "is nested too deeply to be a search space"),
        ("b: 1\na: !!foo 1\n", "a: the tag tag:yaml.org,2002:foo is not known here"),
        ("a: !!python/object/apply:os.system [x]\n", "python/object/apply:os.system is not known"),
        ('a: "\\U00110000"\n', "is not valid YAML: chr() arg not in range"),
        ('a: "\\U99999999"\n', "is not valid YAML"),
    ],
)
def test_traps_are_refused_at_once(text, message):
    began = time.process_time()
    with pytest.raises(SpaceError) as refused:
        SearchSpace.loads(text)
    assert time.process_time() - began < 10  # most take some ms; at worst a slow machine a second
    assert message in str(refused.value)
    assert len(str(refused.value)) < 5000


def test_aliases_of_a_sensible_size_are_read():
    space = SearchSpace.loads("a: &a [1, 2]\nb: *a\n")
    assert len(space.grid()) == 4


def plain(i):
    return f"{i}"


def text(i):
    return f"c{i}"


def pair(i):
    return f"[{i}, x]"


@pytest.mark.parametrize("write", [plain, text, pair])
def test_the_work_is_linear_in_the_number_of_choices(write):
    def n_calls(n):
        source = f"a: [{', '.join(map(write, range(n)))}]"
        with cProfile.Profile() as profile:
            SearchSpace.loads(source)
        return pstats.Stats(profile).total_calls

    assert n_calls(2000) < 6 * n_calls(500)  # 4 times, or 16 if each is compared with all


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 1.0),
        (True, 1),
        (float("nan"), float("nan")),
        ([1, [2]], [1.0, [2]]),
        ({"a": 1, "b": [2]}, {"b": [2], "a": True}),
        (-0.0, 0),
    ],
)
def test_equal_choices_are_found_among_many(first, second):
    with pytest.raises(SpaceError, match=r"given twice|are equal"):
        SearchSpace.load({"a": [*range(5, 100), first, *map(str, range(100)), second]})
    assert SearchSpace.load({"a": [first, (1, 2), [1, 2], "1", None]})
