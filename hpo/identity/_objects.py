"""Estimators by their parameters, modules by their weights, other objects by their state."""

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

_NO_MATTER = {"n_jobs", "verbose"}
"""Parameters of estimators that change no score: scikit-learn gives them one meaning."""

_REQUESTS = ("_metadata_request", "_sklearn_output_config")
"""What ``set_fit_request`` and ``set_output`` leave on an estimator, and a clone has too."""

_HANDLES = (
    type(threading.Lock()),
    type(threading.RLock()),
    logging.Logger,  # named after its module, which is another one under `hpo run`
    logging.Handler,
    io.TextIOBase,
    io.RawIOBase,
    io.BufferedIOBase,
)
"""What holds no value: only its type is told."""

_MODULE_OWN = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training"}


def is_estimator(value: Any) -> bool:
    """Return whether a value has parameters as scikit-learn's estimators have."""
    return callable(getattr(type(value), "get_params", None))


def describe_estimator(of: BaseDescriber, value: Any) -> Description:
    """Return the description of an estimator by its parameters."""
    try:
        params = value.get_params(deep=False)
    except Exception:  # its own code
        return describe_object(of, value)
    kept = {k: v for k, v in params.items() if k not in _NO_MATTER and not _is_skorchs(value, k)}
    own = getattr(value, "__dict__", {})
    learned = of.stateful or _keeps_its_state(value)
    state = {k: v for k, v in own.items() if k in _REQUESTS or (learned and k not in params)}
    with of.with_state() if learned else nullcontext():
        parts = {name: of.describe(kept[name]) for name in sorted(kept)}
    with of.with_state():
        parts |= {name: of.describe(state[name]) for name in sorted(state)}
    return _made(of, "estimator", value, parts, type(value).__name__)


def _is_skorchs(value: Any, name: str) -> bool:
    """Return whether a parameter is skorch's own book of the other ones."""
    return hasattr(value, "prefixes_") and name.startswith("_")


def _keeps_its_state(value: Any) -> bool:
    """Return whether a clone of an estimator is as fitted as it is, as of ``FrozenEstimator``."""
    base = sys.modules.get("sklearn.base")
    own = getattr(type(value), "__sklearn_clone__", None)
    plain = getattr(getattr(base, "BaseEstimator", None), "__sklearn_clone__", None)
    return own is not None and own is not plain


def _made(
    of: BaseDescriber, kind: str, value: Any, parts: Mapping[str, Description], text: str
) -> Description:
    cls = of.describe(type(value))
    mark = mark_of(kind, *parts, of=[cls.mark, *(part.mark for part in parts.values())])
    return Description(text, mark, parts)


def is_module(value: Any) -> bool:
    """Return whether a value is a module of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def describe_module(of: BaseDescriber, value: Any) -> Description:
    """Return the description of a module of torch: its settings, weights and submodules.

    Whether it is being trained or evaluated is no part of it.
    """
    state = {k: v for k, v in vars(value).items() if k not in _MODULE_OWN and "hooks" not in k}
    parts: dict[str, Description] = {}
    with of.with_state():
        parts |= {name: of.describe(state[name]) for name in sorted(state)}
        parts |= {name: _hooks(of, h) for name, h in sorted(vars(value).items()) if "hooks" in name}
        weights = _own(value, "_parameters", value.named_parameters(recurse=False))
        parts |= {name: _weight(of, weight) for name, weight in weights.items()}
        buffers = _own(value, "_buffers", value.named_buffers(recurse=False))
        parts |= {name: of.describe(buffer) for name, buffer in buffers.items()}
        inner = _own(value, "_modules", value.named_children())
        parts |= {name: of.describe(module) for name, module in inner.items()}
    return _made(of, "module", value, parts, type(value).__name__)


def _own(module: Any, table: str, public: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return a table of a module's own parts, with those that are None."""
    found: Mapping[str, Any] | None = vars(module).get(table)
    if found is not None:
        return found
    note_missing(
        "torch",
        f"Module.{table}",
        "the parts of a module that are None are no part of a study's fingerprint, so that a study "
        "made before may be refused",
    )
    return dict(public)


def _hooks(of: BaseDescriber, hooks: Any) -> Description:
    """Return the description of hooks, whose keys are numbers of a counter."""
    return of.describe(list(hooks.values()) if isinstance(hooks, Mapping) else hooks)


def _weight(of: BaseDescriber, weight: Any) -> Description:
    if weight is None:
        return of.describe(None)
    if type(weight).__name__.startswith("Uninitialized"):
        return leaf("lazy", type(weight).__name__)
    values = of.describe(weight)
    shape = " x ".join(map(str, weight.shape))
    told = f"{shape} weights" if weight.requires_grad else f"frozen {shape} weights"
    return Description(told, mark_of("weight", str(weight.requires_grad), of=[values.mark]))


def describe_object(of: BaseDescriber, value: Any) -> Description:
    """Return the description of any other object: its class and its state, as pickle takes it."""
    found = _special(of, value)
    if found is not None:
        return found
    try:
        reduced = _reduced(value)
    except Exception as error:  # the object's own code
        if not hasattr(value, "__dict__"):
            return unknown(f"a {type(value).__name__}", f"{type(error).__name__}: {error}")
        reduced = (type(value), (), vars(value))
    if isinstance(reduced, str):
        home = str(getattr(value, "__module__", ""))
        return leaf("named", reduced, of.describe(type(value)).mark, home, reduced)
    with of.with_state():
        parts = _parts(of, reduced)
        return _made(of, "object", value, parts, _text(value, parts))


def _special(of: BaseDescriber, value: Any) -> Description | None:
    """Return the description of what is told by its name or not at all; None of anything else."""
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


def _reduced(value: Any) -> Any:
    reduce = copyreg.dispatch_table.get(type(value))
    return reduce(value) if reduce is not None else value.__reduce_ex__(4)


def _parts(of: BaseDescriber, reduced: tuple[Any, ...]) -> dict[str, Description]:
    """Return the descriptions of what an object is made of and filled with."""
    make, args, state, items, pairs, *_ = (*reduced, None, None, None, None)
    parts: dict[str, Description] = {}
    given = args[1:] if getattr(make, "__name__", "").startswith("__newobj") else (make, *args)
    if given:
        parts["made by"] = of.describe(tuple(given))
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
    """Return an object as it tells of itself, if that holds no address."""
    try:
        told = repr(value)
    except Exception:  # the object's own code
        told = ""
    if told and len(told) < 200 and not told.startswith("<") and " at 0x" not in told:
        return cut(told)
    state = ", ".join(f"{name}={part.text}" for name, part in parts.items() if name != "made by")
    return cut(f"{type(value).__name__}({state})")
