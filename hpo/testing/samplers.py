"""A conformance suite for samplers: inherit it, say how the sampler is named, run its laws."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hpo.samplers import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["SamplerConformance", "propose"]

SPACE = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "width": {"type": "int", "low": 8, "high": 64, "step": 8},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam", None]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": ["sgd"]}},
}


def propose(
    spec: Any, seed: int, n_trials: int = 25, space: SearchSpace | None = None
) -> list[dict[str, Any]]:
    """Return the points that a sampler proposes where trials complete, are pruned and fail."""
    space = space or SearchSpace.load(SPACE)
    sampler = make_sampler(spec, seed, parallel=False, space=space)
    store = TrialStore("conformance", space, None, sampler=sampler, seed=seed)
    points = []
    for number in range(n_trials):
        trial = store.ask()
        points.append(dict(trial.params))
        report = Report(number, 1, -abs(trial.params["lr"] - 0.1), (0.0,))
        store.report(report)
        state = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)[number % 5 % 3]
        store.tell(TrialRecord(trial, state, (report,), "" if number % 5 % 3 == 0 else "scripted"))
    return points


class SamplerConformance:
    """Laws of a sampler.

    For example::

        class TestMySampler(SamplerConformance):
            @pytest.fixture
            def sampler(self):
                return "my_module:MySampler"
    """

    @pytest.fixture
    def sampler(self) -> Any:
        """Return what names the sampler, or its class."""
        raise NotImplementedError("A subclass supplies this fixture.")

    def test_every_point_is_of_the_space(self, sampler: Any) -> None:
        """Values are in their ranges, on their steps, and present where their condition holds."""
        self._check(propose(sampler, 0))

    @staticmethod
    def _check(points: Sequence[dict[str, Any]]) -> None:
        for point in points:
            assert 1e-4 <= point["lr"] <= 1.0
            assert point["width"] in range(8, 65, 8)
            assert point["optimizer"] in {"sgd", "adam", None}
            assert ("momentum" in point) == (point["optimizer"] == "sgd")

    def test_the_seed_decides(self, sampler: Any) -> None:
        """The same seed gives the same points, another one gives others."""
        assert propose(sampler, 1) == propose(sampler, 1)
        assert propose(sampler, 1) != propose(sampler, 2)

    def test_nothing_is_drawn_from_global_generators(self, sampler: Any) -> None:
        """Python's and NumPy's own generators neither change what is proposed nor are changed."""
        random.seed(0)
        np.random.seed(0)
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        propose(sampler, 1)
        after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        assert before == after
