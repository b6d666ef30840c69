"""A training that is put aside every few seconds, and goes on from there in another process."""

import copy
import math
import time
from collections.abc import Generator, Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from hpo._failures import message_of
from hpo._stop_signal import is_signal
from hpo.training.checkpoints import Checkpoint, CheckpointError, CheckpointFiles
from hpo.trial import Report, Trial

__all__ = ["CheckpointedRun", "Checkpointing", "Pace", "Resumable", "ResumeError"]

SHARE = 0.02
"""Share of the time of a training that putting it aside may take, unless told otherwise."""

MIN_SECONDS = 5.0
"""Seconds from the begin of a training to its first checkpoint, and at least between any two."""

_OFF = (
    "trainings of this study cannot be put aside ({}): a trial that is interrupted starts again at "
    "its first epoch"
)


class ResumeError(Exception):
    """A training cannot go on from its checkpoint; the message says why."""


class Resumable(Protocol):
    """What a training needs of its objective; see `BaseObjective`."""

    home: Path | None
    races: bool
    checkpointing: "Checkpointing | None"

    def run(self, trial: Trial, device: str | None = None) -> Generator[Report]:
        """Return the training of a trial from its beginning."""

    def resume(self, trial: Trial, state: bytes, device: str | None = None) -> Generator[Report]:
        """Return the training of a trial from a state."""

    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return how many steps a trial makes at most."""


class Pace:
    """Decides when a training is put aside.

    Parameters
    ----------
    every : float or None
        Seconds from one checkpoint to the next; None is as often as costs at most `SHARE` of the
        time, and at least `MIN_SECONDS`.
    """

    def __init__(self, every: float | None) -> None:
        self._every = every
        self._cost = 0.0

    @property
    def seconds(self) -> float:
        """Seconds from one checkpoint to the next."""
        return max(MIN_SECONDS, self._cost / SHARE) if self._every is None else self._every

    def took(self, seconds: float) -> None:
        """Take into account how long the last checkpoint took."""
        self._cost = seconds


class Checkpointing:
    """How the trainings of an objective are put aside; each process has its own copy.

    Before the first checkpoint of a process, and again for each value of a parameter that is not a
    number, it is proved that a training goes on from its state as if nothing had happened: one step
    is made a second time from there, and compared.

    Parameters
    ----------
    files : CheckpointFiles
    every : float or None
        See `Pace`.
    writes : bool, default=True
        Whether this process writes the files. If not, states wait in `CheckpointedRun.take`.
    """

    def __init__(self, files: CheckpointFiles, every: float | None, *, writes: bool = True) -> None:
        self.files = files
        self.writes = writes
        self.pace = Pace(every)
        self.off = ""
        """Why nothing is put aside any more; a note for the user."""
        self._proved: set[Hashable] = set()
        self._every = every

    def elsewhere(self) -> "Checkpointing":
        """Return how processes on any machine do the same, which leave the files to the driver."""
        return Checkpointing(replace(self.files, key=b""), self._every, writes=False)

    @property
    def first_after(self) -> float:
        """Seconds from the begin of a training until its state is proved."""
        return MIN_SECONDS if self._every is None else min(self._every, MIN_SECONDS)

    def begin(
        self, objective: Resumable, trial: Trial, device: str | None, state: bytes | None = None
    ) -> "CheckpointedRun":
        """Return the training of a trial, from its beginning or from where it was put aside.

        Parameters
        ----------
        objective : Resumable
        trial : Trial
        device : str or None
        state : bytes or None
            The state to go on from, where the file is on another machine.

        Raises
        ------
        ResumeError
            If it cannot go on from its checkpoint.
        """
        if trial.resumed_from is None:
            run = objective.run(trial, device)
            return CheckpointedRun(self, objective, trial, run, device=device)
        if state is None:
            state = self._state_of(trial)
        try:
            run = objective.resume(trial, state, device)
        except Exception as error:
            raise ResumeError(f"its state cannot be restored ({message_of(error)})") from error
        step = trial.resumed_step
        return CheckpointedRun(self, objective, trial, run, device=device, step=step)

    def _state_of(self, trial: Trial) -> bytes:
        try:
            checkpoint = self.files.read(trial)
        except CheckpointError as error:
            raise ResumeError(f"{error}") from None
        if checkpoint is None:
            raise ResumeError("its checkpoint is gone")
        if (checkpoint.step, checkpoint.kind) != (trial.resumed_step, "run"):
            raise ResumeError("its checkpoint is of another step, or of a training in a batch")
        return checkpoint.state

    def is_proved(self, trial: Trial) -> bool:
        """Return whether trainings like this one were seen to go on from their states."""
        return _kinds(trial) <= self._proved

    def proved(self, trial: Trial) -> None:
        """Remember that such trainings go on from their states."""
        self._proved |= _kinds(trial)


def _kinds(trial: Trial) -> set[Hashable]:
    """Return what may make the state of a training another kind of state than that of others."""
    values = trial.params.items()
    return {"net", *((n, v) for n, v in values if v is None or isinstance(v, bool | str))}


class CheckpointedRun(Generator[Report, None, None]):
    """The reports of a training that is put aside between its steps.

    A state is written before the next step is asked for, so that the driver has stored all reports
    up to there.

    Parameters
    ----------
    checkpointing : Checkpointing
    objective : Resumable
    trial : Trial
    run : generator
        The training.
    device : str or None
    step : int, default=0
        The `Report.position` of its last report.
    """

    def __init__(
        self,
        checkpointing: Checkpointing,
        objective: Resumable,
        trial: Trial,
        run: Generator[Report],
        *,
        device: str | None = None,
        step: int = 0,
    ) -> None:
        self._checkpointing = checkpointing
        self._objective = objective
        self._trial = trial
        self._device = device
        self._run = run
        self._step = step
        self._n_steps = objective.max_steps(trial.params) * (2 if objective.races else 1)
        self._unproved: bytes | None = None
        self._waiting: Checkpoint | None = None
        self._told = checkpointing.off
        self._next = time.monotonic() + checkpointing.first_after

    @property
    def files(self) -> Any:
        """The files of the training's callbacks, if it has any; see `TrialFiles`."""
        return getattr(self._run, "files", None)

    @property
    def state(self) -> Any:
        """The function that returns the state of the training; None if it has no state."""
        return getattr(self._run, "state", None)

    def send(self, value: None) -> Report:
        """Put the training aside if it is time to, and make the next step."""
        if self._is_due():
            self._save()
        report = self._run.send(None)
        self._step = report.position
        if self._unproved is not None:
            state, self._unproved = self._unproved, None
            self._prove(state, report)
        return self._with_note(report)

    def throw(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Report:
        """End the training and raise."""
        self._run.close()
        return super().throw(typ, val, tb)

    def put_aside(self) -> None:
        """Put the training aside now, between two steps, because it is to be ended."""
        if self._can_be_put_aside() and self._checkpointing.is_proved(self._trial):
            self._save()

    def take(self) -> Checkpoint | None:
        """Return the checkpoint that the driver is to write, if there is a new one."""
        if self._is_due():
            self._save()
        waiting, self._waiting = self._waiting, None
        return waiting

    def _can_be_put_aside(self) -> bool:
        return not self._checkpointing.off and 0 < self._step < self._n_steps

    def _is_due(self) -> bool:
        return time.monotonic() >= self._next and self._can_be_put_aside()

    def _save(self, state: bytes | None = None, step: int | None = None) -> None:
        """Keep a state, by default the one at this moment; the first one is to be proved before."""
        checkpointing, began = self._checkpointing, time.perf_counter()
        try:
            if state is None:
                state, step = self._state_now(), self._step
            if not checkpointing.is_proved(self._trial):
                self._unproved = state
                return
            self._keep(Checkpoint(step or self._step, "run", state))
        except Exception as error:
            checkpointing.off = _OFF.format(message_of(error))
            return
        checkpointing.pace.took(time.perf_counter() - began)
        self._next = time.monotonic() + checkpointing.pace.seconds

    def _state_now(self) -> bytes:
        if self.state is None:
            raise TypeError(f"{type(self._objective).__name__} has no states")
        state: bytes = self.state()
        return state

    def _keep(self, checkpoint: Checkpoint) -> None:
        if self._checkpointing.writes:
            self._checkpointing.files.write(self._trial, checkpoint)
        else:
            self._waiting = checkpoint

    def _prove(self, state: bytes, report: Report) -> None:
        """Make the last step again from the state before it, and compare the reports."""
        try:
            again = self._repeated(state)
            differing = _differences(report, again)
            if differing:  # unless no two trainings are alike, as on some GPUs
                differing -= _differences(again, self._repeated(state))
        except BaseException as error:  # the user's code may raise anything
            if is_signal(error):
                raise
            self._checkpointing.off = _OFF.format(message_of(error))
            return
        if differing:
            what = f"one that goes on from its state has another {min(differing)}"
            self._checkpointing.off = _OFF.format(what)
            return
        self._checkpointing.proved(self._trial)
        self._save(state, report.position - 1)

    def _repeated(self, state: bytes) -> Report:
        """Return the report of the step after a state, with files of its own."""
        objective = copy.copy(self._objective)
        objective.home, objective.checkpointing = None, None
        run = objective.resume(self._trial, state, self._device)
        try:
            return next(run)
        finally:
            run.close()

    def _with_note(self, report: Report) -> Report:
        off = self._checkpointing.off
        if off == self._told:
            return report
        self._told = off
        return replace(report, notes=(*report.notes, off))


def _differences(a: Report, b: Report) -> set[str]:
    """Return the names of what differs between two reports, times left aside."""
    names = {"score": (a.fold_values, b.fold_values)}
    for name in a.metrics.keys() | b.metrics.keys():
        names[name] = (a.metrics.get(name, ()), b.metrics.get(name, ()))
    differing = {name for name, pair in names.items() if not _equal(*pair)}
    return differing | ({"step"} if a.position != b.position else set())


def _equal(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return len(a) == len(b) and all(
        x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True)
    )
