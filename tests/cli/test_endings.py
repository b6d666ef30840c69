"""The table of exit codes in docs/command_line.md is true."""

import os
import re
import signal
from pathlib import Path

import pytest

from hpo._stop_signal import HUNG, StopSignal, exit_code
from hpo.cli._summary import SILENT

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"


def table():
    """Return what each exit code stands for."""
    section = PAGE.read_text().split("### Endings")[1].split("\n## ")[0]
    return {int(code): what for code, what in re.findall(r"^\| (\d+) \| (.*?) \|", section, re.M)}


def test_the_signals():
    told = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        stop = StopSignal()
        with stop.listening():
            os.kill(os.getpid(), getattr(signal, name))
        told[exit_code(stop.reason)] = name
        assert exit_code(stop.reason) == 128 + getattr(signal, name)
    told[128 + signal.SIGKILL] = "SIGKILL"
    assert {code for code in table() if code > 128} == told.keys()
    for code, name in told.items():
        assert ("Ctrl-C" if name == "SIGINT" else name) in table()[code]


def test_the_others_stand_in_the_table():
    assert {code for code in table() if code < 128} == {0, 1, 2, SILENT, HUNG}
    assert "time limit" in table()[HUNG]
    assert "another machine" in table()[SILENT]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"return super().partial_fit": "raise ValueError; return super().partial_fit"}, 1),
        ({"scoring=": "scoring_=", 'name="tiny"': 'name="tiny"'}, 2),
    ],
)
def test_a_run(changes, code, write_study, hpo_command):
    assert hpo_command("run", write_study(changes))[0] == code
    if code < 2:
        assert hpo_command("show", "tiny")[0] == 0
    assert hpo_command("show", "no_such_study")[0] == 2
