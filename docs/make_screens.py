"""Makes the pictures of MLflow's pages in docs/screens from a run of the quick start.

python docs/make_screens.py

The study is run in a folder of its own, ``hpo ui`` serves it, and Chromium, without a window, looks
at the addresses that it prints. Needs Chromium (or Chrome) on the path, and takes about a minute.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).parents[1]
SCREENS = ROOT / "docs" / "screens"
STUDY = "studies/digits_mlp.py"
HPO = (sys.executable, "-c", "from hpo.cli import main; main()")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZES = {"trials": (1720, 800), "study": (1720, 900)}
ASSISTANT = 0.258
"""Share of the width that a panel beside each page takes, which MLflow opens for a new browser."""
COLORS = 128
PATIENCE_MS = 30_000
"""How long, by the browser's own clock, a page may load what it shows."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, run the study, and write a picture of each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default=STUDY, help="default: %(default)s")
    parser.add_argument("--n-trials", type=int, default=20, help="default: %(default)s")
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
        run = [*HPO, "run", given.study, "--n-trials", str(given.n_trials), "--register", "digits"]
        subprocess.run(run, cwd=folder, check=True)
        for page, address in served(folder, Path(given.study).stem, browser, given.screens):
            print(f"{page}  {address}")


def served(folder: Path, study: str, browser: str, screens: Path) -> list[tuple[str, str]]:
    """Serve a study as ``hpo ui`` does, and take a picture of each page whose address it prints."""
    taken = []
    command = [*HPO, "ui", study]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                page, _, address = line.strip().partition("  ")
                if page in SIZES:
                    picture = screens / f"mlflow_{page}.png"
                    take(browser, address.strip(), picture, SIZES[page], folder / "browser")
                    taken.append((page, address.strip()))
                if len(taken) == len(SIZES):
                    break
        finally:
            server.send_signal(signal.SIGTERM)  # a shell may have the background ignore Ctrl-C
    return taken


def take(browser: str, url: str, path: Path, size: tuple[int, int], profile: Path) -> None:
    """Write a picture of a page, small enough for a repository."""
    shutil.rmtree(profile, ignore_errors=True)
    width, height = size
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        f"--virtual-time-budget={PATIENCE_MS}",
        f"--screenshot={path}",
        url,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=os.environ)
    with Image.open(path) as image:
        page = image.crop((0, 0, round(width * (1 - ASSISTANT)), height)).convert("RGB")
    page.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
