"""Tests for every executor: inherit `ExecutorConformance` and define ``make_executor``."""

from collections.abc import Callable

import pytest

from hpo.executors import BaseExecutor, Ended, Event, Failed, Reported
from hpo.testing.scripted import ScriptedObjective
from hpo.testing.user_errors import USER_ERRORS, failing_curve
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["ExecutorConformance", "curve_by_params", "drive"]


def curve_by_params(trial: Trial) -> list[float | BaseException]:
    """Return the curve that the trial's parameters define.

    ``n`` steps from ``low`` upwards by 0.1 each; an error at step ``fails_at``.
    """
    low, n = trial.params.get("low", 0.0), trial.params.get("n", 3)
    curve: list[float | BaseException] = [low + 0.1 * step for step in range(n)]
    if "fails_at" in trial.params:
        curve[trial.params["fails_at"] - 1] = ZeroDivisionError("scripted")
    return curve


def drive(
    executor: BaseExecutor, trials: list[Trial], stop_at: dict[int, int] | None = None
) -> list[Event]:
    """Run all trials through ``executor``; stop each at the step that ``stop_at`` names.

    Returns
    -------
    list of Event
        In the order in which they were returned.
    """
    waiting, running, events = list(trials), set[int](), list[Event]()
    with executor:
        while waiting or running:
            while waiting and len(running) < executor.capacity:
                trial = waiting.pop(0)
                executor.start([trial])
                running.add(trial.number)
            for event in executor.poll():
                events.append(event)
                step = event.report.step if isinstance(event, Reported) else None
                if not isinstance(event, Reported):
                    running.discard(event.number)
                elif (stop_at or {}).get(event.number) == step:
                    executor.stop([event.number])
                    running.discard(event.number)
    return events


class ExecutorConformance:
    """Tests of an executor.

    A subclass defines the fixture ``make_executor``: a function that takes an objective and
    returns the executor to test.
    """

    @pytest.fixture
    def make_executor(self) -> Callable[[BaseObjective], BaseExecutor]:
        """Return a function from objective to executor."""
        raise NotImplementedError("A subclass must give the fixture make_executor.")

    def test_every_report_arrives_in_order_and_each_trial_ends_once(
        self, make_executor: Callable[[BaseObjective], BaseExecutor]
    ) -> None:
        """Reports come step by step; after them, one `Ended`."""
        trials = [Trial(i, {"low": 0.1 * i, "n": 2 + i % 3}, i) for i in range(5)]
        objective = ScriptedObjective(curve_by_params)
        events = drive(make_executor(objective), trials)
        for trial in trials:
            own_events = [event for event in events if event.number == trial.number]
            expected = list(objective.run(trial))
            assert [e.report for e in own_events if isinstance(e, Reported)] == expected
            assert [type(e) for e in own_events[len(expected) :]] == [Ended]

    def test_a_stop_takes_effect_at_the_report_it_answers(
        self, make_executor: Callable[[BaseObjective], BaseExecutor]
    ) -> None:
        """A trial has no events after it is stopped."""
        trials = [Trial(i, {"n": 5}, i) for i in range(4)]
        executor = make_executor(ScriptedObjective(curve_by_params))
        events = drive(executor, trials, stop_at={0: 1, 2: 3})
        counts = [sum(event.number == i for event in events) for i in range(4)]
        assert counts == [1, 6, 3, 6]

    def test_an_error_fails_its_trial_alone(
        self, make_executor: Callable[[BaseObjective], BaseExecutor]
    ) -> None:
        """The reason names the error; the traceback is stored; other trials continue."""
        trials = [Trial(0, {"fails_at": 2}, 0), Trial(1, {"fails_at": 1}, 1), Trial(2, {}, 2)]
        events = drive(make_executor(ScriptedObjective(curve_by_params)), trials)
        failed = {event.number: event for event in events if isinstance(event, Failed)}
        assert set(failed) == {0, 1}
        assert failed[0].reason == "ZeroDivisionError: scripted"
        assert "Traceback" in failed[0].error
        assert [e.number for e in events if isinstance(e, Ended)] == [2]

    def test_whatever_a_trial_raises_fails_it_alone(
        self, make_executor: Callable[[BaseObjective], BaseExecutor]
    ) -> None:
        """No error is treated as a signal; the message has its name and a limited length."""
        trials = [Trial(i, {"kind": kind}, i) for i, kind in enumerate([*USER_ERRORS, None])]
        events = drive(make_executor(ScriptedObjective(failing_curve)), trials)
        failed = {event.number: event for event in events if isinstance(event, Failed)}
        assert set(failed) == set(range(len(USER_ERRORS)))
        for number, kind in enumerate(USER_ERRORS):
            reason, error = failed[number].reason, failed[number].error
            assert reason.startswith(kind)
            assert "\n" not in reason
            assert len(reason) < 700
            assert "Traceback" in error
            assert kind in error
            assert len(error) < 21_000
        reported = [event.number for event in events if isinstance(event, Reported)]
        assert sorted(reported) == sorted([*range(len(trials)), len(USER_ERRORS)])
        assert [e.number for e in events if isinstance(e, Ended)] == [len(USER_ERRORS)]

    def test_closing_twice_and_with_trials_in_flight(
        self, make_executor: Callable[[BaseObjective], BaseExecutor]
    ) -> None:
        """Closing releases all resources, whatever is running."""
        executor = make_executor(ScriptedObjective(curve_by_params, delay=0.05))
        with executor:
            executor.start([Trial(0, {"n": 50}, 0)])
            executor.poll()
            executor.close()
        executor.close()
