"""Executors by name, or as classes and functions."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hpo._discovery import (
    check_class,
    check_options,
    find,
    instantiate,
    names,
    parse_spec,
    plugins,
)
from hpo.exceptions import PluginError
from hpo.executors.base import BaseExecutor
from hpo.training import BaseObjective

__all__ = ["make_executor"]


def make_executor(
    spec: Any,
    objective: BaseObjective,
    *,
    n_jobs: int | None,
    n_threads: int,
    device: str | None,
    seed: int,
) -> BaseExecutor:
    """Return the executor that ``spec`` names.

    Parameters
    ----------
    spec : str, type or callable
        ``"process"``, ``"process:n_jobs=4"``, ``"my_module:MyExecutor"``; a subclass of
        `BaseExecutor`; or a function of the objective that returns an executor.
    objective : BaseObjective
    n_jobs, n_threads, device, seed
        Passed to executors that accept them, unless the options set them.

    Raises
    ------
    PluginError
        If the name or an option is unknown, a value is refused, or ``serial`` is asked to train
        several trials at a time.
    """
    defaults = {"n_jobs": n_jobs, "n_threads": n_threads, "device": device, "seed": seed}
    if not isinstance(spec, str):
        return _from_callable(spec, objective, defaults)
    name, options = parse_spec(spec)
    if name == "serial" and n_jobs not in {None, 1}:
        raise PluginError(
            f"executor 'serial' trains one trial at a time, and n_jobs={n_jobs} asks for several. "
            "Leave the executor out, or name 'process', 'fused' or 'auto'; or set n_jobs=1."
        )
    cls = find("hpo.executors", name, BaseExecutor)
    others = partial(plugins, "hpo.executors", BaseExecutor)
    check_options(f"executor '{name}'", cls, options, given=["objective"], others=others)
    executor: BaseExecutor = _call(f"executor '{name}'", cls, objective, options, defaults)
    return executor


def _from_callable(
    make: Any, objective: BaseObjective, defaults: Mapping[str, Any]
) -> BaseExecutor:
    """Return the executor that a class or a callable (such as a `functools.partial`) makes."""
    if isinstance(make, BaseExecutor) or not callable(make):
        raise PluginError(
            f"The executor must be a name ({', '.join(names('hpo.executors'))}), MODULE:CLASS, a "
            "BaseExecutor class or a function that takes the objective and returns an executor. "
            f"Got {make!r} instead."
        )
    label = f"executor {getattr(make, '__name__', type(make).__name__)}"
    if inspect.isclass(make):
        check_class(label, make, BaseExecutor)
    executor: Any = _call(label, make, objective, {}, defaults)
    if not isinstance(executor, BaseExecutor):
        raise PluginError(f"{label} must return a BaseExecutor. It returned {executor!r}.")
    return executor


def _call(
    label: str,
    make: Callable[..., Any],
    objective: BaseObjective,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Any:
    parameters = inspect.signature(make).parameters
    arguments = {key: value for key, value in defaults.items() if key in parameters}
    if isinstance(make, partial):  # its own keywords take precedence
        arguments = {key: value for key, value in arguments.items() if key not in make.keywords}
    return instantiate(label, make, objective, **{**arguments, **options})
