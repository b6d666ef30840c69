"""Plugins are found by their module's name and built from text."""

import sys
import textwrap
from abc import ABC, abstractmethod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo import _discovery
from hpo.exceptions import PluginError
from hpo.executors import make_executor
from hpo.pruners import BasePruner
from hpo.pruners.median import MedianPruner
from hpo.pruners.nop import NopPruner
from hpo.samplers.base import make_sampler
from hpo.testing.scripted import ScriptedObjective

PACKAGE = "hpo.pruners"


def test_names_are_the_public_modules():
    names = _discovery.names(PACKAGE)
    assert {"median", "nop", "optuna"} <= set(names)
    assert names == sorted(names)
    assert not [name for name in names if name.startswith("_")]


def test_find_returns_the_class():
    assert _discovery.find(PACKAGE, "median", BasePruner) is MedianPruner


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(PluginError) as caught:
        _discovery.find(PACKAGE, "medain", BasePruner)
    known = ", ".join(_discovery.names(PACKAGE))
    assert str(caught.value) == (
        f"There is no pruner 'medain', did you mean 'median'? Choose one of: {known}; or name a "
        "class of your own as MODULE:CLASS."
    )
    with pytest.raises(PluginError, match=r"There is no pruner 'zzz'\. Choose one of: "):
        _discovery.find(PACKAGE, "zzz", BasePruner)


class BaseThing(ABC):
    """What the plugins of the made-up package below are."""

    @abstractmethod
    def name(self):
        """Say something."""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Yield a function that writes a module of a plugin package."""
    folder = tmp_path / "made_up_things"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_base.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "thing_base", sys.modules[__name__])

    def write(name, code):
        (folder / f"{name}.py").write_text(textwrap.dedent(code))

    yield write
    for name in [name for name in sys.modules if name.startswith("made_up_things")]:
        del sys.modules[name]


def test_one_new_file_is_a_new_plugin(package):
    package(
        "stone",
        """
        from thing_base import BaseThing
        class Stone(BaseThing):
            def __init__(self, weight=1): self.weight = weight
            def name(self): return "stone"
        """,
    )
    assert _discovery.names("made_up_things") == ["stone"]
    assert _discovery.build("made_up_things", "stone:weight=3", BaseThing).weight == 3


def test_abstract_and_imported_classes_do_not_count(package):
    package(
        "one", "from thing_base import BaseThing\nclass One(BaseThing):\n    def name(self): ..."
    )
    package(
        "two",
        """
        from thing_base import BaseThing
        from made_up_things.one import One
        class BaseTwo(BaseThing): pass
        class Two(BaseTwo):
            def name(self): return "two"
        """,
    )
    assert _discovery.find("made_up_things", "two", BaseThing).__name__ == "Two"


@pytest.mark.parametrize("classes", [[], ["A", "B"]])
def test_a_module_must_define_one_class(package, classes):
    code = "from thing_base import BaseThing\n"
    code += "".join(f"class {name}(BaseThing):\n    def name(self): ...\n" for name in classes)
    package("odd", code)
    with pytest.raises(PluginError) as caught:
        _discovery.find("made_up_things", "odd", BaseThing)
    assert str(caught.value) == (
        "made_up_things.odd must define exactly one concrete BaseThing, "
        f"but it defines {classes!r}."
    )


@pytest.mark.parametrize(
    ("spec", "name", "options"),
    [
        ("median", "median", {}),
        ("median:", "median", {}),
        (" median : a = 8 ", "median", {"a": 8}),
        ("m:a=8,b=1e-3,c=None,d=text", "m", {"a": 8, "b": 1e-3, "c": None, "d": "text"}),
        ("m:a=true,b=False,c=TRUE", "m", {"a": True, "b": False, "c": True}),
        ("m:a=[1, 2],b=(3, 4),c={'x': 5}", "m", {"a": [1, 2], "b": (3, 4), "c": {"x": 5}}),
        ("m:a='true',b='8'", "m", {"a": "true", "b": "8"}),
        ("m:url=sqlite:///a.db", "m", {"url": "sqlite:///a.db"}),
        ("m:a=b=c", "m", {"a": "b=c"}),
        ("m:a=", "m", {"a": ""}),
        ("m:a=1,", "m", {"a": 1}),
    ],
)
def test_parse_spec(spec, name, options):
    assert _discovery.parse_spec(spec) == (name, options)


plain = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=3),
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), plain, max_size=4))
def test_parse_spec_reads_what_repr_writes(options):
    spec = "name:" + ",".join(f"{key}={value!r}" for key, value in options.items())
    assert _discovery.parse_spec(spec) == ("name", options)


@pytest.mark.parametrize("spec", ["m:8", "m:a=1,b", "m:=8"])
def test_an_option_without_a_name_or_a_value_is_told(spec):
    with pytest.raises(
        PluginError,
        match=f"'{spec}': expected name:key=value,key=value or module:Class:key=value, but got",
    ):
        _discovery.parse_spec(spec)


def test_build_passes_options():
    pruner = _discovery.build(PACKAGE, "median:n_startup_trials=8,peers=reported", BasePruner)
    assert (pruner.n_startup_trials, pruner.peers) == (8, "reported")


def test_build_passes_an_instance_through():
    pruner = NopPruner()
    assert _discovery.build(PACKAGE, pruner, BasePruner) is pruner


def test_build_makes_a_class():
    assert isinstance(_discovery.build(PACKAGE, NopPruner, BasePruner), NopPruner)
    with pytest.raises(PluginError, match=r"^pruner int must be a class that inherits hpo.pruners"):
        _discovery.build(PACKAGE, int, BasePruner)
    with pytest.raises(PluginError, match=r"^pruner BasePruner must implement decide\.$"):
        _discovery.build(PACKAGE, BasePruner, BasePruner)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Put a module of the user's where it can be imported."""
    code = """
    from hpo.pruners import BasePruner, PruneDecision

    class Never(BasePruner):
        def __init__(self, patience=1):
            self.patience = patience

        def decide(self, record, peers):
            return PruneDecision(False)

    class Unfinished(BasePruner):
        pass

    class Outer:
        class Inner(Never):
            pass

    class Raises(Never):
        def __init__(self):
            raise RuntimeError("no licence")

    number = 3
    """
    (tmp_path / "own_rules.py").write_text(textwrap.dedent(code))
    (tmp_path / "own_broken.py").write_text("import no_such_library")
    (tmp_path / "own_raising.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("own_rules", "own_broken", "own_raising"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("own")
def test_a_class_of_the_user_s_is_named_by_its_module():
    assert _discovery.build(PACKAGE, "own_rules:Never", BasePruner).patience == 1
    assert _discovery.build(PACKAGE, "own_rules:Never:patience=5", BasePruner).patience == 5
    inner = _discovery.build(PACKAGE, "own_rules:Outer.Inner:patience=2", BasePruner)
    assert (type(inner).__name__, inner.patience) == ("Inner", 2)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("own_rulez:Never", "there is no module 'own_rulez' beside the study, in the current fold"),
        ("own_rules.sub:Never", "own_rules.sub"),
        ("own_rules:Nevr", "own_rules has no class 'Nevr', did you mean 'Never'?"),
        ("own_rules:Unfinished", "must implement decide."),
        ("own_rules:number", "must be a class that inherits hpo.pruners.BasePruner."),
        ("own_rules:Raises", "pruner 'own_rules:Raises' raised RuntimeError: no licence ("),
        ("own_rules:Raises", "own_rules.py, line "),
        ("own_rules:Outer.Innr:patience=5", "own_rules has no class 'Outer.Innr'"),
        ("own_broken:Never", "own_broken cannot be imported: No module named 'no_such_library'"),
        ("own_raising:Never", "own_raising cannot be imported: ZeroDivisionError"),
        ("own_rules:Never:patienc=5", "has no option 'patienc', did you mean 'patience'?"),
    ],
)
def test_what_is_wrong_with_a_class_of_the_user_s_is_told(name, problem):
    with pytest.raises(PluginError) as caught:
        _discovery.build(PACKAGE, name, BasePruner)
    assert problem in str(caught.value)


def test_an_entry_point_adds_a_name(own):
    folder = own / "own_rules-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: own-rules\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[hpo.pruners]\nnever = own_rules:Never\n")
    assert "never" in _discovery.names(PACKAGE)
    assert _discovery.build(PACKAGE, "never:patience=2", BasePruner).patience == 2


def test_defaults_go_where_they_are_taken_and_yield_to_options():
    def build(spec):
        return _discovery.build(PACKAGE, spec, BasePruner, n_startup_trials=2, device="cpu")

    assert build("median").n_startup_trials == 2
    assert build("median:n_startup_trials=3").n_startup_trials == 3
    assert isinstance(build("nop"), NopPruner)


@pytest.mark.parametrize("spec", [None, 3, len])
def test_build_refuses_what_is_neither_a_name_nor_a_plugin(spec):
    with pytest.raises(
        PluginError,
        match=r"The pruner must be a name \(halving, median, nop, .*\), MODULE:CLASS or a BaseP",
    ):
        _discovery.build(PACKAGE, spec, BasePruner)


def test_unknown_options_are_told_with_the_known_ones():
    with pytest.raises(PluginError) as caught:
        _discovery.build(PACKAGE, "median:n_startup_trial=8", BasePruner)
    message = str(caught.value)
    assert "pruner 'median' has no option 'n_startup_trial', did you mean 'n_startup_trials'?" in (
        message
    )
    assert "Its options are: n_startup_trials, n_warmup_steps, " in message


def test_every_unknown_option_is_told_at_once():
    with pytest.raises(PluginError, match=r"(?s)'xyz'.*'qqq'"):
        _discovery.build(PACKAGE, "nop:xyz=1,qqq=2", BasePruner)


def test_a_refused_value_is_told():
    with pytest.raises(PluginError) as caught:
        _discovery.build(PACKAGE, "median:peers=done", BasePruner)
    assert str(caught.value) == (
        "pruner 'median': The 'peers' parameter of MedianPruner must be a str among "
        "{'complete', 'reported'}. Got 'done' instead."
    )
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: _discovery.build("hpo.pruners", "median:reference=running_mean", BasePruner),
            "pruner 'median' has no option 'reference' (an option of 'optuna_median').",
        ),
        (
            lambda: _discovery.build("hpo.pruners", "optuna_median:first_rung=2", BasePruner),
            "has no option 'first_rung' (an option of 'halving' and 'median').",
        ),
        (
            lambda: make_sampler("gp:deterministic_objective=true", 0, parallel=False),
            "sampler 'gp' has no option 'deterministic_objective' (an option of 'optuna_gp').",
        ),
        (
            lambda: make_executor(
                "serial:n_jobs=2",
                ScriptedObjective(lambda params: [1.0]),
                n_jobs=None,
                n_threads=1,
                device=None,
                seed=0,
            ),
            "executor 'serial' has no option 'n_jobs' (an option of 'auto', 'fused' and "
            "'process'). Its options are: n_threads, device.",
        ),
    ],
)
def test_an_option_of_another_plugin_is_told_where_it_belongs(make, told):
    with pytest.raises(PluginError) as error:
        make()
    assert told in str(error.value)
