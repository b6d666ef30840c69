"""Every mistake in a search space gives one clear message, and all come at once."""

import math
import pickle

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from hpo.exceptions import SpaceError
from hpo.space import SearchSpace


def problems(source):
    with pytest.raises(SpaceError) as caught:
        SearchSpace.load(source)
    return caught.value.problems


def in_text(text):
    with pytest.raises(SpaceError) as caught:
        SearchSpace.loads(text, "space.yaml")
    return caught.value.problems


F = {"type": "float", "low": 0.0, "high": 1.0}
I = {"type": "int", "low": 1, "high": 5}  # noqa: E741


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**F, "hihg": 1}, "unknown key 'hihg', did you mean 'high'?"),
        (
            {**F, "zzz": 1},
            "unknown key 'zzz'; the keys are type, low, high, log, step, default, when.",
        ),
        (
            {**F, "choices": [1]},
            "`choices` has no meaning for type float, "
            "which takes type, low, high, log, step, default, when.",
        ),
        (
            {"type": "categorical", "choices": [1], "low": 1},
            "`low` has no meaning for type categorical, which takes type, choices, default, when.",
        ),
        ({"low": 0, "high": 1}, "`type` is missing: give float, int or categorical."),
        (
            {"type": "flaot", "low": 0, "high": 1},
            "`type` must be float, int or categorical, got 'flaot', did you mean 'float'?",
        ),
        ({"type": 3}, "`type` must be float, int or categorical, got 3."),
        ({"type": "float", "high": 1}, "`low` is missing."),
        ({"type": "int", "low": 1}, "`high` is missing."),
        ({"type": "categorical"}, "`choices` is missing: give a list of at least one value."),
        ({**F, "low": "abc"}, "`low` must be a number, got 'abc'."),
        ({**F, "low": True}, "`low` must be a number, got True."),
        ({**F, "low": None}, "`low` must be a number, got None."),
        ({**F, "high": [1]}, "`high` must be a number, got [1]."),
        ({**F, "high": math.inf}, "`high` must be finite, got inf."),
        ({**F, "low": "nan"}, "`low` must be finite, got 'nan'."),
        (FloatDistribution(0, math.inf), "`high` must be finite, got inf."),
        ({**I, "low": 1.5}, "`low` must be an integer for type int, got 1.5."),
        ({**I, "step": 0.5}, "`step` must be an integer for type int, got 0.5."),
        ({**I, "high": 10**400}, None),
        ({**F, "high": 10**400}, None),
        ({**F, "log": "yes"}, "`log` must be true or false, got 'yes'."),
        ({**F, "low": 2}, "`low <= high` must hold, but got (low=2.0, high=1.0)."),
        (
            {**F, "high": 0.1, "log": True},
            "`low > 0` must hold for `log=True`, but got (low=0.0, high=0.1).",
        ),
        (
            {**I, "low": 0, "log": True},
            "`low >= 1` must hold for `log=True`, but got (low=0, high=5).",
        ),
        (
            {**F, "low": 0.1, "log": True, "step": 0.1},
            "`step` and `log=True` exclude each other, but got step=0.1.",
        ),
        ({**F, "step": 0}, "`step > 0` must hold, but got step=0.0."),
        ({**I, "step": -1}, "`step > 0` must hold, but got step=-1."),
        (
            {**I, "step": 7},
            "`step` is larger than the range, but got (low=1, high=5, step=7).",
        ),
        (
            {**F, "high": 1e30, "step": 1e-9},
            "`step` is too fine for the range, but got (low=0.0, high=1e+30, step=1e-09).",
        ),
        ({"type": "categorical", "choices": []}, "`choices` is empty: give at least one value."),
        ([], "`choices` is empty: give at least one value."),
        ({"type": "categorical", "choices": "abc"}, "`choices` must be a list, got 'abc'."),
        (["a", "b", "a"], "the choice 'a' is given twice."),
        ([True, 1], "the choices True and 1 are equal: keep one of them."),
        ([1, 1.0], "the choices 1 and 1.0 are equal: keep one of them."),
        ([math.nan, float("nan")], "the choice nan is given twice."),
        ([[1], [1]], "the choice [1] is given twice."),
        (
            ["torch.optim.Adam", "torch.optim.adam.Adam"],
            "the choices torch.optim.Adam and torch.optim.adam.Adam are equal: keep one of them.",
        ),
        (
            ["torch.optim.Adamm"],
            "'torch.optim.Adamm' does not exist: torch.optim has no 'Adamm', "
            "did you mean 'torch.optim.Adam'?",
        ),
        (
            ["torch.optim.sgd"],
            "'torch.optim.sgd' is a module, not a class or function in one, "
            "did you mean 'torch.optim.SGD'?",
        ),
        (
            0.1,
            "must be {type: float|int|categorical, ...}, a list of choices, a distribution of "
            "scipy.stats or an optuna distribution, got 0.1.",
        ),
    ],
)
def test_one_mistake_gives_one_message(spec, message):
    (told,) = problems({"lr": spec})
    if message is not None:
        assert told == f"mapping: lr: {message}"
    assert told.startswith("mapping: lr: ")
    assert len(told) < 250


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            {"optimiser": ["a"]},
            "names 'optimiser', which is not in the space, did you mean 'optimizer'?",
        ),
        (
            {"optimizer": ["sdg"]},
            "names 'sdg', which 'optimizer' never takes, did you mean 'sgd'?",
        ),
        (
            {"optimizer": [7]},
            "names 7, which 'optimizer' never takes; its choices are sgd, adam.",
        ),
        (
            {"depth": [1, 9]},
            "names 9, which 'depth' never takes; it is an int 1 .. 5, step 2.",
        ),
        ({"depth": 2}, "names 2, which 'depth' never takes; it is an int 1 .. 5, step 2."),
        (
            {"width": 0.5},
            "depends on 'width', which is a float; a parent must be categorical or int.",
        ),
        ({"optimizer": []}, "gives no value of 'optimizer', so it would never exist."),
        ({}, "must be {parent: [values]}, got {}."),
        ("sgd", "must be {parent: [values]}, got 'sgd'."),
        ({"x": 1}, "goes round in a circle: x -> x."),
    ],
)
def test_conditions(when, message):
    space = {
        "optimizer": ["sgd", "adam"],
        "depth": IntDistribution(1, 5, step=2),
        "width": F,
        "x": {"type": "int", "low": 1, "high": 2, "when": when},
    }
    assert problems(space) == (f"mapping: x: `when` {message}",)


def test_cycles_are_named():
    space = {
        "a": {**I, "when": {"b": 1}},
        "b": {**I, "when": {"c": 1}},
        "c": {**I, "when": {"a": 1}},
        "d": {**I, "when": {"a": 1}},
    }
    assert problems(space) == ("mapping: a: `when` goes round in a circle: a -> b -> c -> a.",)


def test_a_wrong_parent_adds_no_message_about_its_children():
    space = {
        "a": {**F, "low": 2},
        "b": {**I, "when": {"a": [1]}},
        "c": 3,
        "d": {**I, "when": {"c": 1}},
    }
    assert len(problems(space)) == 2


def test_all_mistakes_come_at_once_in_the_order_of_the_file_with_their_lines():
    told = in_text(
        "lr: {type: float, low: 0, high: 0.1, log: true}\n"
        "units:\n"
        "  type: int\n"
        "  low: 1.5\n"
        "  hihg: 3\n"
        "mode: [a, a]\n"
        "child: {type: int, low: 1, high: 2, when: {mood: a}}\n"
        "3: [1]\n"
    )
    assert told == (
        "space.yaml: lr: `low > 0` must hold for `log=True`, but got (low=0.0, high=0.1) (line 1).",
        "space.yaml: units: unknown key 'hihg', did you mean 'high'? (line 5).",
        "space.yaml: units: `low` must be an integer for type int, got 1.5 (line 4).",
        "space.yaml: units: `high` is missing (line 2).",
        "space.yaml: mode: the choice 'a' is given twice (line 6).",
        "space.yaml: child: `when` names 'mood', which is not in the space, "
        "did you mean 'mode'? (line 7).",
        "space.yaml: 3: a name must be text, got 3 (line 8).",
    )


def test_the_error_survives_pickling():
    error = SpaceError(["a", "b"])
    assert pickle.loads(pickle.dumps(error)).problems == ("a", "b")


# ----- files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give at least one parameter"),
        ("# only a comment\n", "is empty; give at least one parameter"),
        ("[]", "is an empty list; give at least one mapping, such as {}."),
        ("hello", "must be a mapping of parameter names to definitions, got a str: 'hello'."),
        ("lr: {type: float", "is not valid YAML at line 1, column"),
        ("a: [1]\n\tb: 2", "is not valid YAML at line 2, column 1"),
        ("a: [1]\n---\nb: [1]", "is not valid YAML at line 2, column 1"),
        ("a: \x00", "is not valid YAML"),
        ("a: *nothing", "is not valid YAML at line 1, column 4"),
        ("[" * 1200, "is nested too deeply"),
        ("a: !!python/name:os.system x", "a: the tag tag:yaml.org,2002:python/name:os.system is"),
        ("a: !thing {b: 1}", "a: the tag !thing is not known here; leave it out (line 1)."),
        ("a: &x [*x]", "a: an alias refers to what it stands in (line 1)."),
        ("? [1, 2]\n: [1]\nb: [1]", "a key must be text, not a list or a mapping (line 1)."),
        ("a: [1]\nb: [2]\na: [3]", "a: is given twice (lines 1 and 3)."),
        (
            "a: {type: int, low: 1, high: 2,\n low: 2}",
            "a: key 'low' is given twice (lines 1 and 2).",
        ),
        ("a: [!!int x]", "a: 'x' is not a int (line 1)."),
    ],
)
def test_files_that_are_no_space(text, message):
    (told,) = in_text(text)
    assert told.startswith(f"space.yaml: {message}")


def test_mistakes_in_all_parts_of_a_list_come_together():
    assert in_text("- {a: [1]}\n- 2\n- {a: 1}\n- {b: [1], b: [2]}\n") == (
        "space.yaml[1]: must be a mapping of parameter names to definitions, got a int: 2.",
        "space.yaml[2]: a: must be {type: float|int|categorical, ...}, a list of choices, a "
        "distribution of scipy.stats or an optuna distribution, got 1 (line 3).",
        "space.yaml[3]: b: is given twice (lines 4 and 4).",
    )


def test_duplicates_and_other_mistakes_come_together():
    assert len(in_text("a: [1]\na: [2]\nb: {type: int, low: 1, low: 2, high: x}")) == 3


def test_missing_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").mkdir()
    assert problems("spaces/mlp.yaml") == ("spaces/mlp.yaml: there is no such file.",)
    (tmp_path / "spaces" / "mlp.yaml").write_text("a: [1]")
    assert problems("spaces/mpl.yaml") == (
        "spaces/mpl.yaml: there is no such file, did you mean 'spaces/mlp.yaml'?",
    )
    assert problems("spaces/mlp") == (
        "spaces/mlp: there is no such file, did you mean 'spaces/mlp.yaml'?",
    )
    assert problems("spaces/other.yaml") == (
        "spaces/other.yaml: there is no such file. The folder holds: mlp.yaml.",
    )
    assert problems("no/mlp.yaml") == ("no/mlp.yaml: there is no such file, nor a folder 'no'.",)
    assert problems("spaces") == (
        "spaces: is a directory; name a YAML file in it, such as mlp.yaml.",
    )


def test_bytes_that_are_not_text(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_bytes(b"lr: \xff\xfe")
    (told,) = problems(path)
    assert told.startswith(f"{path}: is not UTF-8 text (byte 0xff at position 4)")


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b"])
def test_paths_that_no_file_can_have(source):
    (told,) = problems(source)
    assert "cannot be read: " in told


def test_sources_of_another_kind():
    assert problems(7) == (
        "A search space is a path, a mapping, a list of mappings or a SearchSpace. Got 7 instead.",
    )
    assert problems([]) == ("grids: is an empty list; give at least one mapping, such as {}.",)
    assert "SearchSpace.loads(text)" in problems("a: [1]\nb: [2]\n")[0]


def test_a_module_that_fails_on_import_is_told(tmp_path, monkeypatch):
    (tmp_path / "broken_module_of_a_user.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    assert problems({"a": ["broken_module_of_a_user.Net"]}) == (
        "mapping: a: 'broken_module_of_a_user.Net' cannot be imported: RuntimeError: no licence.",
    )
