"""What type checkers make of every public name, from an installed wheel: never ``Any``.

    python .ci/public_types.py PYTHON CHECKER...

``PYTHON`` is an interpreter that has hpo installed; each ``CHECKER`` is the path of a ``mypy``,
``pyright`` or ``basedpyright``.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = """
import importlib, json, pkgutil
import hpo
found = {"hpo": hpo.__all__}
for module in pkgutil.iter_modules(hpo.__path__, "hpo."):
    if module.ispkg and not module.name.rpartition(".")[2].startswith("_"):
        if module.name == "hpo.testing":  # its suites need pytest
            continue
        found[module.name] = list(getattr(importlib.import_module(module.name), "__all__", ()))
print(json.dumps(found))
"""


def main(python: str, *checkers: str) -> int:
    """Print what was found; return how many names are ``Any`` or unknown to a checker."""
    done = subprocess.run([python, "-c", NAMES], check=True, capture_output=True, text=True)
    names = [f"{m}.{name}" for m, own in json.loads(done.stdout).items() for name in own]
    lines = [*sorted({f"import {name.rpartition('.')[0]}" for name in names})]
    first = len(lines) + 1
    lines += [f"reveal_type({name})" for name in names]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "names.py"
        script.write_text("\n".join(lines) + "\n")
        for checker in checkers:
            revealed = reveal(checker, python, script)
            for number, name in enumerate(names, start=first):
                text = revealed.get(number, "nothing was revealed")
                if text in {"Any", "Unknown", "nothing was revealed"}:
                    wrong += 1
                    print(f"{Path(checker).name}: {name}: {text}")
            print(f"{Path(checker).name}: {len(names)} public names")
    return wrong


def reveal(checker: str, python: str, script: Path) -> dict[int, str]:
    """Return what ``reveal_type`` told, by line."""
    if "mypy" in Path(checker).name:
        command = [checker, "--python-executable", python, "--no-incremental", str(script)]
        pattern = re.compile(r"names\.py:(\d+): note: Revealed type is \"(.*)\"")
    else:
        command = [checker, "--pythonpath", python, str(script)]
        pattern = re.compile(r"names\.py:(\d+):\d+ - information: Type of \".*\" is \"(.*)\"")
    done = subprocess.run(command, check=False, cwd=script.parent, capture_output=True, text=True)
    found = {int(number): text for number, text in pattern.findall(done.stdout)}
    if not found:
        print(done.stdout[-2000:], done.stderr[-2000:])
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
