"""Describe where a study ran: versions of the main packages, git commit, host."""

import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["environment"]

_PACKAGES = ("hpo-torch", "torch", "skorch", "scikit-learn", "optuna", "numpy")
_IF_LOADED = ("ray", "transformers", "peft", "bitsandbytes")


def environment(folder: Path) -> dict[str, str]:
    """Return tags of the environment: ``version.<package>``, ``python``, ``host``, ``git_commit``.

    Packages that not every study uses are among them only if this process has loaded them.

    Parameters
    ----------
    folder : Path
        Folder whose git commit is recorded; a ``+`` after it marks uncommitted changes.
    """
    packages = [*_PACKAGES, *(name for name in _IF_LOADED if name in sys.modules)]
    tags = {"python": platform.python_version(), "host": socket.gethostname()}
    for package in packages:
        try:
            tags[f"version.{package.removesuffix('-torch')}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    commit = _git(folder, "rev-parse", "HEAD")
    if commit:
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
        tags["git_commit"] = commit + ("+" if dirty else "")
    return tags


def _git(folder: Path, *args: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *args],
            check=False,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
