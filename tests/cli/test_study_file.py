import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest

from hpo.cli._study_file import load_study_file
from hpo.exceptions import SpaceError, StudyError


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def _message(text: str | bytes | None, name: str = "x.py") -> str:
    """Return why the file ``name`` with this text is refused."""
    path = Path(name)
    if text is not None:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    modules, places = set(sys.modules), list(sys.path)
    with pytest.raises(StudyError) as told:
        load_study_file(path)
    assert sys.path == places
    assert not [m for m in set(sys.modules) - modules if m.startswith("hpo_study")]
    return str(told.value)


def test_a_study_is_loaded_with_its_text(write_study: Callable[..., str]) -> None:
    file = load_study_file(Path(write_study()))
    assert file.study.name == "tiny"
    assert file.text.count("class Patient") == 1
    assert file.folder == Path.cwd()
    assert not Path("__pycache__").exists()


def test_classes_of_the_file_travel_to_a_process_that_cannot_import_it(
    write_study: Callable[..., str],
) -> None:
    study = load_study_file(Path(write_study())).study
    module = type(study.estimator).__module__
    assert sys.modules[module].__file__ == str(Path("tiny.py").absolute())
    Path("estimator.pkl").write_bytes(cloudpickle.dumps(study.estimator))
    code = "import pickle; print(pickle.load(open('estimator.pkl', 'rb')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "Patient(random_state=0)"
    assert isinstance(pickle.loads(pickle.dumps(study.estimator)), type(study.estimator))


def test_two_files_of_one_name_are_two_modules(write_study: Callable[..., str]) -> None:
    first = load_study_file(Path(write_study())).study
    Path("other").mkdir()
    Path("other/tiny.py").write_text(Path("tiny.py").read_text())
    second = load_study_file(Path("other/tiny.py")).study
    assert type(first.estimator) is not type(second.estimator)


def test_a_helper_beside_the_file_is_found(write_study: Callable[..., str]) -> None:
    Path("studies").mkdir()
    text = Path(write_study()).read_text()
    Path("studies/tiny.py").write_text(f"from helping_hand import ANSWER\n{text}")
    Path("studies/helping_hand.py").write_text("ANSWER = 42\n")
    assert load_study_file(Path("studies/tiny.py")).study.name == "tiny"


def test_missing_files() -> None:
    assert _message(None) == "There is no study file x.py; . has no Python file."
    Path("studies").mkdir()
    Path("studies/digits_mlp.py").touch()
    Path("studies/wide.py").touch()
    meant = f"did you mean '{Path('studies/digits_mlp.py')}'?"
    for wrong in ("studies/digit_mlp.py", "studies/digits_mlp", "studies/digits-mlp.py"):
        assert _message(None, wrong) == f"There is no study file {wrong}, {meant}"
    assert _message(None, "studies/abc.py") == (
        "There is no study file studies/abc.py: studies has digits_mlp.py, wide.py."
    )
    assert _message(None, "nowhere/x.py") == (
        "There is no study file nowhere/x.py: its folder nowhere does not exist."
    )
    assert _message(None, "studies") == (
        "studies is a directory. Name a study file in it: studies has digits_mlp.py, wide.py."
    )


def test_a_search_space_is_no_study() -> None:
    message = _message("lr: [1, 2]", "space.yaml")
    assert message.startswith("space.yaml is a search space, not a study.")
    assert "hpo validate space.yaml" in message


def test_syntax_errors_show_the_place() -> None:
    message = _message("a = 1\nb = = 2\n")
    assert message.splitlines() == [
        "x.py, line 2: invalid syntax",
        "    b = = 2",
        "        ^",
    ]
    assert "line 1: '(' was never closed" in _message("study = Study(\n")
    assert "unexpected indent" in _message("a = 1\n  b = 2\n")


@pytest.mark.parametrize("text", [b"a = '\xff\xfe'\n", b"a = 1\0\n", b"# coding: nonsense\n"])
def test_files_that_are_no_text(text: bytes) -> None:
    message = _message(text)
    assert message.startswith("x.py")
    assert "Traceback" not in message


def test_an_exception_shows_the_lines_of_the_file_and_no_others() -> None:
    text = "import json\n\ndef parse():\n    return json.loads('{')\n\nstudy = parse()\n"
    message = _message(text)
    assert message.splitlines()[0] == "x.py raised while it was read:"
    assert message.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting")
    assert "study = parse()" in message
    assert "return json.loads('{')" in message
    assert "_study_file" not in message
    assert "decoder.py" not in message


def test_an_error_of_hpo_is_told_with_its_line() -> None:
    message = _message("from hpo import Study\n\nstudy = Study(nam='x')\n")
    assert message.startswith("x.py, line 3: ")
    assert "did you mean 'name'" in message


def test_every_mistake_in_a_search_space_is_told() -> None:
    Path("x.py").write_text("from hpo import SearchSpace\nSearchSpace.loads('a: {}\\nb: {}')\n")
    with pytest.raises(SpaceError) as told:
        load_study_file(Path("x.py"))
    assert len(told.value.problems) >= 2


def test_a_file_that_ends_the_program() -> None:
    message = _message("import sys\nsys.exit(3)\n")
    assert message.startswith("x.py, line 2: the file ended the program (SystemExit: 3).")


def test_no_study_in_the_file(write_study: Callable[..., str]) -> None:
    assert _message("a = 1\n").startswith("x.py defines no `study`.")
    assert _message("study = {'name': 'x'}\n") == (
        "`study` in x.py must be an hpo.Study, or a function that returns one. "
        "Got {'name': 'x'} (builtins.dict) instead."
    )
    text = Path(write_study({"study = Study(": "search = Study("})).read_text()
    assert _message(text) == (
        "x.py calls its study `search`, and `study` is what is looked for: "
        "write `study = search` at its end."
    )
