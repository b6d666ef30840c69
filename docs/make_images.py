"""Makes the pictures in docs/images from a run of the quick start.

python docs/make_images.py

The command runs in a terminal of its own; what it prints there is kept, and two of its pictures
are drawn as SVG: the live display late in the search, and the outcome. The learning curves are
those of the report. Nothing is written by hand, so a new run shows what the program shows then.
"""

import argparse
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.console import Console
from rich.padding import Padding
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
STUDY = "studies/digits_mlp.py"
HPO = (sys.executable, "-c", "from hpo.cli import main; main()")
COLUMNS, ROWS = 92, 24
LATE = 0.8
"""Share of the trials that are done in the picture of the live display."""

_REDRAWN = re.compile(r"(?:\r?\x1b\[2K|\r?\x1b\[1A)+")
"""What the live display sends before it draws its next picture over the last one."""
_UNSEEN = re.compile(r"\x1b\[\?\d+[hl]")
_WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)
_FONTS = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
_DONE = re.compile(r"(\d+) of (\d+) trials")
_EPOCH = re.compile(r"epoch (\d+)/(\d+)")

THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (201, 209, 217),
    ],
)
"""Light text on a dark ground, which stands out on a light page and on a dark one."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, run the quick start and write its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default=STUDY, help="default: %(default)s")
    parser.add_argument("--images", type=Path, default=IMAGES)
    given = parser.parse_args(argv)
    given.images.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("studies", "search_spaces"):
            shutil.copytree(ROOT / part, folder / part)
        pictures = drawn_over(printed([*HPO, "run", given.study], folder))
        command = f"hpo run {given.study}"
        draw(late(pictures), command, given.images / "live.svg")
        draw(pictures[-1], command, given.images / "winner.svg")
        report = [*HPO, "show", Path(given.study).stem, "--plots", "report"]
        subprocess.run(report, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        shrink(folder / "report" / "learning_curves.png", given.images / "learning_curves.png")


def printed(command: Sequence[str], folder: Path) -> str:
    """Return what a command prints on a terminal of `COLUMNS` x `ROWS`.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
    environment |= {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    told = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    if code := process.wait():
        raise subprocess.CalledProcessError(code, list(command), output=told)
    return told.decode().replace(f"{folder}/", "")  # whose temporary folder it was tells nothing


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side has closed it
        return b""


def drawn_over(told: str) -> list[str]:
    """Return the pictures of a terminal that were drawn one over the other, with their colors."""
    text = _UNSEEN.sub("", told.replace("\r\n", "\n"))
    return [picture for part in _REDRAWN.split(text) if (picture := part.strip("\r\n"))]


def late(pictures: Sequence[str]) -> str:
    """Return the first picture late in the search with a trial in the middle of its training.

    Raises
    ------
    ValueError
        If there is none.
    """
    for picture in pictures:
        plain = Text.from_ansi(picture).plain
        done, epoch = _DONE.search(plain), _EPOCH.search(plain)
        if done and epoch and _share(done) >= LATE and _share(epoch) >= LATE / 2:
            return picture
    raise ValueError(f"None of {len(pictures)} pictures is late in the search.")


def _share(match: re.Match[str]) -> float:
    return int(match[1]) / int(match[2])


def draw(picture: str, title: str, path: Path, columns: int = COLUMNS) -> None:
    """Write a picture of a terminal as SVG, in fonts that the reader's machine has."""
    lines = Text.from_ansi(picture).split("\n")
    for line in lines:
        line.rstrip()
    console = Console(
        width=columns + 2, record=True, file=StringIO(), force_terminal=True, highlight=False
    )
    console.print(Padding(Text("\n", no_wrap=True).join(lines), 1))
    svg = console.export_svg(title=title, theme=THEME, unique_id=path.stem)
    svg = _WEB_FONTS.sub("", svg).replace("Fira Code, monospace", _FONTS)
    path.write_text("".join(f"{line.rstrip()}\n" for line in svg.splitlines() if line.strip()))


def shrink(source: Path, path: Path) -> None:
    """Write a plot with few colors, which it has."""
    Image.open(source).convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
