"""The command as a process of its own: signals, a real terminal, what is imported."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hpo.cli._command import Command
from hpo.cli._run import run_file
from hpo.study import load_result
from hpo.trial import TrialState

pytestmark = pytest.mark.slow

STOPPING = "stopping after this epoch (Ctrl-C again: at once)"
COMMAND = [sys.executable, "-m", "hpo.cli"]
LONG_CALL = "__import__('hashlib').pbkdf2_hmac('sha256', b'', b'', 2 * 10**9)"
Write = Callable[..., str]
Start = Callable[..., "subprocess.Popen[bytes]"]
HpoCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def start(repository: Path) -> Iterator[Start]:
    """Return a function that starts a command, which does not outlive the test."""
    begun: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "PYTHONPATH": str(repository), "TERM": "xterm", "COLUMNS": "100"}

    def begin(*args: str, **streams: int) -> "subprocess.Popen[bytes]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        begun.append(subprocess.Popen([*COMMAND, *args], env=environment, **pipes))  # type: ignore[call-overload]
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _finished() -> dict[int, tuple[str, float]]:
    """Return the state and the value of each trial that has ended by itself."""
    result = load_result("tiny", "journal:///hpo.journal")
    return {
        record.number: (str(record.state), record.value)
        for record in result.records
        if record.state is not TrialState.RUNNING and not record.interrupted
    }


def _terminal_output(leader: int) -> Iterator[str]:
    """Yield all that a terminal has shown so far, again and again."""
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            if select.select([leader], [], [], 0.05)[0]:
                shown += os.read(leader, 65536)
        yield shown.decode(errors="replace")
    raise AssertionError(shown)


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(
    commands: Any, tmp_path: Path, write_study: Write, hpo_command: HpoCommand
) -> None:
    file = write_study(seconds=0.05)
    run = commands.start("run", file, "--fresh", "--n-trials", "5", folder=tmp_path)
    _wait_for(lambda: "\ntrial 1 " in run.text)
    os.kill(run.pid, signal.SIGINT)
    assert run.wait() == 130
    assert STOPPING in run.text
    assert "Traceback" not in run.text
    assert "Stopped (Ctrl-C): everything so far is kept" in run.text
    assert f"Go on with\n  hpo run {file} --n-trials 5\n" in run.text
    before = _finished()
    assert 2 <= len(before) < 5

    code, out, _ = hpo_command("run", file, "--n-trials", "5")
    assert code == 0
    assert f"tiny goes on, {len(before)} of 5 trials made: " in out
    after = _finished()
    assert len(after) == 5
    assert {number: after[number] for number in before} == before
    assert "was complete already" in hpo_command("run", file, "--n-trials", "5")[1]
    assert _finished() == after


def test_on_a_terminal_a_picture_and_ctrl_c_twice_ends_at_once(
    start: Start, write_study: Write, hpo_command: HpoCommand
) -> None:
    file = write_study(seconds=600.0)
    leader, follower = pty.openpty()
    process = start("run", file, "--n-trials=2", stdout=follower, stderr=follower)
    os.close(follower)
    output = _terminal_output(leader)
    assert next(shown for shown in output if "epoch 0/3" in shown)
    assert next(shown for shown in output if Path("training").exists())
    process.send_signal(signal.SIGINT)
    assert next(shown for shown in output if STOPPING in shown)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=100) == 130  # the epoch would last longer
    shown = next(output)
    os.close(leader)
    last = shown[shown.rindex("\x1b[?25h") :].split("\r\n")
    assert last[1:] == [
        "stopped at once. Go on with",
        f"  python -m hpo.cli run {file} --n-trials=2",
        "",
    ]

    code, out, _ = hpo_command("run", write_study(), "--n-trials=2", "--accept-code")
    assert code == 0
    assert "trial 0 interrupted: the process that ran it is gone" in out
    assert len(_finished()) == 2


def test_a_whole_run_on_a_terminal_ends_with_the_winner(
    write_study: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the end of a terminal
            while data := os.read(leader, 65536):
                seen.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(follower, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", terminal)
        code = run_file(
            Path(write_study(seconds=0.02)),
            {"n_trials": 4},
            study_options={},
            backend_options={},
            tracker_options={},
            fresh=False,
            smoke=False,
            data=None,
            command=Command(("hpo",), ("run", "tiny.py")),
        )
    reader.join(timeout=20)
    os.close(leader)
    shown = b"".join(seen).decode()
    assert code == 0
    assert "getting ready" in shown
    assert "of 4 trials" in shown
    assert "trial 0 complete" not in shown  # that is a plain line
    end = shown[shown.rindex("\x1b[?25h") :]
    assert "Winner: " in end
    assert "running" not in end


def test_sigterm_is_a_request_to_stop_too(write_study: Write, hpo_command: HpoCommand) -> None:
    def terminate() -> None:
        _wait_for(Path("training").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=terminate)
    killer.start()
    code, out, _ = hpo_command("run", write_study(seconds=0.05), "--n-trials=500")
    killer.join()
    assert code == 143
    assert "Stopped (terminated): everything so far is kept" in out
    assert "Go on with\n  hpo run tiny.py --n-trials=500\n" in out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run", "--help"], "--n-trials"),
        (["run", "x.py", "--help"], "--model"),
        (["run", "x.py", "--modle"], "did you mean --model"),
        (["run", "y.py"], "There is no study file y.py"),
    ],
)
def test_help_and_mistyped_commands_load_nothing_heavy(args: list[str], told: str) -> None:
    Path("x.py").write_text("import torch\n\ndef study(model: str = 'small'): ...\n")
    code = f"""
import sys
from typer.testing import CliRunner
from hpo.cli import app
result = CliRunner().invoke(app, {args})
assert {told!r} in result.output, result.output
heavy = {{"torch", "mlflow", "ray", "optuna", "sklearn", "numpy", "pandas", "yaml"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_a_second_ctrl_c_ends_a_call_of_c_at_once(
    commands: Any, tmp_path: Path, write_study: Write
) -> None:
    file = write_study({"time.sleep(1.0)": LONG_CALL}, seconds=1.0)
    run = commands.start("run", file, folder=tmp_path)
    _wait_for(Path("training").exists)
    os.kill(run.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(run.pid, signal.SIGINT)
    assert run.wait(100) == 130  # the call would last longer
    assert "stopped at once. Go on with" in run.text


def test_a_closed_terminal_is_a_request_to_stop(
    commands: Any, tmp_path: Path, write_study: Write
) -> None:
    run = commands.start("run", write_study(seconds=0.05), "--n-trials=500", folder=tmp_path)
    _wait_for(Path("training").exists)
    for _ in range(2):  # the kernel and the shell send it
        os.killpg(run.pid, signal.SIGHUP)
    assert run.wait() == 129
    assert "Stopped (the terminal was closed): everything so far is kept" in run.text
    result = load_result("tiny", "journal:///hpo.journal")
    assert {r.state for r in result.records} <= {TrialState.COMPLETE, TrialState.INTERRUPTED}


def test_a_reader_that_hangs_up_does_not_end_a_study(start: Start, write_study: Write) -> None:
    process = start("run", write_study())
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0
    assert len(_finished()) == 6
