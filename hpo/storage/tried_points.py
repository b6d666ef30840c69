"""The points of a space that have been tried."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from hpo.storage.records import params_of, was_interrupted

__all__ = ["Tried", "key_of"]

Key = frozenset[tuple[str, Any]]


def key_of(stored: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> Key:
    """Return a key that is equal for equal points, whatever the rounding of their numbers.

    Parameters
    ----------
    stored : mapping of str to object
        The stored values of a trial.
    distributions : mapping of str to optuna.distributions.BaseDistribution
    """
    return frozenset(
        (name, _place(value, distributions.get(name))) for name, value in stored.items()
    )


def _place(value: Any, distribution: BaseDistribution | None) -> Any:
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((value - distribution.low) / distribution.step)
    if isinstance(value, bool | str | None):
        return repr(value)  # True is not 1
    return float(value)


class Tried:
    """The set of points of a study's trials; each finished trial is read only once.

    Interrupted trials are excluded, since their points are tried again.

    Parameters
    ----------
    distributions : mapping of str to optuna.distributions.BaseDistribution
        Distributions of the space.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions
        self._finished: set[Key] = set()
        self._now: set[Key] = set()
        self._open: list[int] = []
        self._n_read = 0

    def read(self, trials: list[FrozenTrial], without: int | None = None) -> None:
        """Read what is new in ``trials``.

        Parameters
        ----------
        trials : list of FrozenTrial
            All trials of the study.
        without : int or None
            Number of the trial that is being sampled, which is excluded.
        """
        unread = [*self._open, *range(self._n_read, len(trials))]
        self._n_read, self._open, self._now = len(trials), [], set()
        for number in unread:
            trial = trials[number]
            if trial.state.is_finished():
                if not was_interrupted(trial):
                    self._finished.add(self._key(trial))
                continue
            self._open.append(number)
            if number != without:
                self._now.add(self._key(trial))

    def _key(self, trial: FrozenTrial) -> Key:
        return key_of(params_of(trial), self._distributions)

    def __contains__(self, key: Key) -> bool:
        return key in self._finished or key in self._now

    def __len__(self) -> int:
        return len(self._finished | self._now)
