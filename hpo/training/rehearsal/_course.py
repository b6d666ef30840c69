"""Run a rehearsal and draw conclusions from it."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from skorch import NeuralNet

from hpo._failures import message_of
from hpo._stop_signal import is_signal
from hpo.exceptions import DataError, HpoError
from hpo.training.adapters import last_step
from hpo.training.callbacks import copy_of
from hpo.training.files import FoldFiles
from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.training.rehearsal._attempt import Attempt, Outcome, Part
from hpo.training.rehearsal._cures import cure
from hpo.training.rehearsal._scorers import check_scorers
from hpo.training.rehearsal._silence import has_loggers, has_optional_callbacks, silence
from hpo.training.threads import limit_threads
from hpo.trial import derive_seed

__all__ = ["rehearse"]

_MAX_SECONDS = 2.0
"""Seconds after which no further folds are rehearsed."""
_MAX_SECONDS_OF_POINTS = 30.0
"""Seconds after which no further parameters are tried, once the minimum has been tried."""
_MIN_POINTS = 4
_THOROUGH_FOLDS = 2
"""Number of folds to check thoroughly: the training parts of two contain every row."""


def rehearse(
    objective: Objective,
    points: Sequence[Mapping[str, Any]],
    *,
    device: str | None = None,
    n_threads: int = 1,
    quotes: bool = True,
) -> list[str]:
    """Train a net on one batch of each fold and score it, before any trial does.

    A clone of the estimator is fitted by its own ``fit`` for an epoch of one batch, and a few
    validation rows are scored, with a separate random stream. Callbacks that print or send are
    left out. Callbacks that write and those of the user are left out too, as long as it works
    without them. If the estimator is not a net, only the scorers are checked.

    Nothing that may work is rejected: if it fails with the first of ``points``, the others are
    tried, and an error is raised only if all of them fail. If the data are the cause, changes of
    the data are tried until one works, and the message recommends that.

    Parameters
    ----------
    objective : Objective
    points : sequence of mapping
        Stored parameters to try, those most likely to work first; at least one.
    device : str or None
        Torch device of the trials.
    n_threads : int
    quotes : bool, default=True
        Whether to raise for errors without a known cause too; the message quotes them.

    Returns
    -------
    list of str
        Possible mistakes.

    Raises
    ------
    DataError
        If the trials cannot succeed; the message says what to do.
    """
    with (
        RandomStream(derive_seed("rehearsal"), device).active(),
        limit_threads(n_threads),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        if not isinstance(last_step(objective.estimator), NeuralNet):
            check_scorers(objective, points)
            return []
        return _Rehearsal(objective, points, device, quotes=quotes).run()


class _Rehearsal:
    def __init__(
        self,
        objective: Objective,
        points: Sequence[Mapping[str, Any]],
        device: str | None,
        *,
        quotes: bool,
    ) -> None:
        self._objective = objective
        self._points = points
        self._device = device
        self._quotes = quotes
        self._silence(optional=True)

    def _silence(self, *, optional: bool) -> None:
        self._estimator = copy_of(self._objective.estimator)
        silence(last_step(self._estimator), optional=optional)

    def run(self) -> list[str]:
        """Rehearse the folds until the time is up."""
        began = time.monotonic()
        notes: dict[str, None] = {}
        for i in range(self._objective.n_folds):
            outcome = self._try(self._points[0], i)
            if not outcome.passed and has_optional_callbacks(last_step(self._objective.estimator)):
                self._silence(optional=False)
                outcome = self._try(self._points[0], i)
            if not outcome.passed:
                self._raise_if_hopeless(outcome, i)
                break
            notes |= dict.fromkeys(outcome.notes)
            if time.monotonic() - began > _MAX_SECONDS:
                break
        return list(notes)

    def _try(self, point: Mapping[str, Any], i: int) -> Outcome:
        with self._files() as files:
            try:
                part = self._part(point, i, files)
            except BaseException as error:
                if is_signal(error):
                    raise
                return Outcome(error=error, where="preprocessing")
            return Attempt(part, self._objective, thorough=i < _THOROUGH_FOLDS).run()

    @contextmanager
    def _files(self) -> Iterator[FoldFiles]:
        """Provide temporary files for checkpoints, and remove them."""
        files = FoldFiles()
        try:
            yield files
        finally:
            files.remove()

    def _part(self, point: Mapping[str, Any], i: int, files: FoldFiles) -> Part:
        params = self._objective.resolve(point)
        device = self._device
        return Part.of(self._objective, self._estimator, params, i, device=device, files=files)

    def _raise_if_hopeless(self, first: Outcome, i: int) -> None:
        """Raise if fold ``i`` fails with all parameters; return if that is not certain."""
        outcomes, began = [first], time.monotonic()
        for point in self._points[1:]:
            if len(outcomes) >= _MIN_POINTS and time.monotonic() - began > _MAX_SECONDS_OF_POINTS:
                break
            outcome = self._try(point, i)
            if outcome.passed:
                return
            outcomes.append(outcome)
        if any(_is_out_of_memory(outcome.error) for outcome in outcomes):
            return
        if first.finding:
            raise DataError(_introduction(self._name, "") + first.finding)
        advice = self._advice(first, i)
        error = first.error
        assert error is not None
        if isinstance(error, HpoError):
            raise error  # its message already says what to do
        message = message_of(error)
        if advice:
            raise DataError(f"{_introduction(self._name, message)}{advice}") from error
        same_type = len({type(outcome.error) for outcome in outcomes}) == 1
        if self._quotes and same_type and not self._may_need_callback(error):
            raise DataError(self._quoting_message(first, message, i)) from error

    def _may_need_callback(self, error: BaseException) -> bool:
        """Return whether the error is from a callback that may need one that was left out."""
        return has_loggers(last_step(self._objective.estimator)) and _from_callback(error)

    @property
    def _name(self) -> str:
        return type(last_step(self._objective.estimator)).__name__

    def _advice(self, outcome: Outcome, i: int) -> str:
        if outcome.where == "preprocessing":
            return ""
        with self._files() as files:
            part = self._part(self._points[0], i, files)
            attempt = Attempt(part, self._objective)
            attempt.run()
            training = outcome.where == "training"
            advice = cure(part, self._objective, training=training)
            return advice or attempt.explanation(outcome.error)

    def _quoting_message(self, outcome: Outcome, message: str, i: int) -> str:
        params = dict(self._points[0])
        several = len(self._points) > 1
        tried = "with all parameters that were tried" if several else "with the only parameters"
        place = f"{outcome.where} of fold {i}"
        return (
            f"{self._name} fails before the first trial, in the {place}, {tried} "
            f"(the first: {params}): {message}"
        )


def _introduction(name: str, message: str) -> str:
    head = f"{name} cannot learn from these data as they are (one batch was tried)"
    return f"{head}: {message.rstrip('.')}. " if message else f"{head}. "


def _is_out_of_memory(error: BaseException | None) -> bool:
    if error is None:
        return False
    return isinstance(error, MemoryError) or "out of memory" in message_of(error).lower()


def _from_callback(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "notify":
            return True
        trace = trace.tb_next
    return False
