"""Describe estimators by parameters, modules by weights, other objects by their state."""

import copyreg
import io
import logging
import sys
import threading
import weakref
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from hpo._private_parts import note_missing
from hpo.identity._base import BaseDescriber
from hpo.identity._description import Description, cut, leaf, mark_of, unknown
from hpo.identity._origin import singleton_name

__all__ = ["describe_estimator", "describe_module", "describe_object", "is_estimator", "is_module"]

_WITHOUT_EFFECT = {"n_jobs", "verbose"}
"""Parameters that do not affect the score; their meaning is the same in all of scikit-learn."""

_REQUESTS = ("_metadata_request", "_sklearn_output_config")
"""Attributes that ``set_fit_request`` and ``set_output`` set, and that a clone keeps."""

_HANDLES = (
    type(threading.Lock()),
    type(threading.RLock()),
    logging.Logger,  # named after its module, which differs under `hpo run`
    logging.Handler,
    io.TextIOBase,
    io.RawIOBase,
    io.BufferedIOBase,
)
"""Objects without a value, which are described by their type only."""

_MODULE_INTERNALS = {
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
    "training",
}


def is_estimator(value: Any) -> bool:
    """Return whether a value has parameters like scikit-learn's estimators."""
    return callable(getattr(type(value), "get_params", None))


def describe_estimator(of: BaseDescriber, value: Any) -> Description:
    """Return the description of an estimator by its parameters."""
    try:
        params = value.get_params(deep=False)
    except Exception:  # its own code
        return describe_object(of, value)
    used = {
        k: v
        for k, v in params.items()
        if k not in _WITHOUT_EFFECT and not _is_skorch_internal(value, k)
    }
    attributes = getattr(value, "__dict__", {})
    stateful = of.stateful or _keeps_its_state(value)
    state = {
        k: v for k, v in attributes.items() if k in _REQUESTS or (stateful and k not in params)
    }
    with of.with_state() if stateful else nullcontext():
        parts = {name: of.describe(used[name]) for name in sorted(used)}
    with of.with_state():
        parts |= {name: of.describe(state[name]) for name in sorted(state)}
    return _describe_parts(of, "estimator", value, parts, type(value).__name__)


def _is_skorch_internal(value: Any, name: str) -> bool:
    """Return whether a parameter is skorch's internal record of the other parameters."""
    return hasattr(value, "prefixes_") and name.startswith("_")


def _keeps_its_state(value: Any) -> bool:
    """Return whether a clone of an estimator stays fitted, like a ``FrozenEstimator``."""
    base = sys.modules.get("sklearn.base")
    custom = getattr(type(value), "__sklearn_clone__", None)
    default = getattr(getattr(base, "BaseEstimator", None), "__sklearn_clone__", None)
    return custom is not None and custom is not default


def _describe_parts(
    of: BaseDescriber, kind: str, value: Any, parts: Mapping[str, Description], text: str
) -> Description:
    cls = of.describe(type(value))
    mark = mark_of(kind, *parts, of=[cls.mark, *(part.mark for part in parts.values())])
    return Description(text, mark, parts)


def is_module(value: Any) -> bool:
    """Return whether a value is a torch module."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def describe_module(of: BaseDescriber, value: Any) -> Description:
    """Return the description of a torch module: its settings, weights and submodules.

    Whether it is in training or evaluation mode does not count.
    """
    state = {
        k: v for k, v in vars(value).items() if k not in _MODULE_INTERNALS and "hooks" not in k
    }
    parts: dict[str, Description] = {}
    with of.with_state():
        parts |= {name: of.describe(state[name]) for name in sorted(state)}
        parts |= {name: _hooks(of, h) for name, h in sorted(vars(value).items()) if "hooks" in name}
        weights = _table_of(value, "_parameters", value.named_parameters(recurse=False))
        parts |= {name: _weight(of, weight) for name, weight in weights.items()}
        buffers = _table_of(value, "_buffers", value.named_buffers(recurse=False))
        parts |= {name: of.describe(buffer) for name, buffer in buffers.items()}
        inner = _table_of(value, "_modules", value.named_children())
        parts |= {name: of.describe(module) for name, module in inner.items()}
    return _describe_parts(of, "module", value, parts, type(value).__name__)


def _table_of(module: Any, table: str, public: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return a module's direct parameters, buffers or submodules, also those that are None."""
    members: Mapping[str, Any] | None = vars(module).get(table)
    if members is not None:
        return members
    note_missing(
        "torch",
        f"Module.{table}",
        "the parts of a module that are None are no part of a study's fingerprint, so that a study "
        "made before may be refused",
    )
    return dict(public)


def _hooks(of: BaseDescriber, hooks: Any) -> Description:
    """Return the description of hooks without their keys, which only count registrations."""
    return of.describe(list(hooks.values()) if isinstance(hooks, Mapping) else hooks)


def _weight(of: BaseDescriber, weight: Any) -> Description:
    if weight is None:
        return of.describe(None)
    if type(weight).__name__.startswith("Uninitialized"):
        return leaf("lazy", type(weight).__name__)
    values = of.describe(weight)
    shape = " x ".join(map(str, weight.shape))
    text = f"{shape} weights" if weight.requires_grad else f"frozen {shape} weights"
    return Description(text, mark_of("weight", str(weight.requires_grad), of=[values.mark]))


def describe_object(of: BaseDescriber, value: Any) -> Description:
    """Return the description of any other object: its class and its state, as in a pickle."""
    special = _special(of, value)
    if special is not None:
        return special
    try:
        reduced = _reduce(value)
    except Exception as error:  # the object's own code
        if not hasattr(value, "__dict__"):
            return unknown(f"a {type(value).__name__}", f"{type(error).__name__}: {error}")
        reduced = (type(value), (), vars(value))
    if isinstance(reduced, str):
        home = str(getattr(value, "__module__", ""))
        return leaf("named", reduced, of.describe(type(value)).mark, home, reduced)
    with of.with_state():
        parts = _parts(of, reduced)
        return _describe_parts(of, "object", value, parts, _text(value, parts))


def _special(of: BaseDescriber, value: Any) -> Description | None:
    """Return the description of objects that need special treatment; None for all others."""
    kind = type(value).__name__
    name = singleton_name(value, of.singletons)
    if name is not None:
        return leaf("named", name)
    if isinstance(value, _HANDLES) and not isinstance(value, io.StringIO | io.BytesIO):
        return leaf("handle", kind)
    if hasattr(type(value), "__next__") and not hasattr(value, "__dict__"):
        return unknown(f"a {kind}", "it gives its items once")
    if isinstance(value, weakref.ref):
        return Description(kind, mark_of("weakref", of=[of.describe(value()).mark]))
    if hasattr(value, "__wrapped__") and not hasattr(value, "get_params"):  # functools.lru_cache
        return Description(kind, mark_of("wrapper", kind, of=[of.describe(value.__wrapped__).mark]))
    return None


def _reduce(value: Any) -> Any:
    reduce = copyreg.dispatch_table.get(type(value))
    return reduce(value) if reduce is not None else value.__reduce_ex__(4)


def _parts(of: BaseDescriber, reduced: tuple[Any, ...]) -> dict[str, Description]:
    """Return the descriptions of an object's constructor arguments, state and items."""
    make, args, state, items, pairs, *_ = (*reduced, None, None, None, None)
    parts: dict[str, Description] = {}
    constructor = (
        args[1:] if getattr(make, "__name__", "").startswith("__newobj") else (make, *args)
    )
    if constructor:
        parts["made by"] = of.describe(tuple(constructor))
    levels = state if isinstance(state, tuple) and _is_dict_and_slots(state) else (state,)
    for level in levels:
        if isinstance(level, dict) and all(isinstance(name, str) for name in level):
            parts |= {name: of.describe(level[name]) for name in sorted(level)}
        elif level is not None:
            parts["state"] = of.describe(level)
    if items is not None:
        parts["items"] = of.describe(list(items))
    if pairs is not None:
        parts["pairs"] = of.describe(dict(pairs))
    return parts


def _is_dict_and_slots(state: tuple[Any, ...]) -> bool:
    return len(state) == 2 and isinstance(state[1], dict)


def _text(value: Any, parts: Mapping[str, Description]) -> str:
    """Return the repr of an object, or its class and state if the repr contains an address."""
    try:
        text = repr(value)
    except Exception:  # the object's own code
        text = ""
    if text and len(text) < 200 and not text.startswith("<") and " at 0x" not in text:
        return cut(text)
    state = ", ".join(f"{name}={part.text}" for name, part in parts.items() if name != "made by")
    return cut(f"{type(value).__name__}({state})")
