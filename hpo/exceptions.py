"""The errors that hpo raises on purpose.

::

    HpoError
    ├── SpaceError            a search space, or a name in it, is wrong (also a ValueError)
    ├── StudyError            a study file or a study's definition is wrong (also a ValueError)
    ├── DataError             X, y, the folds or the scorer do not fit together (also a ValueError)
    ├── PluginError           no backend, pruner, sampler, executor or tracker of that name,
    │                         or an option that it does not have (also a ValueError)
    ├── StorageError          the study's database, or a file of hpo's own, cannot be used
    ├── ExecutorError         the workers cannot be started or keep dying
    ├── RefitError            the winner could not be refitted, or not be scored afterwards
    ├── MissingExtraError     an optional dependency is not installed (also an ImportError)
    └── NoCompletedTrialError the search ended without one complete trial (also a ValueError)

Each message says what was wrong and what to do about it, and shows no password of an
address. Any other exception is a bug in hpo or an error of the user's own code, which keeps its
type and traceback.
"""

from collections.abc import Sequence
from typing import Any

from hpo._redaction import redact

__all__ = [
    "DataError",
    "ExecutorError",
    "HpoError",
    "MissingExtraError",
    "NoCompletedTrialError",
    "PluginError",
    "RefitError",
    "SpaceError",
    "StorageError",
    "StudyError",
]


class HpoError(Exception):
    """Base of every error that hpo raises on purpose."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))


class SpaceError(HpoError, ValueError):
    """A search space is wrong; ``problems`` holds one message for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(redact, problems))
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["SpaceError"], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class StudyError(HpoError, ValueError):
    """A study file or the definition of a study is wrong."""


class DataError(HpoError, ValueError):
    """The data, the folds or the scorer do not fit the estimator or each other."""


class PluginError(HpoError, ValueError):
    """A backend, pruner, sampler, executor or tracker, or an option of one, does not exist."""


class StorageError(HpoError):
    """The database that holds the study, or a file that hpo needs, cannot be read or written."""


class ExecutorError(HpoError):
    """The workers that train trials cannot be started, or keep dying."""


class MissingExtraError(HpoError, ImportError):
    """An optional dependency is not installed; the message has the command that installs it."""


class RefitError(HpoError):
    """The search is over and its trials are kept, but the winner's refit or its scoring failed.

    The original exception is the ``__cause__``.

    Parameters
    ----------
    message : str
    result : StudyResult or None
        The result of the search, with the refitted estimator if only its scoring failed.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class NoCompletedTrialError(HpoError, ValueError):
    """The search ended and no trial is complete, so there is no best one."""
