"""Print a command or the Python example as it stands in README.md.

``readme.py command N`` prints the N-th command that makes a virtual environment (from 1),
``readme.py python`` the first block of Python.
"""

import re
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def commands() -> list[str]:
    """Return the commands that make a virtual environment, in the README's order."""
    return re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)


def example() -> str:
    """Return the first block of Python."""
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]


if __name__ == "__main__":
    print(commands()[int(sys.argv[2]) - 1] if sys.argv[1] == "command" else example())
