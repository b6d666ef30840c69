"""Connect to a Ray cluster, or start a private one, and check its resources."""

import importlib
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from hpo._private_parts import private_part
from hpo.exceptions import ExecutorError

__all__ = ["check_slots", "connected", "missing", "n_slots"]

_MIN_VERSION = (2, 60)
_CONNECT_TIMEOUT = 10.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do by itself, without its warning
    "RAY_AIR_NEW_OUTPUT": "0",  # no progress tables
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a study stay what they are
    "RAY_TQDM_PATCH_PRINT": "0",  # `print` stays itself, or what refers to it cannot be pickled
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard file a trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the study's
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # the trial store is what a study goes on from
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # our searcher knows how many fit
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they are in the records
}

_SET_BY_RAY = ("PYTHONBREAKPOINT", "RAY_AUTH_MODE", "RAY_CLIENT_MODE")
"""Variables that Ray sets and does not reset: `breakpoint` would open Ray's debugger."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect this process to the cluster at ``address`` inside the block.

    An existing connection is used and kept. Without one, None starts a private
    Ray on this machine, without a dashboard, and shuts it down at the end.

    Raises
    ------
    ExecutorError
        If Ray is missing, too old or not reachable.
    """
    address = None if address == "local" else address
    with _environment():
        ray = _import_ray()
        logging.getLogger("ray").setLevel(logging.ERROR)  # Ray's import has set its own
        if ray.is_initialized():
            yield
            return
        _start(ray, address)
        try:
            yield
        finally:
            ray.shutdown()


def n_slots(resources: Mapping[str, float]) -> int:
    """Return how many trials with these resources the cluster can run at a time."""
    return sum(_slots_of_node(node, resources) for node in _nodes())


def check_slots(resources: Mapping[str, float]) -> None:
    """Raise `ExecutorError` if no node is large enough for a trial with these resources."""
    if n_slots(resources):
        return
    nodes = _nodes()
    available = "; ".join(
        _format_resources({k: node.get(k, 0.0) for k in resources}) for node in nodes
    )
    where = "its one node has" if len(nodes) == 1 else f"its {len(nodes)} nodes have"
    raise ExecutorError(
        f"A trial wants {_format_resources(resources)} on one node, which this Ray cluster can "
        f"never give: {where} {available}. Ask for less (cpus_per_trial, gpus_per_trial, "
        "resources), or start a node that has it."
    )


def _nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _slots_of_node(node: Mapping[str, float], resources: Mapping[str, float]) -> int:
    return min(_multiples(node.get(name, 0.0), amount) for name, amount in resources.items())


def _multiples(total: float, amount: float) -> int:
    """Return how often ``amount`` fits into ``total``; a fraction never spans two units."""
    if amount < 1:
        return math.floor(total) * math.floor(1 / amount + 1e-9)
    return math.floor(total / amount + 1e-9)


def _format_resources(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())


def missing(error: ImportError) -> ExecutorError:
    """Return the error that explains how to install Ray Tune."""
    return ExecutorError(
        f"backend 'ray' needs Ray Tune, which cannot be imported: {error}. "
        "pip install 'ray[tune]', or use backend='optuna'."
    )


def _import_ray() -> Any:
    try:
        import ray
        from ray import tune as tune  # noqa: PLC0414  # its parts may be missing where ray is not
    except ImportError as error:
        raise missing(error) from error
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < _MIN_VERSION:
        raise ExecutorError(
            f"backend 'ray' needs Ray {'.'.join(map(str, _MIN_VERSION))} or newer. Got "
            f"{ray.__version__} instead: pip install -U 'ray[tune]'."
        )
    return ray


def _start(ray: Any, address: str | None) -> None:
    if (address or "").startswith("ray://"):
        raise ExecutorError(
            f"address '{address}' is one of Ray Client, which runs the driver elsewhere. Start "
            "this study on a node of the cluster with address=auto, or name host:port."
        )
    try:
        private = _is_private(ray, _found(ray, address))
        with _keep_signal_handlers(), _on_loopback() if private else nullcontext():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=None if address else False,
            )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        action = "started on this machine" if address is None else f"reached at '{address}'"
        remedy = (
            "Free memory and disk space under /tmp, or use backend='optuna'."
            if address is None
            else "Start one with 'ray start --head', or leave the address out for a private one. "
            "A cluster that asks for a token wants RAY_AUTH_MODE=token in the environment."
        )
        raise ExecutorError(f"Ray cannot be {action}: {error}. {remedy}") from error


def _found(ray: Any, address: str | None) -> str | None:
    """Return ``host:port`` of the cluster; raise `OSError` if it cannot be reached.

    Ray itself would take minutes to notice.
    """
    if address == "auto":
        address = _running_cluster()
    if address is not None and _parts(address):
        _check_reachable(address)
    return address


def _running_cluster() -> str:
    """Return the address of the cluster running here or named by the environment."""
    find = private_part(
        "ray._private.services",
        "get_ray_address_from_environment",
        "Ray looks for a cluster itself, and takes minutes to tell that there is none",
    )
    return "auto" if find is None else str(find("auto", None))


def _is_private(ray: Any, address: str | None) -> bool:
    """Return whether a cluster listens only on this machine's loopback address.

    Ray replaces ``127.0.0.1`` by this machine's external address, if it is known.
    """
    if address is None:
        return True
    host, port = _parts(address) or ("", 0)
    if host not in _LOOPBACK:
        return False
    try:
        _check_reachable(f"{ray.util.get_node_ip_address()}:{port}")
    except OSError:
        return True
    return False


def _parts(address: str) -> tuple[str, int] | None:
    host, colon, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if colon and port.isdigit() else None


def _check_reachable(address: str) -> None:
    socket.create_connection(_parts(address) or ("", 0), timeout=_CONNECT_TIMEOUT).close()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray, if started or joined inside the block, use only the loopback address.

    Whoever can reach Ray can run code in it. Ray itself does this on systems without cluster
    support, and has no public option for it on the others.
    """
    constants = _constants()
    if constants is None:
        yield
        return
    previous, name = constants.ENABLE_RAY_CLUSTER, constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    previous_value = os.environ.get(name)
    constants.ENABLE_RAY_CLUSTER = False
    os.environ[name] = "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = previous
        _restore_variable(name, previous_value)


def _constants() -> Any:
    """Return Ray's module with the switch for the loopback address, or None."""
    instead = (
        "it listens on this machine's outer address, and whoever reaches that can run code: keep "
        "its ports closed"
    )
    module = "ray._private.ray_constants"
    for name in ("ENABLE_RAY_CLUSTER", "ENABLE_RAY_CLUSTERS_ENV_VAR"):
        if private_part(module, name, instead) is None:
            return None
    return importlib.import_module(module)


def _restore_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@contextmanager
def _environment() -> Iterator[None]:
    previous = {name: os.environ.get(name) for name in (*_ENVIRONMENT, *_SET_BY_RAY)}
    os.environ.update(_ENVIRONMENT)
    logger = logging.getLogger("ray")
    level = logger.level
    try:
        with _keep_signal_handlers():
            yield
    finally:
        logger.setLevel(level)
        for name, value in previous.items():
            _restore_variable(name, value)


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Undo what Ray does to the driver's signal handlers inside the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM, *_optional_signals()]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _optional_signals() -> list[signal.Signals]:
    return [signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []  # not on Windows
