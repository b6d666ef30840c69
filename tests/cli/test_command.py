import shlex

import pytest

from hpo.cli._command import Command


def _command(text: str) -> Command:
    return Command(("hpo",), tuple(shlex.split(text)))


def test_going_on_is_the_same_command_and_never_afresh() -> None:
    command = _command("run 'my studies/x.py' --n-trials 30 --fresh --sampler tpe:seed=1")
    assert (
        command.resume_command() == "hpo run 'my studies/x.py' --n-trials 30 --sampler tpe:seed=1"
    )


@pytest.mark.parametrize(
    "text",
    [
        "run x.py --seed 1",
        "run x.py --n-trials 30 --seed 1",
        "run x.py --seed 1 --n-trials=30",
        "run x.py --n-trials 10 --seed 1 --fresh --n-trials 30",
    ],
)
def test_asking_for_more_names_the_number_once(text: str) -> None:
    assert _command(text).asking_for(60) == "hpo run x.py --seed 1 --n-trials 60"


def test_the_program_is_called_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/some/where/hpo/cli/__main__.py"])
    assert Command.typed(["list"]).resume_command() == "python -m hpo.cli list"
    monkeypatch.setattr("sys.argv", ["/usr/bin/hpo"])
    assert Command.typed(["list"]).other("show", "a b") == "hpo show 'a b'"


def test_no_password_is_in_a_command_that_is_shown() -> None:
    command = _command("run x.py --storage postgresql://a:b@h/db --tracking-uri=http://c:d@h")
    shown = "hpo run x.py --storage 'postgresql://a:***@h/db' '--tracking-uri=http://c:***@h'"
    assert command.resume_command() == shown
    assert command.asking_for(9) == f"{shown} --n-trials 9"
    assert command.other("ui", "--tracking-uri", "http://c:d@h").endswith("'http://c:***@h'")
