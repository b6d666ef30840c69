"""Run ``hpo`` commands as processes that can be killed, with all that they have started."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent


class Command:
    """A command that runs.

    Parameters
    ----------
    pid : int
    output : Path
        What it writes to standard output and standard error.
    """

    def __init__(self, pid, output):
        self.pid = pid
        self._output = output
        self._code = queue.Queue()
        self.code = None

    def end(self, code):
        self._code.put(code)

    def wait(self, seconds=120.0):
        """Return the exit code; minus the number of the signal that killed it."""
        if self.code is None:
            try:
                self.code = self._code.get(timeout=seconds)
            except queue.Empty:
                self.kill("all")
                raise AssertionError(f"still running after {seconds} s:\n{self.text}") from None
        return self.code

    @property
    def over(self):
        """Whether it has ended."""
        if self.code is None:
            with suppress(queue.Empty):
                self.code = self._code.get_nowait()
        return self.code is not None

    @property
    def text(self):
        """What it has written so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def processes(self, kind):
        """Return the processes of a kind: driver, follower, worker, server, all."""
        try:
            me = psutil.Process(self.pid)
            children = me.children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        kinds = {"driver": [me], "follower": [], "server": [], "worker": []}
        for child in children:
            with suppress(psutil.Error):
                line = " ".join(child.cmdline())
                if "hpo.trackers" in line:
                    kinds["follower"].append(child)
                elif "forkserver" in line:
                    is_server = child.ppid() == self.pid
                    kinds["server" if is_server else "worker"].append(child)
        return [me, *children] if kind == "all" else kinds[kind]

    def kill(self, kind, number=signal.SIGKILL):
        """Send a signal to the processes of a kind; return how many got it."""
        n = 0
        for process in self.processes(kind):
            with suppress(psutil.Error):
                process.send_signal(number)
                n += 1
        return n


class Commands:
    """Starts commands in forks of a process that has loaded hpo.

    Parameters
    ----------
    variables : dict of str to str
        Environment of the commands, besides this process's.
    """

    def __init__(self, variables):
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "_zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "agg", **variables},
        )
        self._started = queue.Queue()
        self._running = {}
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._started.get(timeout=120) is None  # ready

    def _listen(self):
        for line in self._process.stdout:
            told = json.loads(line)
            if "ended" in told:
                while told["ended"] not in self._running:  # `start` is about to know it
                    time.sleep(0.001)
                self._running.pop(told["ended"]).end(told["code"])
            else:
                self._started.put(told.get("started"))
        self._started.put(-1)

    def start(self, *args, folder, setup="", code="", errors=None, **variables):
        """Start ``hpo`` with these arguments.

        Parameters
        ----------
        *args : str
        folder : Path
            Where it runs.
        setup : str
            Statements that are executed first.
        code : str
            Statements that are executed in the place of ``hpo``, as by ``python -c``.
        errors : Path, optional
            What standard error is written to, if not to the file of standard output.
        **variables : str
            Environment.
        """
        output = folder / f"output-{time.monotonic_ns()}.txt"
        variables.setdefault("HPO_CACHE", str(folder / "cache"))
        order = {
            "args": list(map(str, args)),
            "folder": str(folder),
            "variables": variables,
            "output": str(output),
            "errors": str(errors or output),
            "setup": setup,
            "code": textwrap.dedent(code),
        }
        self._process.stdin.write(f"{json.dumps(order)}\n".encode())
        self._process.stdin.flush()
        pid = self._started.get(timeout=60)
        assert pid != -1, "the process that forks commands has died"
        command = Command(pid, output)
        self._running[pid] = command
        return command

    def run(self, *args, folder, code=0, **options):
        """Run ``hpo`` to its end and return what it has written; ``code`` is what it must exit by.

        None allows any code.
        """
        command = self.start(*args, folder=folder, **options)
        ended = command.wait()
        assert code is None or ended == code, f"exit code {ended}:\n{command.text}"
        return command.text

    def python(self, code, *args, folder, seconds=120.0, **variables):
        """Run ``python -c`` with this code, arguments and environment to its end.

        Returns
        -------
        subprocess.CompletedProcess
        """
        with tempfile.TemporaryDirectory() as place:
            errors = Path(place, "errors")
            command = self.start(*args, folder=folder, code=code, errors=errors, **variables)
            ended = command.wait(seconds)
            return subprocess.CompletedProcess(args, ended, command.text, errors.read_text())

    def close(self):
        """End the process that forks, and commands that are left."""
        for command in list(self._running.values()):
            command.kill("all")
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
