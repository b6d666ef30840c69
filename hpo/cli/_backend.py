"""Flags of ``hpo run`` that are options of the study's backend."""

import inspect
from collections.abc import Mapping
from typing import Any

from hpo._discovery import find, parse_spec
from hpo.backends.base import BaseBackend
from hpo.exceptions import PluginError

__all__ = ["with_options"]

_FLAGS = {
    "address": "--ray-address",
    "cpus_per_trial": "--cpus-per-trial",
    "gpus_per_trial": "--gpus-per-trial",
}


def with_options(backend: str, options: Mapping[str, Any]) -> str:
    """Return the spec of a backend with further options, which outdo those of the same name.

    Parameters
    ----------
    backend : str
        ``"ray"``, ``"ray:max_concurrent=2"``.
    options : mapping of str to object
        What the flags were given, by the name of the backend's option.

    Raises
    ------
    PluginError
        If the backend does not take one of them, or there is no such backend.
    """
    if not options:
        return backend
    name, _ = parse_spec(backend)
    takes = inspect.signature(find("hpo.backends", name, BaseBackend)).parameters
    foreign = [_FLAGS[option] for option in options if option not in takes]
    if foreign:
        raise PluginError(_misplaced(foreign, name))
    told = ",".join(f"{option}={value}" for option, value in options.items())
    return f"{backend}{',' if ':' in backend else ':'}{told}"  # the last of a name counts


def _misplaced(flags: list[str], name: str) -> str:
    need = "needs" if len(flags) == 1 else "need"
    told = f"{' and '.join(flags)} {need} --backend ray. Got the backend '{name}' instead."
    if "--cpus-per-trial" in flags:
        told += " The CPU threads of its trials are set by --n-threads."
    return told
