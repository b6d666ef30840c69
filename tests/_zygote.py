"""A process that has loaded hpo and forks commands: a run in a second instead of six.

Reads orders from standard input, one JSON object a line (``args``, ``folder``, ``variables``,
``output``, ``errors``, ``setup``, ``code``), and answers with ``{"started": pid}`` at once and
``{"ended": pid, "code": code}`` when that process has ended.
"""

import json
import os
import selectors
import signal
import sys
import traceback
import types
from contextlib import suppress


def load():
    """Import what every run needs; a module that starts threads must not be among them."""
    import filelock  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import sqlalchemy  # noqa: F401
    import torch  # noqa: F401

    import hpo.cli._launch
    import hpo.review.report
    import hpo.study.run  # noqa: F401


def become(order):
    """Run the command of an order in this process, a fork."""
    os.setsid()
    # What started the tests may have them ignored: nohup, or a shell in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(order["folder"])
    os.environ.update(order["variables"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    code = 1
    try:
        if order["code"]:
            run_python(order["code"], order["args"])
            code = 0
        else:
            exec(order["setup"], {"__name__": "setup"})
            from hpo.cli import main

            sys.argv = ["hpo", *order["args"]]
            code = main() or 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    # As an interpreter ends: `multiprocessing` closes what it has started.
    import atexit
    import threading

    threading._shutdown()
    atexit._run_exitfuncs()
    with suppress(Exception):  # what ran may have closed it
        sys.stdout.flush()
    os._exit(code)


def run_python(code, args):
    """Run a text as ``python -c`` does."""
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    sys.argv = ["-c", *args]
    exec(compile(code, "<string>", "exec"), vars(main))


def answer(**content):
    os.write(1, f"{json.dumps(content)}\n".encode())


def serve():
    load()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    answer(ready=True)
    pending, alive = b"", set()
    while True:
        if selector.select(0.02):
            read = os.read(0, 65536)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for order in map(json.loads, lines):
                pid = os.fork()
                if not pid:
                    become(order)
                alive.add(pid)
                answer(started=pid)
        for pid in list(alive):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                alive.discard(pid)
                answer(ended=pid, code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
