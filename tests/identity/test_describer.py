"""Values are equal or different in another process as they are in this one."""

import copy
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hpo.identity import Describer

FILE = Path(__file__).parent / "values.py"

LOADED = """
import json, sys
from pathlib import Path
from hpo.cli._study_file import _new_module

with _new_module(Path(sys.argv[1])) as module:
    exec(compile(Path(sys.argv[1]).read_text(), sys.argv[1], "exec"), vars(module))
print(json.dumps(module.marks()))
"""


def printed(seed, *command):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def processes():
    """Return the marks of a process that runs the file, and of one that loads it as a study."""
    return printed("1", str(FILE)), printed("2", "-c", LOADED, str(FILE))


def test_values_are_the_same_in_every_process(processes):
    """In a script and under ``hpo run``, whatever the order of sets."""
    first, second = processes
    known = {name for name in first if not first[name][0][0].startswith("?")}
    assert [name for name in known if first[name] != second[name]] == []


def test_equal_values_are_equal_and_others_are_not(processes):
    first, second = processes
    found = {name: _compared(first[name][0], second[name][1]) for name in first}
    wrong = {name: (kind, first[name]) for name, kind in found.items() if kind != first[name][2]}
    assert wrong == {}


def _compared(a, b):
    if a[0].startswith("?") or b[0].startswith("?"):
        return "unknown"
    return "equal" if a == b else "different"


def test_what_is_unknown_equals_not_even_itself():
    items = iter([1])
    assert Describer().describe(items).mark != Describer().describe(items).mark
    assert Describer().describe([{"a": (1, items)}]).is_unknown


# -- laws ----------------------------------------------------------------------------------------

ARRAYS = npst.arrays(
    dtype=st.sampled_from(["f4", "f8", "i8", "u1", "?", "c8", "M8[s]", "U3"]),
    shape=npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
)


def mark(value):
    return Describer().describe(value).mark


@given(ARRAYS, st.data())
def test_the_layout_of_an_array_is_no_part_of_it(array, data):
    axes = data.draw(st.permutations(range(array.ndim)))
    back = np.argsort(axes)
    turned = np.ascontiguousarray(array.transpose(axes)).transpose(back)
    larger = np.repeat(array, 2, axis=-1)[..., ::2]
    assert mark(turned) == mark(larger) == mark(np.asfortranarray(array)) == mark(array)


@given(ARRAYS, ARRAYS)
def test_arrays_are_equal_if_type_shape_and_values_are(first, second):
    same = first.dtype == second.dtype and first.shape == second.shape
    same = same and first.tobytes() == second.tobytes()
    assert (mark(first) == mark(second)) == same


@given(npst.arrays("i8", npst.array_shapes(max_dims=3)), st.data())
def test_any_value_of_an_array_counts(array, data):
    place = tuple(data.draw(st.integers(0, n - 1)) for n in array.shape)
    other = array.copy()
    other[place] ^= 1
    assert mark(other) != mark(array)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(NESTED, NESTED)
def test_containers_are_equal_if_all_their_items_are(first, second):
    assert (mark(first) == mark(second)) == (_canonical(first) == _canonical(second))


@given(NESTED)
def test_a_copy_is_equal(value):
    assert mark(copy.deepcopy(value)) == mark(value)


def _canonical(value):
    if isinstance(value, dict):
        return ["dict", sorted((key, _canonical(item)) for key, item in value.items())]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_canonical(item) for item in value]]
    return [type(value).__name__, repr(value)]


# -- modules of the user's own -------------------------------------------------------------------

USER = """
import beside
from torch import nn

class Net(nn.Module):
    def forward(self, X):
        from beside_late import late
        return late(beside.inner.double(X))
"""
HELPERS = "class inner:\n    @staticmethod\n    def double(x):\n        return 2 * x\n"
LATE = "def late(x):\n    return x + 1\n"


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Return a function that describes the class of `USER` with these two modules beside it."""

    def describe(helpers, late):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "beside.py").write_text(helpers)
        (folder / "beside_late.py").write_text(late)
        monkeypatch.syspath_prepend(str(folder))
        sys.modules.pop("beside", None)
        module = types.ModuleType("user")
        exec(USER, vars(module))
        of = Describer()
        return [of.describe(module.Net).mark, of.code]

    yield describe
    sys.modules.pop("beside", None)


@pytest.mark.parametrize(
    ("helpers", "late", "equal"),
    [
        (HELPERS + "# a comment\n", LATE + "# a comment\n", True),
        (HELPERS.replace("2 *", "3 *"), LATE, False),
        (HELPERS, LATE.replace("+ 1", "+ 2"), False),
    ],
)
def test_what_is_imported_from_a_module_beside_it_counts(described, helpers, late, equal):
    first = described(HELPERS, LATE)
    assert "beside_late" not in sys.modules  # to look at it runs nothing of it
    assert (described(helpers, late) == first) is equal


def test_a_value_that_leads_to_too_much_is_unknown(monkeypatch):
    monkeypatch.setattr("hpo.identity._describer._MOST", 100)
    assert not Describer().describe([[object()] for _ in range(10)]).is_unknown
    assert Describer().describe([[object()] for _ in range(200)]).is_unknown


def test_a_value_that_is_nested_too_deeply_is_unknown():
    value = []
    for _ in range(5000):
        value = [value, {}]
    assert Describer().describe(value).is_unknown
