"""What a user's code may raise: each is that trial's failure, in any executor and any backend."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from hpo.trial import Trial

__all__ = ["USER_ERRORS", "failing_curve"]


class _Stop(KeyboardInterrupt):
    """A signal of the user's own."""


class _Bare(BaseException):
    """No `Exception`."""


class _Untold(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError("no text")

    __repr__ = __str__


class _ExitsWhenTold(Exception):
    def __str__(self) -> str:
        raise SystemExit(4)


class _TellsANumber(Exception):
    def __str__(self) -> Any:
        return self.args


class _Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class _LoadsAsAnother(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class _HangsUpWhenPickled(Exception):
    def __reduce__(self) -> Any:
        raise EOFError("pickled")


class _Notes(Exception):
    __notes__ = 7  # type: ignore[assignment]


class _NoNotes(Exception):
    def add_note(self, note: str) -> None:
        raise TypeError("none, please")


def _syntax_error() -> SyntaxError:
    error = SyntaxError("odd")
    error.text, error.lineno = object(), object()  # type: ignore[assignment]
    return error


USER_ERRORS: dict[str, Callable[[], BaseException]] = {
    "StopIteration": lambda: StopIteration("shard 7"),
    "StopAsyncIteration": lambda: StopAsyncIteration("shard 7"),
    "GeneratorExit": lambda: GeneratorExit("shard 7"),
    "SystemExit": lambda: SystemExit(3),
    "CancelledError": lambda: asyncio.CancelledError("shard 7"),
    "EOFError": lambda: EOFError("shard 7"),
    "ConnectionResetError": lambda: ConnectionResetError("shard 7"),
    "BrokenPipeError": lambda: BrokenPipeError("shard 7"),
    "RecursionError": lambda: RecursionError("shard 7"),
    "SyntaxError": _syntax_error,
    "_Stop": lambda: _Stop("shard 7"),
    "_Bare": lambda: _Bare("shard 7"),
    "_Untold": _Untold,
    "_ExitsWhenTold": _ExitsWhenTold,
    "_TellsANumber": _TellsANumber,
    "_Unpicklable": lambda: _Unpicklable("shard 7"),
    "_LoadsAsAnother": lambda: _LoadsAsAnother("shard", "7"),
    "_HangsUpWhenPickled": lambda: _HangsUpWhenPickled("shard 7"),
    "_Notes": lambda: _Notes("shard 7"),
    "_NoNotes": lambda: _NoNotes("shard 7"),
    "LookupError": lambda: LookupError("shard 7 " + 10_000_000 * "x"),
    "ExceptionGroup": lambda: ExceptionGroup("shard 7", [ValueError(str(i)) for i in range(999)]),
}
"""By the name of its type, what makes it."""


def failing_curve(trial: Trial) -> list[float | BaseException]:
    """Return a curve whose second step raises the error that the trial's ``kind`` names."""
    kind = trial.params.get("kind")
    return [0.1, 0.2] if kind is None else [0.1, USER_ERRORS[kind](), 0.2]
