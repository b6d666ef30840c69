"""What a module keeps beside its tensors: told before and after, so that a change is seen."""

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
    """The attributes of a module's layers, of their classes, and the globals that these read.

    Weights, buffers and ``training`` are left out.

    Parameters
    ----------
    module : torch.nn.Module
    without : tuple of type
        Layers that are not looked at.
    called : str, default="the module"
        In messages.
    """

    def __init__(
        self, module: nn.Module, without: tuple[type, ...] = (), *, called: str = "the module"
    ) -> None:
        self._module, self._without, self._called = module, without, called
        self._known = self._look()

    def check(self, when: str) -> None:
        """Raise `NotFusibleError` if one has changed since; ``when`` says what was done."""
        now = self._look()
        for name in [*self._known, *now]:
            if self._known.get(name, _GONE) != now.get(name, _GONE):
                raise NotFusibleError(
                    f"{name} changes {when}: a batch of models would share one value of it (keep "
                    "what changes in a buffer, or do without it)"
                )

    def _look(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, layer in self._module.named_modules():
            if isinstance(layer, self._without):
                continue
            of = f" of {self._called}'s part '{path}'" if path else f" of {self._called}"
            for name, value in vars(layer).items():
                again = name == "_flat_weights" and isinstance(layer, nn.RNNBase)
                if name not in _TABLES and "_hooks" not in name and not again:
                    found[f"the attribute '{name}'{of}"] = _frozen(value)
        for cls in {cls for layer in self._module.modules() for cls in type(layer).__mro__}:
            if cls.__module__.partition(".")[0] not in _TORCH:
                found |= {name: _frozen(value) for name, value in _of_class(cls)}
        return found


class _Gone:
    """What an attribute is before it is set."""


_GONE = _Gone()


def _frozen(value: Any) -> Any:
    """Return what equals that of the same value, and that of no other one."""
    if isinstance(value, _PLAIN):
        return repr(value)
    try:
        return cloudpickle.dumps(value)
    except Exception:
        return id(value)


def _of_class(cls: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(cls).items():
        if inspect.isfunction(value):
            yield from _read_by(value, cls.__name__)
        elif isinstance(value, _CONTAINERS) and not name.startswith("__"):
            yield f"the class attribute '{name}' of {cls.__name__}", value


def _read_by(function: Any, owner: str) -> Iterator[tuple[str, Any]]:
    """Yield the global and enclosed variables that a method reads, where they are plain data."""
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
    """Return where the random numbers of Python and of NumPy stand."""
    numpy: Any = np.random.get_state()
    return random.getstate(), numpy[0], numpy[1].tobytes(), *numpy[2:]
