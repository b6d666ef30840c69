"""Detect changes of what a module keeps besides its tensors."""

import inspect
import random
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
from torch import nn

from hpo.fused import NotFusibleError

__all__ = ["Attributes", "global_streams"]

_TORCH = {"torch", "builtins", "abc", "typing"}
_TABLES = {"_parameters", "_buffers", "_modules", "_flat_weight_refs", "training"}
_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_CONTAINERS = (*_PLAIN, list, dict, set, tuple, np.ndarray)


class Attributes:
    """The attributes of a module's layers and their classes, and the globals that these read.

    Weights, buffers and ``training`` are not included.

    Parameters
    ----------
    module : torch.nn.Module
    without : tuple of type
        Types of layers to ignore.
    called : str, default="the module"
        Name of the module in messages.
    """

    def __init__(
        self, module: nn.Module, without: tuple[type, ...] = (), *, called: str = "the module"
    ) -> None:
        self._module, self._without, self._called = module, without, called
        self._before = self._collect()

    def check(self, when: str) -> None:
        """Raise `NotFusibleError` if an attribute has changed; ``when`` says what was done."""
        now = self._collect()
        for name in [*self._before, *now]:
            if self._before.get(name, _MISSING) != now.get(name, _MISSING):
                raise NotFusibleError(
                    f"{name} changes {when}: a batch of models would share one value of it (keep "
                    "what changes in a buffer, or do without it)"
                )

    def _collect(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        for path, layer in self._module.named_modules():
            if isinstance(layer, self._without):
                continue
            owner = f" of {self._called}'s part '{path}'" if path else f" of {self._called}"
            for name, value in vars(layer).items():
                is_duplicate = name == "_flat_weights" and isinstance(layer, nn.RNNBase)
                if name not in _TABLES and "_hooks" not in name and not is_duplicate:
                    attributes[f"the attribute '{name}'{owner}"] = _comparable(value)
        for cls in {cls for layer in self._module.modules() for cls in type(layer).__mro__}:
            if cls.__module__.partition(".")[0] not in _TORCH:
                attributes |= {name: _comparable(value) for name, value in _class_attributes(cls)}
        return attributes


class _Missing:
    """The value of an attribute that is not set."""


_MISSING = _Missing()


def _comparable(value: Any) -> Any:
    """Return an object that is equal for equal values and different for different ones."""
    if isinstance(value, _PLAIN):
        return repr(value)
    try:
        return cloudpickle.dumps(value)
    except Exception:
        return id(value)


def _class_attributes(cls: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(cls).items():
        if inspect.isfunction(value):
            yield from _variables_read_by(value, cls.__name__)
        elif isinstance(value, _CONTAINERS) and not name.startswith("__"):
            yield f"the class attribute '{name}' of {cls.__name__}", value


def _variables_read_by(function: Any, owner: str) -> Iterator[tuple[str, Any]]:
    """Yield the global and enclosed variables that a method reads, if they are plain data."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, _CONTAINERS):
            yield f"the global variable '{name}' that {owner} reads", value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        if isinstance(value, _CONTAINERS):
            yield f"the variable '{name}' that {owner} reads", value


def global_streams() -> tuple[Any, ...]:
    """Return the state of the global random generators of Python and NumPy."""
    numpy: Any = np.random.get_state()
    return random.getstate(), numpy[0], numpy[1].tobytes(), *numpy[2:]
