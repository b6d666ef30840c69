"""Run the commands that a newcomer tries, in an environment without extras or data sets.

``commands.py FOLDER``: the checkout is the current folder; what the commands leave goes to FOLDER.
"""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path.cwd()
HPO = Path(sys.executable).with_name("hpo")
STUDY = str(CHECKOUT / "studies" / "digits_mlp.py")
SMALL = ("--n-trials", "4", "--epochs", "3")
WAYS = {
    "serial": (),
    "process": ("--executor", "process", "--n-jobs", "2"),
    "fused": ("--executor", "fused"),
    "auto": ("--executor", "auto"),
    "ray": ("--backend", "ray"),
}
DOORS = ("HPO_DATA", "pip install 'hpo-torch[")
"""What a study says that needs a data set or an extra."""

NEED_NOTHING = {"digits_mlp", "digits_sklearn", "own_table"}
"""Studies that run everywhere."""


def hpo(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in ``folder``."""
    env = {name: value for name, value in os.environ.items() if name != "HPO_DATA"}
    done = subprocess.run(
        [HPO, *args], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    print(f"{done.returncode}  hpo {' '.join(args)}", flush=True)
    return done


def works(folder: Path, *args: str, shows: str = "") -> None:
    """Run a command that must exit with 0 and print ``shows``."""
    done = hpo(folder, *args)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "Traceback" not in told, told
    assert shows in told, f"{shows!r} is not in:\n{told}"


def reading(folder: Path) -> None:
    """Ask for help, check the study and look at what the first command has made."""
    storage = ("--storage", f"journal:///{CHECKOUT / 'hpo.journal'}")
    works(folder, "--help", shows="run")
    works(folder, "run", "--help", shows="--n-trials")
    works(folder, "validate", STUDY, shows="digits_mlp")
    works(folder, "list", *storage, shows="digits_mlp")
    works(folder, "show", "digits_mlp", *storage, shows="Winner")


def running(folder: Path) -> None:
    """Run a small study under each executor and backend."""
    for name, options in WAYS.items():
        place = folder / name
        place.mkdir()
        works(place, "run", STUDY, *SMALL, *options, shows="Winner")


def smoking(folder: Path) -> None:
    """Run each study at its smallest; where it needs something, it says what in one sentence."""
    ran = set()
    for path in sorted((CHECKOUT / "studies").glob("*.py")):
        done = hpo(folder, "run", str(path), "--smoke")
        told = done.stdout + done.stderr
        assert "Traceback" not in told, told
        if done.returncode == 0:
            ran.add(path.stem)
        else:
            assert done.returncode == 2, told
            assert any(door in told for door in DOORS), told
    assert ran >= NEED_NOTHING, ran


if __name__ == "__main__":
    scratch = Path(sys.argv[1])
    reading(scratch)
    running(scratch)
    smoking(scratch)
