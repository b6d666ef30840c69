import shlex

import pytest

from hpo.cli._command import Command


def _command(text: str) -> Command:
    return Command(("hpo",), tuple(shlex.split(text)))


def test_going_on_is_the_same_command_and_never_afresh() -> None:
    command = _command("run 'my studies/x.py' --n-trials 30 --fresh --sampler tpe:seed=1")
    assert command.going_on() == "hpo run 'my studies/x.py' --n-trials 30 --sampler tpe:seed=1"


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
    assert Command.typed(["list"]).going_on() == "python -m hpo.cli list"
    monkeypatch.setattr("sys.argv", ["/usr/bin/hpo"])
    assert Command.typed(["list"]).other("show", "a b") == "hpo show 'a b'"
