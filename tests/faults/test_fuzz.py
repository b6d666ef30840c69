"""Nonsense of any kind, in space files, command lines, names and addresses, ends in a sentence."""

import tempfile
from pathlib import Path

import pytest
from _studies import ROUNDS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hpo.cli import app
from hpo.exceptions import HpoError, SpaceError
from hpo.space import SearchSpace
from hpo.storage.open import open_storage
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import study_names
from hpo.storage.trial_store import TrialStore
from hpo.trackers.mlflow.uri import resolve_tracking_uri

EXAMPLES = 100 if ROUNDS == 1 else 2_500
"""Of each kind: 400 in the suite, 10,000 in the long form."""

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=ROUNDS == 1,
    suppress_health_check=list(HealthCheck),
)

VALID = """
lr: {type: float, low: 1.0e-4, high: 0.1, log: true}
module__hidden: {type: int, low: 8, high: 64, step: 8}
optimizer: [torch.optim.SGD, torch.optim.Adam]
momentum: {type: float, low: 0.0, high: 0.9, when: {optimizer: [torch.optim.SGD]}}
"""
PIECES = [
    *VALID.split(),
    *("&a", "*a", "<<:", "!!python/object:os.system", "---", "null", "~", ".nan", ".inf", "-.inf"),
    *(
        "1e400",
        "0x10",
        "0o7",
        "true",
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        "- ",
        "? ",
        ": ",
        "|",
        ">",
        "#",
    ),
    *("\t", "\n", "\n  ", "\0", "\x85", "\ufeff", "\ud800", "when:", "type:", "choices:", "low:"),
]
yaml_text = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join),
    st.tuples(st.integers(0, len(VALID)), st.integers(0, 20), st.sampled_from(PIECES)).map(
        lambda cut: VALID[: cut[0]] + cut[2] + VALID[cut[0] + cut[1] :]
    ),
)
leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
spaces = st.dictionaries(
    st.text(max_size=8) | st.sampled_from(["lr", "module__x", "@grid", "a:b"]),
    st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "low", "high", "log", "step", "choices", "when", "default"]
                ),
                inner | st.sampled_from(["float", "int", "categorical"]),
                max_size=5,
            )
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HPO_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def count(tally):
    """Count examples, and add them to the table at the end."""
    counted = {}

    def one(what):
        counted[what] = counted.get(what, 0) + 1

    yield one
    for what, n in counted.items():
        tally("nonsense", what, n)


def accepted(error, use, *arguments):
    """Return what a function returns, or None if it says in a sentence why it refuses."""
    try:
        return use(*arguments)
    except error as refusal:
        told = str(refusal)
    assert told.strip()
    return None


@fuzz
@given(text=yaml_text)
@example(text="a: &a [*a]")
@example(text="lr: {type: float, low: 1e999, high: .nan}")
def test_a_space_as_text(text, count):
    count("space files")
    accepted(SpaceError, SearchSpace.loads, text, "space.yaml")


@fuzz
@given(space=spaces)
def test_a_space_as_a_mapping(space, count):
    count("spaces in Python")
    loaded = accepted(SpaceError, SearchSpace.load, space)
    if loaded is not None:
        assert SearchSpace.loads(loaded.to_yaml()) == loaded


WORDS = [
    *("run", "list", "show", "validate", "sync", "--help", "--version", "-h", "--", "-", ""),
    *("study.py", "space.yaml", "nothing.py", "hpo.journal", ".", "/", "..", "tiny", "tiny@2"),
    *(
        "--storage",
        "--tracking-uri",
        "--tracker",
        "--n-trials",
        "--epochs",
        "--sampler",
        "--pruner",
    ),
    *(
        "--executor",
        "--timeout",
        "--plots",
        "--seed",
        "--fresh",
        "--extend",
        "--select",
        "--scoring",
    ),
    *("0", "-1", "1e9", "nan", "inf", "9" * 30, "tpe", "median:n=1", "median:", ":", "a=b", "null"),
    *("journal:///x", "sqlite:///x.db", "sqlite://", "journal://", "x://y", "postgresql://", "@"),
    *("--n-trials=", "--sampler=", "--executor=process:n_jobs=0", "--nothing", "--n-jobs=-7"),
]
lines = st.tuples(
    st.sampled_from(["run", "list", "show", "validate", "sync"]),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=12), max_size=5),
).map(lambda line: [line[0], *line[1]])

BROKEN_STUDY = "from hpo import Study\n\nstudy = 3\n"


@fuzz
@given(line=lines)
@example(line=["show", "tiny", "--storage", "sqlite:///x.db", "--plots", "\0"])
def test_a_command_line(line, count, folder):
    count("command lines")
    (folder / "study.py").write_text(BROKEN_STUDY)
    (folder / "space.yaml").write_text(VALID)
    result = CliRunner().invoke(app, line, prog_name="hpo")
    assert result.exception is None or isinstance(result.exception, SystemExit), line
    assert result.exit_code in {0, 1, 2}, line
    assert "Traceback" not in result.output
    if result.exit_code == 2:
        assert "error" in result.output.lower(), line


@fuzz
@given(
    name=st.text(max_size=60) | st.sampled_from(["a/b", "..", "a@2", "@", "%s", "{}", "a" * 600])
)
def test_a_name_of_a_study(name, count):
    count("names of studies")
    with tempfile.TemporaryDirectory() as home:
        url = f"journal:///{home}/s.journal"
        if accepted(HpoError, TrialStore, name, SearchSpace.load({"x": [1, 2]}), url):
            assert study_names(url) == [name]
            assert StoredStudy(name, url).name == name
        result = CliRunner().invoke(app, ["show", "--storage", url, "--", name], prog_name="hpo")
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.exit_code in {0, 1, 2}


addresses = st.one_of(
    st.text(max_size=40),
    st.tuples(
        st.sampled_from(["journal", "sqlite", "postgresql", "mysql", "http", "file", "x", ""]),
        st.sampled_from(["://", ":///", ":////", ":", "//"]),
        st.sampled_from(
            ["127.0.0.1:1/a", "u:p@127.0.0.1:1/a", "[::1", "a.db", "a?b=c", "a b", "%"]
        ),
        st.text(max_size=8),
    ).map("".join),
)


@pytest.mark.filterwarnings("ignore:Query string argument:sqlalchemy.exc.SAWarning")
@fuzz
@given(address=addresses)
@example(address="sqlite:///0?=0")
@example(address="{}")
@example(address="postgresql://u:{secret}@127.0.0.1:1/a")
@example(address="sqlite:///a.db?timeout=x")
@example(address="postgresql://u:p@127.0.0.1:1/a?connect_timeout=x")
def test_an_address(address, count):
    count("addresses")
    for use in (open_storage, study_names, resolve_tracking_uri):
        accepted(HpoError, use, address)
    assert not Path("mlflow.db").exists()


def test_braces_in_an_address_stand_for_themselves():
    """Optuna would take them for places to fill in."""
    open_storage("sqlite:///{a}{SCHEMA_VERSION}.db")
    assert Path("{a}{SCHEMA_VERSION}.db").stat().st_size > 0
    assert [path.name for path in Path().glob("*.db")] == ["{a}{SCHEMA_VERSION}.db"]
