import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest

from hpo.cli._ui import _await, _exit_code, _free_port, _server
from hpo.exceptions import StorageError


def _listen(port: int = 0) -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


def test_the_port_asked_for_is_taken_if_it_is_free() -> None:
    with _listen() as probe:
        port = probe.getsockname()[1]
        assert _free_port(port) != port
    assert _free_port(port) == port


def test_a_server_is_awaited_and_ended_with_its_children(tmp_path: Path) -> None:
    with _listen() as probe:
        port = probe.getsockname()[1]
    beat = tmp_path / "beat"
    child = (
        f"import pathlib, time\nwhile True: pathlib.Path({str(beat)!r}).touch(); time.sleep(.02)"
    )
    code = (
        "import subprocess, sys, http.server as h; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler).serve_forever()"
    )
    with tempfile.TemporaryFile() as log:
        with _server([sys.executable, "-c", code], log) as server:
            _await(server, port, log)
            while not beat.exists():
                time.sleep(0.01)
        assert server.returncode is not None
    beat.unlink()
    time.sleep(0.3)
    assert not beat.exists()


def test_a_server_that_does_not_start_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such table: runs')"]
    with tempfile.TemporaryFile() as log, _server(command, log) as server:
        with pytest.raises(StorageError, match="no such table: runs"):
            _await(server, 1, log)
        with pytest.raises(StorageError, match="no such table: runs"):
            _exit_code(server.wait(), log)
