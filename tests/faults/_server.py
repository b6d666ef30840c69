"""An MLflow server, and a proxy before it that answers as servers in trouble do."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hpo.trackers.mlflow import ui_command

HTML = b"<html><body>Please sign in to the network.</body></html>"


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs a command whose files cannot become larger than so many bytes."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A real tracking server over an SQLite file.

    Parameters
    ----------
    database : Path
    most_bytes : int or None
        How large a file of its may become: what is more finds the disk full.
    """

    def __init__(self, database, most_bytes=None):
        self.port = free_port()
        limit = [] if most_bytes is None else [sys.executable, "-c", LIMITED, str(most_bytes)]
        self._process = subprocess.Popen(
            [*limit, *ui_command(f"sqlite:///{database}", port=self.port)],
            env=os.environ
            | {
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five processes fewer
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def close(self):
        os.killpg(self._process.pid, 15)
        self._process.wait()


class Proxy:
    """Hands requests on to a server, or answers as `mode` says.

    ``fine``, ``away`` (the connection is closed), ``silent`` (no answer comes), ``error`` (500),
    ``html`` (a page in the place of JSON), ``half`` (an answer that is cut short).

    Parameters
    ----------
    port : int
        The server's.

    Attributes
    ----------
    mode : str
    delay : float
        Seconds before a request is handed on.
    n_requests : int
    on_request : callable
        Called with the number of each request; may change `mode`.
    """

    def __init__(self, port):
        self.mode, self.delay, self.n_requests = "fine", 0.0, 0
        self.on_request = lambda number: None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                proxy.n_requests += 1
                proxy.on_request(proxy.n_requests)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.mode == "away":
                    self.close_connection = True
                elif proxy.mode == "silent":
                    proxy.closing.wait(60)
                    self.close_connection = True
                elif proxy.mode == "error":
                    self.tell(500, b"internal error", "text/plain")
                elif proxy.mode == "html":
                    self.tell(200, HTML, "text/html")
                else:
                    proxy.closing.wait(proxy.delay)
                    self.hand_on(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def hand_on(self, body):
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                server.request(self.command, self.path, body, headers)
                answer = server.getresponse()
                content = answer.read()
                server.close()
                kind = answer.headers.get("Content-Type", "application/json")
                self.tell(answer.status, content, kind, cut=proxy.mode == "half")

            def tell(self, status, content, kind, cut=False):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if cut else content)
                self.close_connection = self.close_connection or cut

            def log_message(self, *args):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass  # who asked has been killed

        self.closing = threading.Event()
        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
