"""The errors that hpo raises on purpose.

::

    HpoError
    ├── SpaceError            a search space, or a name in it, is wrong (also a ValueError)
    ├── StudyError            a study file or a study's definition is wrong (also a ValueError)
    ├── DataError             X, y, the folds or the scorer do not fit together (also a ValueError)
    ├── PluginError           no backend, pruner, sampler, executor or tracker of that name,
    │                         or an option that it does not have (also a ValueError)
    ├── StorageError          the study's database cannot be used
    ├── ExecutorError         the workers cannot be started or keep dying
    ├── MissingExtraError     an optional dependency is not installed (also an ImportError)
    └── NoCompletedTrialError the search ended without one complete trial (also a ValueError)

Each message says what was wrong and what to do about it. Anything else that
escapes from hpo is a bug in hpo or an error of the user's own code, which keeps
its own type and traceback.
"""

from collections.abc import Sequence

__all__ = [
    "DataError",
    "ExecutorError",
    "HpoError",
    "MissingExtraError",
    "NoCompletedTrialError",
    "PluginError",
    "SpaceError",
    "StorageError",
    "StudyError",
]


class HpoError(Exception):
    """Base of every error that hpo raises on purpose."""


class SpaceError(HpoError, ValueError):
    """A search space is wrong; ``problems`` holds one message for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
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
    """The database that holds the study cannot be read or written."""


class ExecutorError(HpoError):
    """The workers that train trials cannot be started, or keep dying."""


class MissingExtraError(HpoError, ImportError):
    """An optional dependency is not installed; the message has the command that installs it."""


class NoCompletedTrialError(HpoError, ValueError):
    """The search ended and no trial is complete, so there is no best one."""
