"""Makes the pictures in docs/screens: what a user sees of a study, wherever it shows.

python docs/make_screens.py

The quick start is run in a folder of its own, in a terminal of 80 x 24 (tmux); ``hpo ui`` serves
its pages of MLflow, ``hpo show`` writes its report, and the notebook's cells are run. Chromium,
without a window, looks at all of them. Needs Chromium (or Chrome) and tmux on the path, and takes
some minutes. ``--only report notebook`` makes some of the pictures.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from screen_parts import Terminal, drawn, notebook_page

ROOT = Path(__file__).parents[1]
SCREENS = ROOT / "docs" / "screens"
STUDY = "studies/digits_mlp.py"
HPO = (sys.executable, "-c", "from hpo.cli import main; main()")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PARTS = ("terminal", "mlflow", "report", "notebook")
SIZES = {"trials": (1720, 800), "study": (1720, 900)}
PAGE = (1180, 900)
"""The first screen of the report and of the notebook."""
LONG = 4200
"""Height of the picture of a whole report or notebook."""
N_TRIALS = 30
MANY = 300
MANY_NAME = "digits_linear"
MANY_STUDY = """
from sklearn.linear_model import SGDClassifier
from hpo import Study
from hpo.data import load_digits

study = Study(
    name="digits_linear",
    estimator=SGDClassifier(random_state=0),
    data=load_digits,
    search_space={
        "loss": ["log_loss", "modified_huber", "hinge"],
        "learning_rate": ["optimal", "constant", "invscaling"],
        "eta0": {"type": "float", "low": 1e-6, "high": 1.0, "log": True},
        "alpha": {"type": "float", "low": 1e-7, "high": 1.0, "log": True},
        "average": [False, True],
    },
    scoring="accuracy",
    cv=3,
    epochs=12,
    costs=["seconds"],
    compare=["loss"],
)
"""
"""A study of many trials that takes a minute."""
ASSISTANT = 0.258
"""Share of the width that a panel beside MLflow's pages takes, which it opens for a new browser."""
COLORS = 128
PATIENCE_MS = 30_000
"""How long, by the browser's own clock, a page may load what it shows."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, run the studies, and write the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default=STUDY, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--screens", type=Path, default=SCREENS)
    given = parser.parse_args(argv)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        parser.error(f"none of {', '.join(BROWSERS)} is on the path")
    given.screens.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("studies", "search_spaces"):
            shutil.copytree(ROOT / part, folder / part)
        look = partial(take, browser, profile=folder / "browser")
        made = {"terminal": terminal, "mlflow": mlflow, "report": report, "notebook": notebook}
        for part in (part for part in PARTS if part in given.only):
            made[part](folder, given.study, given.screens, look)
            print(part, flush=True)
    for path in sorted(given.screens.glob("*.png")):
        print(f"{path.stat().st_size / 1000:7.0f} kB  {path.name}")


def terminal(folder: Path, study: str, screens: Path, look: partial[None]) -> None:
    """Run the study in a terminal of 80 x 24: the live display, its end, and ``hpo show``."""
    n = N_TRIALS
    with Terminal(folder, HPO) as screen:
        pictures = {
            "live": screen.run(f"hpo run {study} --n-trials {n}", late=n),
            "end": screen.wait(),
            "show": screen.run(f"hpo show {Path(study).stem}"),
            "trial": screen.run(f"hpo show {Path(study).stem} --trial 1"),
        }
    for name, picture in pictures.items():
        page, size = drawn(picture, folder / f"{name}.svg")
        look(page.as_uri(), screens / f"terminal_{name}.png", size)


def mlflow(folder: Path, study: str, screens: Path, look: partial[None]) -> None:
    """Serve the study as ``hpo ui`` does, and look at each page whose address it prints."""
    run(folder, "run", study, "--n-trials", str(N_TRIALS), "--register", "digits")
    left = set(SIZES)
    command = [*HPO, "ui", Path(study).stem]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                page, _, address = line.strip().partition("  ")
                if page in left:
                    left.remove(page)
                    picture = screens / f"mlflow_{page}.png"
                    look(address.strip(), picture, SIZES[page], cut=ASSISTANT)
                if not left:
                    break
        finally:
            server.send_signal(signal.SIGTERM)  # a shell may have the background ignore Ctrl-C


def report(folder: Path, study: str, screens: Path, look: partial[None]) -> None:
    """Write the report of the study with few and with many trials, and look at it."""
    many = folder / f"{MANY_NAME}.py"
    many.write_text(MANY_STUDY)
    for n, file in ((N_TRIALS, study), (MANY, many.name)):
        run(folder, "run", file, "--n-trials", str(n), "--tracker", "null")
        run(folder, "show", Path(file).stem, "--plots", f"report_{n}")
        page = (folder / f"report_{n}" / "report.html").as_uri()
        look(page, screens / f"report_{n}.png", PAGE)
        look(page, screens / f"report_{n}_whole.png", (PAGE[0], LONG), colors=64)


def notebook(folder: Path, study: str, screens: Path, look: partial[None]) -> None:
    """Run the cells of the notebook, and look at them with what they show."""
    page = folder / "notebook.html"
    page.write_text(notebook_page(ROOT / "docs" / "quick_start.ipynb", folder))
    look(page.as_uri(), screens / "notebook.png", (1000, 2300), colors=64)


def run(folder: Path, *args: str) -> None:
    """Run a command of hpo in the folder."""
    subprocess.run([*HPO, *args], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def take(
    browser: str,
    url: str,
    path: Path,
    size: tuple[int, int],
    *,
    profile: Path,
    cut: float = 0.0,
    colors: int = COLORS,
) -> None:
    """Write a picture of a page, small enough for a repository.

    Parameters
    ----------
    browser : str
    url : str
    path : Path
    size : (int, int)
        Width and height in pixels.
    profile : Path
        Folder of the browser, which is made anew.
    cut : float, default=0.0
        Share of the width to leave out at the right.
    colors : int
    """
    shutil.rmtree(profile, ignore_errors=True)
    width, height = size
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        f"--virtual-time-budget={PATIENCE_MS}",
        f"--screenshot={path}",
        url,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240, env=os.environ)
    with Image.open(path) as image:
        page = image.crop((0, 0, round(width * (1 - cut)), height)).convert("RGB")
    page.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
