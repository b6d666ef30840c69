"""A real MLflow server over an SQLite file, on loopback."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

from hpo.trackers.mlflow import ui_command

SECONDS_TO_START = 120

LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs a command whose files cannot become larger than so many bytes."""


class MlflowServer:
    """A tracking server, which always has the same address.

    Parameters
    ----------
    database : Path
    most_bytes : int or None
        How large a file of its may become: what is more finds the disk full.
    """

    def __init__(self, database, most_bytes=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._database = database
        self._limit = [] if most_bytes is None else [sys.executable, "-c", LIMITED, str(most_bytes)]
        self._process = None

    def start(self):
        """Start it, if it does not run, and wait until it answers."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [*self._limit, *ui_command(f"sqlite:///{self._database}", port=self.port)],
            env=os.environ
            | {
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five processes fewer
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self):
        """End it with its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, 15)
            self._process.wait()
