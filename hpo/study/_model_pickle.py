"""Pickles of fitted estimators for other processes: what they need goes along or is told."""

import copyreg
import io
import pickletools
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
from skorch import NeuralNet

__all__ = ["pickled_by_value", "requirements_of"]

_ROUNDS = 5
_ALWAYS = ("mlflow", "cloudpickle", "pandas", "scikit-learn")
_EXTRAS = {"hpo.nets._adapted_base": "lora"}
"""Modules of hpo that need an extra of it."""
_INNER = "__cuda_dependent_attributes__"
"""Where skorch keeps the pickle of what is on a device, so that it can be loaded on another one."""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Pickles by value what a skorch net pickles by itself, by reference: module and criterion."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, NeuralNet) and _pickles_its_parts(type(obj)):
            state = dict(vars(obj))
            prefixes = tuple(obj.cuda_dependent_attributes_)
            inner = {name: state.pop(name) for name in list(state) if name.startswith(prefixes)}
            return copyreg.__newobj__, (type(obj),), {**state, _INNER: _dumps(inner)}  # type: ignore[attr-defined]
        return super().reducer_override(obj)


def _pickles_its_parts(net: type[NeuralNet]) -> bool:
    """Return whether a net pickles its module as it is known here; another way is left to it."""
    known = NeuralNet.__getstate__
    code = getattr(known, "__code__", None)
    return net.__getstate__ is known and code is not None and _INNER in code.co_consts


def _dumps(obj: Any) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file).dump(obj)
        return file.getvalue()


def pickled_by_value(estimator: Any) -> tuple[bytes, set[str], list[str]]:
    """Return the pickle of an estimator, the modules that it needs, and those that no package has.

    Modules that no other process can import, as they are of no installed package, travel by value:
    the file of the study, and what it imports from its folder. The last list is empty unless
    one of them cannot be pickled.
    """
    content = _dumps(estimator)
    with ExitStack() as stack:
        by_value: set[str] = set()
        for _ in range(_ROUNDS):
            modules = set(_modules_in(content))
            new = {name for name in modules if _is_local(name)} - by_value
            if not new:
                break
            for name in new - set(cloudpickle.list_registry_pickle_by_value()):
                cloudpickle.register_pickle_by_value(sys.modules[name])
                stack.callback(cloudpickle.unregister_pickle_by_value, sys.modules[name])
            try:
                content = _dumps(estimator)
            except Exception:  # a module may hold anything
                return content, modules, sorted(new)
            by_value |= new
    return content, modules, []


def _modules_in(content: bytes) -> Iterator[str]:
    """Return the names of the loaded modules that stand in a pickle, by which it refers to them."""
    for _, argument, _ in pickletools.genops(content):
        if isinstance(argument, str) and argument.partition(" ")[0] in sys.modules:
            yield argument.partition(" ")[0]
        if isinstance(argument, bytes) and argument[:1] == b"\x80":  # a pickle in the pickle
            with suppress(ValueError):
                yield from _modules_in(argument)


def _is_local(name: str) -> bool:
    """Return whether a module belongs to no installed package, nor to Python."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name == "__main__" or name.partition(".")[0] in _distributions():
        return False
    path = Path(file).resolve()
    roots = {Path(place).resolve() for place in sysconfig.get_paths().values()}
    return not any(path.is_relative_to(root) for root in roots)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def requirements_of(modules: set[str]) -> list[str]:
    """Return the packages that have these modules, each with its version: ``skorch==1.4.0``."""
    tops = {name.partition(".")[0] for name in modules}
    names = {each for top in tops for each in _distributions().get(top, ())} | set(_ALWAYS)
    extras = ",".join(sorted({extra for name, extra in _EXTRAS.items() if name in modules}))
    found = []
    for name in sorted(names, key=str.lower):
        with suppress(metadata.PackageNotFoundError):
            version = metadata.version(name).partition("+")[0]  # 2.11.0+cpu is on no index
            extra = f"[{extras}]" if extras and name.startswith("hpo") else ""
            found.append(f"{re.sub(r'[-_.]+', '-', name).lower()}{extra}=={version}")
    return list(dict.fromkeys(found))
