"""What is wrong is said in one message, with exit code 2, and nothing is created."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]

SPACE = '{"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}}'
MISTAKES = {
    "a field": ({"cv=3": "cvs=3"}, "Study has no field 'cvs', did you mean 'cv'?"),
    "a name in the space": ({'"alpha"': '"alfa"'}, "alfa"),
    "low and high": ({'"low": 1e-5': '"low": 2.0'}, "low"),
    "a pruner": ({"median:": "medain:"}, "There is no pruner 'medain', did you mean 'median'?"),
    "an option": ({"n_startup_trials": "n_start"}, "n_startup_trials"),
    "lengths": ({"y=y[:100]": "y=y[:99]"}, "99"),
    "folds": ({"cv=3": "cv=1"}, "cv must be at least 2 folds. Got 1 instead."),
    "a scorer": ({'"accuracy"': '"acuracy"'}, "acuracy"),
    "a tracker": ({'"null"': '"nul"'}, "There is no tracker 'nul', did you mean 'null'?"),
    "a missing space": ({SPACE: '"spaces/none.yaml"'}, "none.yaml"),
}


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_study(
    hpo_command: Run, write_study: Write, command: str, mistake: str
) -> None:
    changes, told = MISTAKES[mistake]
    code, out, err = hpo_command(command, write_study(changes))
    assert (code, out) == (2, "")
    assert told in err
    assert err.startswith("error: ")
    assert err.count("error: ") == 1
    assert "Traceback" not in err
    assert [path.name for path in Path.cwd().iterdir()] == ["tiny.py"]


def test_validate_tells_all_mistakes_at_once(hpo_command: Run, write_study: Write) -> None:
    changes = {
        '"alpha"': '"alfa"',
        "median:": "medain:",
        '"null"': '"nul"',
        "cv=3": "cv=3, sampler='tpee', backend='optunna'",
    }
    code, _, err = hpo_command("validate", write_study(changes))
    assert code == 2
    assert err.count("error: ") == 5
    for name in ("alfa", "medain", "nul", "tpee", "optunna"):
        assert name in err


def test_every_mistake_in_a_space_file_has_its_line(hpo_command: Run) -> None:
    Path("space.yaml").write_text(
        "lr: {type: float, low: 1, high: 0.1}\nn: {type: int, low: 1}\nkind: {choices: [a, a]}\n"
    )
    code, out, err = hpo_command("validate", "space.yaml")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: space.yaml") for line in lines)


def test_a_right_space_is_printed(hpo_command: Run) -> None:
    Path("space.yaml").write_text("lr: {type: float, low: 1e-4, high: 0.1, log: true}\nn: [1, 2]\n")
    code, out, _ = hpo_command("validate", "space.yaml")
    assert code == 0
    assert "  lr  float 0.0001 .. 0.1, log\n  n   categorical: 1, 2\n" in out


def test_a_right_study_is_printed_and_nothing_created(hpo_command: Run, write_study: Write) -> None:
    code, out, _ = hpo_command("validate", write_study())
    assert code == 0
    assert "tiny.py is in order; nothing was created." in out
    assert "X 100 x 20, y 100; test part 50 x 20, held out" in out
    assert "6 trials; 3 epochs a trial at most" in out
    assert "journal:///hpo.journal, which the first run makes" in out
    assert "alpha  float 1e-05 .. 1.0, log" in out
    assert [path.name for path in Path.cwd().iterdir()] == ["tiny.py"]


def test_validate_says_whether_the_stored_trials_fit(hpo_command: Run, write_study: Write) -> None:
    hpo_command("run", write_study(), "--n-trials=2")
    code, out, _ = hpo_command("validate", "tiny.py")
    assert code == 0
    assert "journal:///hpo.journal, which has 2 trials of it to go on from" in out
    for command in ("validate", "run"):
        code, _, err = hpo_command(command, write_study({"epochs=3": "epochs=4"}))
        assert code == 2
        assert "  epochs: 3 -> 4\n" in err


@pytest.mark.parametrize("command", [["list"], ["show", "tiny"]])
@pytest.mark.parametrize("scheme", ["sqlite", "journal"])
def test_a_missing_storage_is_named_and_not_made(
    hpo_command: Run, command: list[str], scheme: str
) -> None:
    code, out, err = hpo_command(*command, "--storage", f"{scheme}:///none.db")
    assert (code, out) == (2, "")
    assert "There is no file none.db" in err
    assert "Run a study here first" in err
    assert not list(Path.cwd().iterdir())


def test_a_database_of_something_else_is_left_as_it_is(hpo_command: Run) -> None:
    with sqlite3.connect("other.db") as database:
        database.execute("CREATE TABLE things (id INTEGER)")
    database.close()
    before = Path("other.db").read_bytes()
    code, _, err = hpo_command("list", "--storage", "sqlite:///other.db")
    assert code == 2
    assert "other.db is a database without studies" in err
    assert Path("other.db").read_bytes() == before


def test_a_damaged_storage_is_told_of(hpo_command: Run, write_study: Write) -> None:
    Path("hpo.journal").write_bytes(b"this is no journal at all" * 200)
    for command in (["list"], ["show", "tiny"], ["run", write_study()]):
        code, _, err = hpo_command(*command)
        assert code == 2
        assert "something else than a journal" in err
        assert "Traceback" not in err


def test_a_study_that_is_not_there(hpo_command: Run, write_study: Write) -> None:
    hpo_command("run", write_study(), "--n-trials=1")
    code, _, err = hpo_command("show", "tinny")
    assert code == 2
    assert "There is no study 'tinny' in journal:///hpo.journal, did you mean 'tiny'?" in err


def test_the_ui_needs_a_store(hpo_command: Run) -> None:
    code, _, err = hpo_command("ui")
    assert code == 2
    assert "There is no tracking store" in err
    assert not list(Path.cwd().iterdir())


def test_a_server_is_named_and_not_served(hpo_command: Run) -> None:
    code, out, _ = hpo_command("ui", "--tracking-uri", "http://somewhere:5000")
    assert (code, out) == (0, "http://somewhere:5000\n")


@pytest.mark.parametrize(
    "args", [["run"], ["run", "x.py", "--n-trials", "few"], ["rnu"], ["run", "x.py", "--nope"]]
)
def test_wrong_usage(hpo_command: Run, args: list[str]) -> None:
    code, _, err = hpo_command(*args)
    assert code == 2
    assert err


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--n-trials=0", "n_trials"),
        ("--timeout=-1", "timeout"),
        ("--eval-every=0", "eval_every"),
        ("--eval-every=9", "eval_every counts optimizer steps of a skorch net"),
        ("--executor=fussed", "There is no executor 'fussed'"),
        ("--backend=rya", "There is no backend 'rya'"),
        ("--n-jobs=0", "n_jobs must be a positive number or -1"),
        ("--storage=nonsense", "nonsense"),
    ],
)
def test_a_wrong_option(hpo_command: Run, write_study: Write, option: str, told: str) -> None:
    code, out, err = hpo_command("run", write_study(), option)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_an_error_of_the_users_own_is_shown_with_its_lines(
    hpo_command: Run, write_study: Write
) -> None:
    loader = "def load():\n    raise FileNotFoundError('digits.csv')\n\n\nstudy = Study("
    file = write_study(
        {
            "study = Study(": loader,
            "data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:])": "data=load",
        }
    )
    code, _, err = hpo_command("run", file)
    assert code == 2
    assert "FileNotFoundError: digits.csv" in err
    assert f'{Path(file).name}", line' in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--tracker", "null"],
            "--register needs --tracker mlflow. Got the tracker 'null' instead.",
        ),
        (["--tracker", "mlflow"], "without slashes and colons. Got 'a/b' instead."),
    ],
)
def test_a_model_that_cannot_be_registered_is_refused(
    hpo_command: Run, write_study: Write, arguments: list[str], told: str
) -> None:
    code, _, err = hpo_command("run", write_study(), "--register", "a/b", *arguments)
    assert code == 2
    assert told in " ".join(err.split())
