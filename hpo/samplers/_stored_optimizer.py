"""Optuna's CMA-ES keeps its state in the storage as a pickle: only a harmless one is loaded."""

import io
import pickle
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo.exceptions import StorageError

__all__ = ["CheckedCmaEsSampler"]

_HARMLESS = {
    ("cmaes._cma", "CMA"),
    ("cmaes._cmawm", "CMAwM"),
    ("cmaes._sepcma", "SepCMA"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}
"""Classes and functions of a state: pickles can call any other one that is installed."""

_MARK = "optimizer:"


class CheckedCmaEsSampler(CmaEsSampler):
    """`CmaEsSampler` for storages that others can write: a pickle of theirs runs nothing."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of a trial.

        Raises
        ------
        StorageError
            If a state in the storage is no state of this sampler.
        """
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        for other in study.get_trials(deepcopy=False, states=ended):
            self._check(other)
        return super().sample_relative(study, trial, search_space)

    def _check(self, trial: FrozenTrial) -> None:
        state = _state_of(trial.system_attrs)
        checked: set[int] = self.__dict__.setdefault("_checked", set())
        if not state or hash(state) in checked:
            return
        try:
            _Checking(io.BytesIO(bytes.fromhex(state))).load()
        except Exception as error:  # a damaged pickle may raise anything
            raise StorageError(
                f"Trial {trial.number} has a state of CMA-ES that is not loaded: {error}. Start "
                "the study anew (--fresh), or choose another sampler."
            ) from error
        checked.add(hash(state))


class _Checking(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _state_of(attrs: Mapping[str, Any]) -> str:
    """Return the state in a trial's attributes, ``<prefix>optimizer:<i>``; empty without one."""
    parts = {key.rpartition(":")[2]: text for key, text in attrs.items() if _MARK in key}
    return "".join(str(parts.get(str(i), "")) for i in range(len(parts)))
