"""``hpo init`` and what is said of an example that has not been copied yet."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpo.cli import app
from hpo.cli._study_file import load_study_file
from hpo.exceptions import StudyError

FIRST = "studies/digits_mlp.py"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_example_is_copied(repository):
    done = CliRunner().invoke(app, ["init"])
    assert done.exit_code == 0, done.output
    assert f"hpo run {FIRST}" in done.output
    for part, pattern in (("studies", "*.py"), ("search_spaces", "*.yaml")):
        names = {file.name for file in (repository / part).glob(pattern)}
        assert {file.name for file in Path(part).iterdir()} == names
    assert load_study_file(Path(FIRST)).study.name == "digits_mlp"


def test_files_that_are_there_stay(tmp_path):
    kept = tmp_path / "here" / FIRST
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    done = CliRunner().invoke(app, ["init", "here"])
    assert done.exit_code == 0, done.output
    assert "1 were there and stay as they are" in done.output
    assert "hpo run here/studies/digits_mlp.py" in done.output
    assert kept.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "studies").write_text("a file")
    done = CliRunner().invoke(app, ["init"])
    assert done.exit_code == 2
    assert "The examples cannot be copied to ." in done.output


def test_an_example_that_is_not_here_is_told():
    with pytest.raises(StudyError, match="It is an example: `hpo init` copies it"):
        load_study_file(Path(FIRST))
