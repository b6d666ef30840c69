"""What `make_screens.py` looks at that is no web page by itself: a terminal, and a notebook."""

import ast
import base64
import html
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from make_images import draw

COLUMNS, ROWS = 80, 24
LATE = 0.7
"""Share of the trials that are done in the picture of the live display."""
SECONDS = 600
"""How long a command may take."""
_DONE = re.compile(r"(\d+) of (\d+) trials")
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 24px 32px; color: #1f2328; }
pre { font: 13px/1.4 ui-monospace, monospace; margin: 0; white-space: pre-wrap; }
.in { background: #f6f8fa; border: 1px solid #d0d7de; border-radius: 4px; padding: 8px 12px; }
.out { padding: 8px 12px 14px; }
img { max-width: 100%; }
table { border-collapse: collapse; font-size: 13px; }
td, th { padding: 3px 10px; text-align: right; }
"""


class Terminal:
    """A terminal of 80 x 24, by tmux, in which commands are typed.

    Parameters
    ----------
    folder : Path
        Where they run.
    hpo : sequence of str
        What the command ``hpo`` stands for.
    """

    def __init__(self, folder: Path, hpo: Sequence[str]) -> None:
        self._folder = folder
        self._hpo = hpo
        self._socket = f"hpo-screens-{os.getpid()}"

    def __enter__(self) -> Self:
        start = self._folder / "terminal.sh"
        start.write_text(f"PS1='$ '\nhpo() {{ {shlex.join(self._hpo)} \"$@\"; }}\n")
        shell = f"bash --noprofile --rcfile {shlex.quote(str(start))} -i"
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        config = ["-f", os.devnull]
        self._tmux(*config, "new-session", "-d", *size, "-c", str(self._folder), shell)
        self._tmux("set", "-g", "status", "off")
        self._tmux("resize-window", *size)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tmux("kill-server")

    def run(self, command: str, late: int = 0) -> str:
        """Type a command, and return the screen once it has ended.

        Parameters
        ----------
        command : str
        late : int, default=0
            Return when most of so many trials have ended instead, in the middle of one.
        """
        self._tmux("send-keys", "clear", "Enter")
        time.sleep(0.5)
        self._tmux("send-keys", command, "Enter")
        if not late:
            return self.wait()
        return self._when(lambda screen: _share_done(screen) >= LATE and "epoch" in screen)

    def wait(self) -> str:
        """Return the screen once the prompt is back."""
        time.sleep(1.0)
        return self._when(lambda screen: screen.rstrip().splitlines()[-1:] == ["$"])

    def _when(self, seen: Any) -> str:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if seen(self._tmux("capture-pane", "-p")):
                return self._tmux("capture-pane", "-p", "-e")
            time.sleep(0.2)
        raise TimeoutError(self._tmux("capture-pane", "-p"))

    def _tmux(self, *args: str) -> str:
        command = ["tmux", "-L", self._socket, *args]
        environment = {k: v for k, v in os.environ.items() if k not in {"TMUX", "COLUMNS", "LINES"}}
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, cwd=self._folder
        )
        return done.stdout.replace(f"{self._folder}/", "")  # whose folder it was tells nothing


def _share_done(screen: str) -> float:
    found = _DONE.search(screen)
    return int(found[1]) / int(found[2]) if found else 0.0


def drawn(screen: str, path: Path) -> tuple[Path, tuple[int, int]]:
    """Draw a screen with its colors, and return the picture and its size in pixels."""
    lines = screen.split("\n")[:ROWS]
    draw("\n".join(lines), f"{COLUMNS} x {ROWS}", path, COLUMNS)
    found = _SIZE.search(path.read_text())
    assert found is not None
    width, height = round(float(found[1])), round(float(found[2]))
    page = path.with_suffix(".html")
    page.write_text(f'<body style="margin:0"><img src="{path.name}" width="{width}"></body>')
    return page, (width, height)


def notebook_page(notebook: Path, folder: Path) -> str:
    """Run the cells of a notebook in a folder; return them as HTML with what they show."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parts = []
    with chdir(folder):
        for cell in json.loads(notebook.read_text())["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                title = source.removeprefix("# ")
                parts.append(f"<h1>{title.splitlines()[0]}</h1>" if title != source else "")
                text = title.partition("\n")[2] if title != source else source
                parts.append(f"<p>{_with_code(text)}</p>")
                continue
            parts.append(f'<pre class="in">{html.escape(source)}</pre>')
            parts.append(f'<div class="out">{_shown(source, names)}</div>')
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{''.join(parts)}"


def _with_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _shown(source: str, names: dict[str, Any]) -> str:
    """Run a cell as IPython does, and return what it prints and its last value."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), names)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    text = f"<pre>{html.escape(printed.getvalue())}</pre>" if printed.getvalue() else ""
    return text + ("" if value is None else _as_html(value))


def _as_html(value: Any) -> str:
    shown = value._repr_html_() if hasattr(value, "_repr_html_") else None
    if shown is not None:
        return str(shown)
    if hasattr(value, "_repr_png_"):
        return f'<img src="data:image/png;base64,{base64.b64encode(value._repr_png_()).decode()}">'
    return f"<pre>{html.escape(repr(value))}</pre>"


if __name__ == "__main__":
    sys.exit("Run make_screens.py.")
