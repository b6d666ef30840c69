"""A proxy before an MLflow server, which answers as servers in trouble do."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = b"<html><body>Please sign in to the network.</body></html>"


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
