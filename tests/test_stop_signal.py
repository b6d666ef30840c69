"""Ctrl-C of the terminal and what trials raise are told apart."""

import os
import signal
import threading

import pytest

from hpo._stop_signal import SecondCtrlC, StopSignal, is_signal
from hpo.executors import Failed, Reported
from hpo.executors.serial import SerialExecutor
from hpo.testing import ScriptedObjective
from hpo.trial import Trial


class Own(KeyboardInterrupt):
    """A signal of the user's own."""


def raises(trial):
    return [KeyboardInterrupt("not the user's hand")]


def presses_ctrl_c(trial):
    os.kill(os.getpid(), signal.SIGINT)
    return [1.0]


def step(curve):
    with SerialExecutor(ScriptedObjective(curve)) as executor:
        executor.start([Trial(0, {}, 0)])
        (event,) = executor.poll()
    return event


def test_what_is_signal():
    assert is_signal(SecondCtrlC())
    assert not is_signal(Own())
    assert not is_signal(SystemExit())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert is_signal(KeyboardInterrupt())
    with StopSignal().listening():
        assert not is_signal(KeyboardInterrupt())
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(is_signal(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert elsewhere == [False]


def test_while_somebody_listens_a_trials_keyboard_interrupt_is_its_failure():
    with StopSignal().listening():
        event = step(raises)
    assert isinstance(event, Failed)
    assert event.reason == "KeyboardInterrupt: not the user's hand"


def test_the_first_ctrl_c_is_a_wish_and_the_second_ends_the_step():
    interrupt = StopSignal()
    with interrupt.listening():
        assert isinstance(step(presses_ctrl_c), Reported)
        assert interrupt.reason == "Ctrl-C"
        with pytest.raises(KeyboardInterrupt) as raised:
            step(presses_ctrl_c)
    assert is_signal(raised.value)


def test_where_nobody_listens_ctrl_c_ends_the_step():
    with pytest.raises(KeyboardInterrupt):
        step(presses_ctrl_c)
