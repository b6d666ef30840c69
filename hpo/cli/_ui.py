"""``hpo ui``: serve MLflow's web interface for the right store, only on this machine."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hpo._redaction import redact
from hpo.cli._console import echo
from hpo.cli._json import print_json
from hpo.cli._storage import readable_storage, stored_name
from hpo.exceptions import HpoError, StorageError
from hpo.storage.stored_study import StoredStudy
from hpo.trackers.mlflow import (
    parent_run,
    resolve_tracking_uri,
    study_url,
    trials_url,
    ui_command,
)

__all__ = ["serve"]

_HOST = "127.0.0.1"
_N_PORTS = 20
_SECONDS_TO_START = 120.0


def serve(
    tracking_uri: str | None,
    port: int,
    name: str | None,
    storage: str | None,
    *,
    as_json: bool = False,
) -> int:
    """Serve the store until Ctrl-C; if it is a server already, print its address.

    Parameters
    ----------
    tracking_uri : str or None
        See `resolve_tracking_uri`.
    port : int
        The first port to try.
    name : str or None
        Study whose page is printed.
    storage : str or None
        The storage of that study; see `named_storage`.
    as_json : bool, default=False
        Print the addresses as JSON once the server answers, and nothing else.

    Returns
    -------
    int
        Exit code: 0 after Ctrl-C, the normal end.

    Raises
    ------
    StorageError
        If there is no such store or study, or the server does not start.
    """
    uri = resolve_tracking_uri(tracking_uri)
    key = _key(name, storage) if name else None
    if uri.startswith(("http://", "https://")):
        _print_pages(uri, uri, name, key, as_json=as_json)
        return 0
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if uri.startswith("sqlite:///") and not path.exists():
        raise StorageError(
            f"There is no tracking store {path}. Run a study here first (`hpo run STUDY.py`), or "
            "name its store with --tracking-uri."
        )
    free = _free_port(port)
    if free != port and not as_json:
        echo(f"Port {port} is taken.")
    if not as_json:
        echo("MLflow is starting ...")
    with tempfile.TemporaryFile() as log, _server(ui_command(uri, _HOST, free), log) as server:
        try:
            _await(server, free, log)
            _print_pages(f"http://{_HOST}:{free}", uri, name, key, as_json=as_json)
            if not as_json:
                echo("Ctrl-C ends it.")
            return _exit_code(server.wait(), log)
        except KeyboardInterrupt:
            return 0


def _key(name: str, storage: str | None) -> str:
    """Return the key of a study in MLflow; names are those of `load_result`."""
    url = readable_storage(storage)
    return StoredStudy(stored_name(name, url), url).key


def _print_pages(
    server: str, uri: str, name: str | None, key: str | None, *, as_json: bool
) -> None:
    """Print where to look: at the study's trials and at the study, or at the server."""
    ids = None if key is None else parent_run(uri, key)
    if key is not None and ids is None:
        raise StorageError(
            f"The study '{name}' has no run in {redact(uri)}. Name its store with --tracking-uri, "
            f"or send it there with `hpo sync {name}`."
        )
    pages = (
        {} if ids is None else {"trials": trials_url(server, ids), "study": study_url(server, ids)}
    )
    if as_json:
        print_json(
            {
                "study": name,
                "tracking_uri": redact(uri),
                "server": redact(server),
                "trials_page": pages.get("trials"),
                "study_page": pages.get("study"),
            }
        )
        return
    if not pages:
        echo(redact(server))
    for what, address in pages.items():
        echo(f"{what:6}  {address}")


def _free_port(first: int) -> int:
    """Return the first free port from ``first`` on, or any."""
    for port in [*range(first, min(first + _N_PORTS, 65536)), 0]:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return int(probe.getsockname()[1])
    raise StorageError(f"No port is free on {_HOST}.")


@contextmanager
def _server(command: list[str], log: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the server in its own process group, and end all its processes."""
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield server
    finally:
        signal.signal(signal.SIGTERM, before)
        for number, timeout in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with suppress(ProcessLookupError):
                os.killpg(server.pid, number)
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout)


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _await(server: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=1.0):
            return
        time.sleep(0.2)
    raise _not_started(log)


def _exit_code(code: int, log: IO[bytes]) -> int:
    if code:
        raise _not_started(log)
    return 0


def _not_started(log: IO[bytes]) -> HpoError:
    log.seek(0)
    tail = log.read().decode(errors="replace").splitlines()[-15:]
    return StorageError("\n".join(["MLflow's server ended:", *tail]))
