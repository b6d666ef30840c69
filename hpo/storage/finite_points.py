"""A list of all points of a finite space."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from hpo.space import SearchSpace
from hpo.storage.tried_points import key_of

__all__ = ["MOST_POINTS", "FinitePoints"]

MOST_POINTS = 10_000
"""Maximum number of points to list; in a larger space, new points are found by random draws."""


class FinitePoints:
    """All points of a space with at most `MOST_POINTS` points.

    Parameters
    ----------
    space : SearchSpace
    """

    def __init__(self, space: SearchSpace) -> None:
        self._distributions = space.distributions
        points = space.grid()
        self.stored = [space.keep(point) for point in points] if space.translates else points
        self.keys = [key_of(point, self._distributions) for point in self.stored]
        self._names = sorted(self._distributions)
        self._places = np.array([self._place(point) for point in self.stored])
        self._kinds = np.array(
            [isinstance(self._distributions[n], CategoricalDistribution) for n in self._names]
        )

    @staticmethod
    @functools.lru_cache(maxsize=8)
    def of(space: SearchSpace) -> "FinitePoints | None":
        """Return the points of ``space``; None if they are infinite or too many to list."""
        return None if space.size(MOST_POINTS) is None else FinitePoints(space)

    def _place(self, point: Mapping[str, Any]) -> list[float]:
        """Return the coordinates of a point: numbers scaled to 0 .. 1, choices by index."""
        return [self._share(n, point[n]) if n in point else np.nan for n in self._names]

    def _share(self, name: str, value: Any) -> float:
        distribution: Any = self._distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            return float(distribution.to_internal_repr(value))
        width = distribution.high - distribution.low
        return float((value - distribution.low) / width) if width else 0.0

    def nearest(
        self, point: Mapping[str, Any], among: Sequence[int], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the point nearest to ``point`` among those with the given indices.

        A different choice, or a parameter that only one of the two points has, counts as much as
        the whole width of a range; among equally near points one is drawn at random.
        """
        here, there = np.array(self._place(point)), self._places[among]
        apart = np.abs(there - here)
        apart = np.where(self._kinds, apart > 0, apart)
        absent = np.isnan(there).astype(float) + np.isnan(here)
        distance = np.where(absent > 0, absent == 1, apart).sum(axis=1)
        nearest = np.flatnonzero(np.isclose(distance, distance.min()))
        return self.stored[among[int(rng.choice(nearest))]]
