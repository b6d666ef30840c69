"""Print the versions of an environment as constraints of pip: ``tried_versions.py PYTHON``."""

import subprocess
import sys

HEAD = """\
# Versions with which the tests are run, on Python {version} and {platform}:
#   pip install -e . -c .ci/tried-versions.txt
# Made by `python .ci/tried_versions.py PYTHON`; `.ci/run` does so once its tests have passed.
"""
ABOUT = "import platform, sys; print(platform.python_version(), sys.platform)"


def main(python: str) -> None:
    """Print what ``python`` has installed, without hpo and without where it came from."""
    version, platform = subprocess.check_output([python, "-c", ABOUT], text=True).split()
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format=freeze"], text=True)
    names = ("hpo-torch==", "pip==", "setuptools==", "wheel==")
    lines = [line for line in listed.splitlines() if not line.lower().startswith(names)]
    # A build's own suffix (`+cpu`) is no version that an index has.
    print(HEAD.format(version=version, platform=platform), end="")
    print("\n".join(line.partition("+")[0] for line in sorted(lines, key=str.lower)))


if __name__ == "__main__":
    main(sys.argv[1])
