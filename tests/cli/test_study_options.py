"""A study that is a function: its parameters are options of ``hpo run`` and ``hpo validate``."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.cli._study_file import load_study_file
from hpo.cli._study_options import StudyOption, read_options
from hpo.exceptions import StudyError

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]

HEAD = '''def study(
    model: str = "small",
    n_rows: int = 100,
    text: Path | None = None,
    pretrain: bool = False,
    lambda_: float = 0.5,
) -> Study:
    """Adapts a model to a text.

    Parameters
    ----------
    model : str, default="small"
        A folder, or a name
        on the hub [online].
    text, lambda_
        Of two options.

    Returns
    -------
    Study
        With no options : at all
    """
    print(f"{model=}, {n_rows=}, {text=}, {pretrain=}, {lambda_=}")
    return Study('''
FUNCTION = {"study = Study(": HEAD, "X=X[:100], y=y[:100]": "X=X[:n_rows], y=y[:n_rows]"}


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def file(write_study: Write) -> str:
    """Return the name of a study file with options."""
    return write_study(FUNCTION)


def _read(text: str, *taken: str) -> tuple[StudyOption, ...]:
    Path("x.py").write_text(text)
    found = read_options(Path("x.py"), taken)
    assert found is not None
    return found.options


def test_options_are_read_from_a_file_that_is_not_run() -> None:
    text = f"raise RuntimeError\n\n\n{HEAD})\n"
    assert _read(text) == (
        StudyOption("model", str, False, "small", "A folder, or a name on the hub [online]."),
        StudyOption("n_rows", int, False, "100", ""),
        StudyOption("text", Path, False, "", "Of two options."),
        StudyOption("pretrain", bool, False, "False", ""),
        StudyOption("lambda_", float, False, "0.5", "Of two options."),
    )
    flags = [flag for option in _read(text) for flag in option.flags]
    assert flags == ["--model", "--n-rows", "--text", "--pretrain", "--no-pretrain", "--lambda"]


def test_the_heading_is_the_functions_first_line_else_the_files() -> None:
    def heading(text: str) -> str:
        Path("x.py").write_text(text)
        found = read_options(Path("x.py"), ())
        assert found is not None
        return found.heading

    assert heading('"""Of the file.\n\nMore."""\ndef study(): ...\n') == "Of the file"
    assert (
        heading('"""Of the file."""\ndef study():\n    """Its own.\n\n    More."""\n') == "Its own"
    )
    assert heading("def study(): ...\n") == "Options of x.py"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("str", str),
        ("int | None", int),
        ("None | Path", Path),
        ("pathlib.Path", Path),
        ("'float | None'", float),
        ("bool | None", bool),
    ],
)
def test_a_type_may_be_optional_or_quoted(annotation: str, kind: type) -> None:
    (positional, named) = _read(f"def study(a: {annotation}, *, b: {annotation} = N): ...\n")
    assert positional == StudyOption("a", kind, True, "", "")
    assert named == StudyOption("b", kind, False, "N", "")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("a", "'a' must be annotated as str, int, float, bool or Path, or as one of them | None. "),
        ("a: list[int] = []", "Got list[int] instead."),
        ("a: int | str", "Got int | str instead."),
        ("a: None", "Got None instead."),
        ("a: int = 1, /", "'a' cannot be given by its name."),
        ("*a: int", "'a' cannot be given by its name."),
        ("**a: int", "'a' cannot be given by its name."),
        ("n_trials: int", "'n_trials' would be --n-trials, which is hpo's own: rename it."),
        ("a: bool, no_a: int", "'no_a' would be --no-a, which is that of 'a': rename it."),
    ],
)
def test_a_parameter_that_cannot_be_an_option_is_named(parameters: str, told: str) -> None:
    with pytest.raises(StudyError) as caught:
        _read(f"\ndef study({parameters}): ...\n", "--n-trials")
    first, *problems = str(caught.value).splitlines()
    assert first == "x.py, line 2: the parameters of study() are its options."
    assert len(problems) == 1
    assert told in problems[0]


@pytest.mark.parametrize(
    "text",
    ["study = Study()\n", "class A:\n    def study(self): ...\n", "async def study(): ...\n"],
)
def test_no_function_no_options(text: str) -> None:
    Path("x.py").write_text(text)
    assert read_options(Path("x.py"), ()) is None


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    "parameter", ["n_trials: int = 3", "fresh: bool = False", "help: str = ''"]
)
def test_an_option_of_hpo_run_is_refused_to_a_study(
    hpo_command: Run, write_study: Write, command: str, parameter: str
) -> None:
    head = f"def study({parameter}):\n    return Study("
    code, out, err = hpo_command(command, write_study({"study = Study(": head}))
    assert (code, out) == (2, "")
    assert err.startswith("error: tiny.py, line ")
    assert f"'{parameter.partition(':')[0]}' would be --" in err


def test_options_reach_the_function_as_what_they_are_annotated(hpo_command: Run, file: str) -> None:
    Path("elsewhere").mkdir()
    moved = str(Path(file).rename("elsewhere/tiny.py"))
    code, out, _ = hpo_command(
        *("run", "--seed", "1", moved, "--model", "large", "--n-trials=2", "--n-rows=90"),
        *("--text", "sub/a.txt", "--pretrain", "--lambda", "-1e-3", "--epochs", "2"),
    )
    assert code == 0
    text = Path("sub/a.txt").absolute()  # from the current folder, not from the file's
    assert out.splitlines()[0] == (
        f"model='large', n_rows=90, text={text!r}, pretrain=True, lambda_=-0.001"
    )
    assert "tiny, 2 trials: " in out


def test_without_options_the_functions_own_defaults_hold(hpo_command: Run, file: str) -> None:
    told = "model='small', n_rows=100, text=None, pretrain=False, lambda_=0.5\n"
    assert told in hpo_command("run", file, "--n-trials=1")[1]
    assert told in hpo_command("run", file, "--n-trials=1", "--no-pretrain")[1]


def test_the_command_to_go_on_with_carries_the_options(hpo_command: Run, file: str) -> None:
    given = ("--model", "a large one", "--n-rows=90")
    code, out, _ = hpo_command(
        "run", file, *given, "--fresh", "--max-total-epochs=4", "--folds=all"
    )
    assert code == 0
    words = f"run {file} --model 'a large one' --n-rows=90"
    assert f"Go on with\n  hpo {words} --max-total-epochs=4 --folds=all\n" in out
    code, out, _ = hpo_command("run", file, *given, "--n-trials=3")
    assert code == 0
    assert "tiny goes on, 1 of 3 trials made: " in out
    code, out, _ = hpo_command("run", file, *given, "--n-trials=3")
    assert f"For more trials\n  hpo {words} --n-trials 6\n" in out


def test_options_that_make_other_data_make_another_study(hpo_command: Run, file: str) -> None:
    hpo_command("run", file, "--n-trials=1")
    for command in ("run", "validate"):
        code, _, err = hpo_command(command, file, "--n-rows", "90")
        assert code == 2
        assert "data: X: " in err


def test_validate_takes_the_options_and_shows_them(hpo_command: Run, file: str) -> None:
    code, out, _ = hpo_command("validate", file, "--model=large", "--n-rows", "90", "--pretrain")
    assert code == 0
    shown = "options           model large, n_rows 90, text None, pretrain True, lambda_ 0.5\n"
    assert shown in out
    assert "X 90 x 20, y 90" in out
    assert [path.name for path in Path.cwd().iterdir()] == [file]


@pytest.mark.parametrize("command", ["run", "validate"])
def test_help_lists_the_options_under_the_studys_description(
    hpo_command: Run, file: str, command: str
) -> None:
    code, out, _ = hpo_command(command, file, "--help")
    assert code == 0
    own = out[out.index("─ Adapts a model to a text ─") :]
    for told in ("--n-rows", "--no-pretrain", "[online].", "(small)", "(100)"):
        assert told in own
        assert told not in out[: -len(own)]
    assert "Adapts" not in hpo_command(command, "--help")[1]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--modle", "x"], "There is no option --modle, did you mean --model?"),
        (["--n-trails=3"], "There is no option --n-trails, did you mean --n-trials?"),
        (["--zzz"], "There is no option --zzz.\n"),
        (
            ["--modle=x", "--model", "x", "--pretrian"],
            "There is no option --pretrian, did you mean",
        ),
        (["--zzz"], "tiny.py has the options --model, --n-rows, --text, --pretrain, "),
        (["--n-rows", "few"], "--n-rows"),
        (["--model"], "'--model' requires an argument"),
        (["--zzz", "--epochs"], "'--epochs' requires an argument"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_a_wrong_option_is_told_of_before_the_file_is_run(
    hpo_command: Run, file: str, args: list[str], told: str
) -> None:
    code, out, err = hpo_command("run", file, *args)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("error: ") <= 1


def test_a_study_without_options_says_so(hpo_command: Run, write_study: Write) -> None:
    code, out, err = hpo_command("run", write_study(), "--model=x", "--n-trails", "3")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: There is no option --model.",
        "There is no option --n-trails, did you mean --n-trials?",
        "tiny.py has no options of its own: those are the parameters of a function `study`.",
    ]
    Path("space.yaml").write_text("lr: [1, 2]\n")
    code, _, err = hpo_command("validate", "space.yaml", "--model=x")
    assert code == 2
    assert "space.yaml has no options of its own" in err


def test_options_come_after_the_file_that_has_them(hpo_command: Run, file: str) -> None:
    code, _, err = hpo_command("run", "--model", "large", file)
    assert code == 2
    assert "Name the study file first: its own options follow it." in err


def test_a_parameter_without_a_default_is_required(hpo_command: Run, write_study: Write) -> None:
    head = "def study(model: str):\n    print(model)\n    return Study("
    file = write_study({"study = Study(": head})
    code, _, err = hpo_command("run", file)
    assert code == 2
    assert "Missing option '--model'" in err
    assert hpo_command("validate", file, "--model=large")[1].startswith("large\n")
    with pytest.raises(StudyError, match=r"study\(\) in tiny.py: missing a required argument"):
        load_study_file(Path(file))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("pass", "study() in x.py must return an hpo.Study. Got None instead."),
        ("raise ValueError('no')", "x.py raised while it made its study:\n"),
        ("from hpo.exceptions import DataError; raise DataError('no')", "x.py, line 2: no"),
        ("raise SystemExit(3)", "x.py, line 2: the file ended the program (SystemExit: 3)."),
    ],
)
def test_a_function_that_makes_no_study(hpo_command: Run, body: str, told: str) -> None:
    Path("x.py").write_text(f"def study(model: str = 'small'):\n    {body}\n")
    before = list(sys.path)
    code, out, err = hpo_command("validate", "x.py", "--model", "large")
    assert (code, out) == (2, "")
    assert f"error: {told}" in err
    assert "_study_file" not in err
    assert sys.path == before


def test_a_file_that_replaces_its_function_is_refused(hpo_command: Run, file: str) -> None:
    with Path(file).open("a") as text:
        text.write("\n\nstudy = study()\n")
    code, _, err = hpo_command("validate", file, "--model=large")
    assert code == 2
    assert "`study` in tiny.py must stay the function that it is defined as." in err
