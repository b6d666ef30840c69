"""The course of a rehearsal, and what follows from it."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from skorch import NeuralNet

from hpo._failures import message_of
from hpo._stop_signal import is_ctrl_c
from hpo.exceptions import DataError, HpoError
from hpo.training.adapters import last_step
from hpo.training.callbacks import copy_of
from hpo.training.files import FoldFiles
from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.training.rehearsal._attempt import Attempt, Outcome, Part
from hpo.training.rehearsal._cures import cure
from hpo.training.rehearsal._scorers import check_scorers
from hpo.training.rehearsal._silence import has_more, has_speakers, silence
from hpo.training.threads import limit_threads
from hpo.trial import derive_seed

__all__ = ["rehearse"]

_PATIENCE = 2.0
"""Seconds after which no further fold is rehearsed."""
_PATIENCE_WITH_POINTS = 30.0
"""Seconds after which no further parameters are tried, if there were some."""
_FEWEST = 4
_THOROUGH = 2
"""Folds whose training parts have every row between them."""


def rehearse(
    objective: Objective,
    points: Sequence[Mapping[str, Any]],
    *,
    device: str | None = None,
    n_threads: int = 1,
    quotes: bool = True,
) -> list[str]:
    """Train a net on one batch of each fold and score it, before any trial does.

    A clone of the estimator is fitted, by its own ``fit``, for an epoch of one batch, and a
    handful of validation rows is scored. Random numbers are those of a stream of its own;
    callbacks that print or send are left out, and so are those that write and the user's own as
    long as it works without them. Of an estimator that is no net only the scorers are checked.

    Nothing is refused that may work: what fails with the first of ``points`` is tried with the
    others, and only what fails with all of them is told of. If the data are to blame, a
    changed form of them is tried until one works, which is the advice.

    Parameters
    ----------
    objective : Objective
    points : sequence of mapping
        Stored parameters to try, the likeliest to work first; at least one.
    device : str or None
        Torch device of the trials.
    n_threads : int
    quotes : bool, default=True
        Raise for errors without a known cause too, which are quoted.

    Returns
    -------
    list of str
        What may be a mistake.

    Raises
    ------
    DataError
        If nothing can come of the trials; the message says what to do.
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
        self._silence(own=True)

    def _silence(self, *, own: bool) -> None:
        self._estimator = copy_of(self._objective.estimator)
        silence(last_step(self._estimator), own=own)

    def run(self) -> list[str]:
        """Rehearse the folds, for a while."""
        began = time.monotonic()
        notes: dict[str, None] = {}
        for i in range(self._objective.n_folds):
            outcome = self._try(self._points[0], i)
            if not outcome.passed and has_more(last_step(self._objective.estimator)):
                self._silence(own=False)
                outcome = self._try(self._points[0], i)
            if not outcome.passed:
                self._judge(outcome, i)
                break
            notes |= dict.fromkeys(outcome.notes)
            if time.monotonic() - began > _PATIENCE:
                break
        return list(notes)

    def _try(self, point: Mapping[str, Any], i: int) -> Outcome:
        with self._files() as files:
            try:
                part = self._part(point, i, files)
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                return Outcome(error=error, where="preprocessing")
            return Attempt(part, self._objective, thorough=i < _THOROUGH).run()

    @contextmanager
    def _files(self) -> Iterator[FoldFiles]:
        """Have a place for what checkpoints write, and clear it away."""
        files = FoldFiles()
        try:
            yield files
        finally:
            files.remove()

    def _part(self, point: Mapping[str, Any], i: int, files: FoldFiles) -> Part:
        params = self._objective.resolve(point)
        device = self._device
        return Part.of(self._objective, self._estimator, params, i, device=device, files=files)

    def _judge(self, first: Outcome, i: int) -> None:
        """Raise, if fold ``i`` fails with all parameters; return where that is not certain."""
        outcomes, began = [first], time.monotonic()
        for point in self._points[1:]:
            if len(outcomes) >= _FEWEST and time.monotonic() - began > _PATIENCE_WITH_POINTS:
                break
            outcome = self._try(point, i)
            if outcome.passed:
                return
            outcomes.append(outcome)
        if any(_is_shortage(outcome.error) for outcome in outcomes):
            return
        if first.finding:
            raise DataError(_sentence(self._name, "") + first.finding)
        advice = self._advice(first, i)
        error = first.error
        assert error is not None
        if isinstance(error, HpoError):
            raise error  # it says what to do
        told = message_of(error)
        if advice:
            raise DataError(f"{_sentence(self._name, told)}{advice}") from error
        alike = len({type(outcome.error) for outcome in outcomes}) == 1
        if self._quotes and alike and not self._may_lack(error):
            raise DataError(self._quoted(first, told, i)) from error

    def _may_lack(self, error: BaseException) -> bool:
        """Return whether an error came from a callback, which may miss one that was left out."""
        return has_speakers(last_step(self._objective.estimator)) and _from_callback(error)

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
            told = cure(part, self._objective, training=training)
            return told or attempt.explanation(outcome.error)

    def _quoted(self, outcome: Outcome, told: str, i: int) -> str:
        params = dict(self._points[0])
        several = len(self._points) > 1
        tried = "with all parameters that were tried" if several else "with the only parameters"
        place = f"{outcome.where} of fold {i}"
        return (
            f"{self._name} fails before the first trial, in the {place}, {tried} "
            f"(the first: {params}): {told}"
        )


def _sentence(name: str, told: str) -> str:
    head = f"{name} cannot learn from these data as they are (one batch was tried)"
    return f"{head}: {told}. " if told else f"{head}. "


def _is_shortage(error: BaseException | None) -> bool:
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
