import io
import os
import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.text import Text

from hpo.cli._console import make_console, print_line
from hpo.display.displays import _FRAME, BaseDisplay, LiveDisplay, PlainDisplay, SilentDisplay
from hpo.display.progress import Plan
from hpo.observer import StudyInfo
from hpo.testing.observers import INFO, ObserverConformance, tell_study, tell_trial
from hpo.trial import Report, Trial, TrialRecord, TrialState

STOPPING = "stopping after this epoch (Ctrl-C again: at once)"
SETTINGS = {"scoring": "accuracy", "n_folds": 5, "sampler": "tpe", "pruner": "median"}


def _terminal(height: int = 30) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=height, markup=False)


def _screen(display: LiveDisplay, console: Console) -> str:
    """Return the picture as plain text."""
    with console.capture() as captured:
        console.print(display._render())
    return Text.from_ansi(captured.get()).plain


class TestPlainDisplayIsAnObserver(ObserverConformance):
    @pytest.fixture
    def observer(self) -> BaseDisplay:
        return PlainDisplay(io.StringIO())


class TestSilentDisplayIsAnObserver(ObserverConformance):
    @pytest.fixture
    def observer(self) -> BaseDisplay:
        return SilentDisplay()


class TestLiveDisplayIsAnObserver(ObserverConformance):
    @pytest.fixture
    def observer(self) -> Iterator[BaseDisplay]:
        with LiveDisplay(_terminal()) as display:
            yield display


class TestLiveDisplayOnASmallScreen(ObserverConformance):
    @pytest.fixture
    def observer(self) -> BaseDisplay:
        return LiveDisplay(_terminal(height=3))


def test_plain_lines_say_how_each_trial_ended() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.plan(Plan(n_trials=4))
    display.on_study_start(StudyInfo("digits", "key", SETTINGS))
    tell_trial(display, 0, (0.5, 0.75))
    tell_trial(display, 1, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
    tell_trial(display, 2, (), TrialState.FAILED, reason="ValueError: no")
    tell_trial(display, 3, (0.8,), TrialState.RUNNING)
    assert stream.getvalue().splitlines() == [
        "digits, 4 trials: accuracy over 5 folds, sampler tpe, pruner median",
        "trial 0 complete: 0.7500 at epoch 2  (1 of 4, 0:00, best so far)  lr 0.1, optimizer SGD",
        "trial 1 pruned at epoch 1: 0.25 < median 0.5  (2 of 4, 0:00, best 0.7500)  "
        "lr 0.05, optimizer SGD",
        "trial 2 failed: ValueError: no  (3 of 4, 0:00, best 0.7500)  lr 0.0333, optimizer SGD",
    ]


def test_plain_lines_of_epochs() -> None:
    stream = io.StringIO()
    tell_trial(PlainDisplay(stream, epochs=True), 0, (0.5, 0.75))
    assert [line for line in stream.getvalue().splitlines() if "epoch 1" in line or "2:" in line]
    assert stream.getvalue().startswith("trial 0, epoch 1: 0.5")


def test_nothing_is_printed_but_the_answer_to_ctrl_c(capfd: pytest.CaptureFixture[str]) -> None:
    display = SilentDisplay("stopped.")
    display.plan(Plan(n_trials=4))
    tell_study(display)
    assert capfd.readouterr() == ("", "")
    display.on_signal(False)
    assert capfd.readouterr() == ("", "\nstopped.\n")


def test_plain_lines_say_once_why_trials_are_in_no_batch() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.on_study_start(StudyInfo("digits", "key", SETTINGS))
    for number in range(2):
        tell_trial(display, number, trained_by=("process", "the net is odd"))
    tell_trial(display, 2, trained_by=("fused (eager)", ""))
    told = [line for line in stream.getvalue().splitlines() if "trained" in line]
    assert told == ["trial 0 is trained by a worker process, because the net is odd"]


def test_the_picture_shows_how_trials_are_trained_while_they_are() -> None:
    console = _terminal()
    display = LiveDisplay(console)
    display.on_study_start(StudyInfo("digits", "key", SETTINGS))
    tell_trial(display, 0, (0.5,), TrialState.RUNNING, trained_by=("serial", ""))
    assert "trained" not in _screen(display, console)
    tell_trial(display, 1, (0.5,), trained_by=("fused (compiled)", ""))
    tell_trial(display, 2, (0.5,), trained_by=("fused (compiled)", ""))
    told = ("process", "the net overrides `predict`")
    tell_trial(display, 3, (), TrialState.RUNNING, trained_by=told)
    shown = _screen(display, console)
    assert "trained   2 fused (compiled), 1 serial, 1 process" in shown
    assert "trial 3 is trained by a worker process, because the net overrides `predict`" in shown


def test_plain_lines_survive_a_closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        display = PlainDisplay(stream)
        tell_study(display)
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # so that closing it can flush


def test_the_picture_shows_counts_best_running_and_finished_trials() -> None:
    console = _terminal()
    display = LiveDisplay(console)
    assert "getting ready" in _screen(display, console)
    display.plan(Plan(n_trials=30))
    display.on_study_start(StudyInfo("digits", "key", SETTINGS))
    tell_trial(display, 0, (0.5, 0.75))
    tell_trial(display, 1, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
    tell_trial(display, 2, (0.625,), TrialState.RUNNING)
    lines = [line.rstrip() for line in _screen(display, console).splitlines()]
    assert lines[0] == "digits  accuracy over 5 folds, sampler tpe, pruner median"
    assert "2 of 30 trials" in lines[1]
    assert lines[2] == "1 complete   1 pruned   0 failed"
    shown = "\n".join(lines)
    assert "best      0.7500  trial 0, epoch 2\n          lr 0.1, optimizer SGD" in shown
    assert "running   trial 2    epoch 1/?     0.6250   lr 0.0333, optimizer SGD" in shown
    assert "finished  trial 1    pruned at epoch 1: 0.25 < median 0.5\n" in shown
    assert "          trial 0    complete: 0.7500 at epoch 2" in shown


def test_the_picture_keeps_its_height_from_trial_to_trial() -> None:
    console = _terminal()
    display = LiveDisplay(console)
    display.on_study_start(INFO)
    heights = set()
    for number in range(8):
        tell_trial(display, number, (0.5,), TrialState.RUNNING)
        heights.add(len(_screen(display, console).splitlines()))
        tell_trial(display, number)
        heights.add(len(_screen(display, console).splitlines()))
    assert len(heights) == 1


def test_many_running_trials_fit_on_the_screen() -> None:
    console = _terminal(height=20)
    display = LiveDisplay(console)
    display.on_study_start(INFO)
    for number in range(64):
        tell_trial(display, number, (0.5,), TrialState.RUNNING)
    shown = _screen(display, console)
    assert len(shown.splitlines()) <= 20
    assert "and 58 more" in shown


def test_the_first_ctrl_c_is_answered_and_the_second_gives_the_cursor_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    console = _terminal()
    display = LiveDisplay(console, "stopped. Go on with\n  hpo run x.py")
    display.on_study_start(INFO)
    display.on_signal(True)
    assert STOPPING in _screen(display, console)
    assert capfd.readouterr() == ("", "")
    display.on_signal(False)
    assert capfd.readouterr().out == "\x1b[?25h\nstopped. Go on with\n  hpo run x.py\n"
    plain = PlainDisplay(io.StringIO(), "stopped.")
    plain.on_signal(True)
    plain.on_signal(False)
    assert capfd.readouterr().err == f"\n{STOPPING}\n\nstopped.\n"


def test_the_terminal_is_left_clean_and_drawn_seldom() -> None:
    console = _terminal()
    with LiveDisplay(console) as display:
        display.on_study_start(INFO)
        began = time.monotonic()
        while time.monotonic() - began < 0.7:
            tell_trial(display, 0, (0.5,) * 20)
        frames = console.file.getvalue().count("conformance")  # type: ignore[attr-defined]
        most = (time.monotonic() - began) / _FRAME + 3
    assert 1 <= frames <= most
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert not display._thread.is_alive()


def test_a_poor_alphabet_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    poor = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", poor)
    console = make_console()
    print_line(console, "0.97 ± 0.01 \ud800")
    tell_trial(PlainDisplay(poor), 0, (), TrialState.FAILED, reason="Küche")
    poor.flush()
    told = poor.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
    assert told[0] == "0.97 \\xb1 0.01 \\ud800"
    assert told[1].startswith("trial 0 failed: K\\xfcche")


def test_the_best_parameters_are_not_cut_off() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, markup=False)
    display = LiveDisplay(console)
    display.on_study_start(INFO)
    params = {f"module__parameter_{i}": 0.123 for i in range(8)}
    report = Report(0, 1, 0.5, (0.4, 0.6))
    record = TrialRecord(Trial(0, params, 0), TrialState.COMPLETE, (report,), max_steps=1)
    display.on_trial_start(record)
    display.on_trial_end(record)
    shown = " ".join(_screen(display, console).split())
    assert ", ".join(f"parameter_{i} 0.123" for i in range(8)) in shown
    assert len(_screen(display, console).splitlines()) <= 24
