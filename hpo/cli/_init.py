"""``hpo init``: copy the studies and search spaces that ship with hpo into a folder."""

import json
import shutil
from pathlib import Path

import hpo
from hpo.cli._command import Command
from hpo.cli._console import echo, make_console, print_line
from hpo.exceptions import StudyError

__all__ = ["copy_examples", "shipped"]

_PARTS = {"studies": "*.py", "search_spaces": "*.yaml"}
_FIRST = "studies/digits_mlp.py"


def copy_examples(
    folder: Path, command: Command, *, as_json: bool = False, quiet: bool = False
) -> None:
    """Copy ``studies/`` and ``search_spaces/`` into ``folder`` and print what to run next.

    Existing files are not changed.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    command : Command
    as_json : bool
        Print JSON instead.
    quiet : bool
        Print nothing.

    Raises
    ------
    StudyError
        If ``folder`` cannot be written.
    """
    try:
        copied, existing = _copy(folder)
    except OSError as error:
        raise StudyError(f"The examples cannot be copied to {folder}: {error}.") from error
    if as_json:
        texts = {"copied": [str(file) for file in copied], "kept": [str(file) for file in existing]}
        echo(json.dumps({"folder": str(folder.absolute()), **texts}, indent=2))
    if as_json or quiet:
        return
    console = make_console()
    message = f"{len(copied)} files copied to {folder.absolute()}"
    print_line(
        console,
        f"{message}; {len(existing)} were there and stay as they are."
        if existing
        else f"{message}.",
    )
    first = Path(_FIRST) if folder == Path() else folder / _FIRST
    print_line(console, f"The quick start: {command.other('run', str(first))}")


def shipped(path: Path) -> str:
    """Return which of the examples of `copy_examples` a missing study file is; empty if none.

    ``digits_mlp`` is ``studies/digits_mlp.py``.
    """
    names = (path.name, f"{path.name}.py")
    files = (f"{part}/{name}" for part in _PARTS for name in names)
    return next((file for file in files if (_source() / file).is_file()), "")


def _source() -> Path:
    """Return the folder of the examples: in the package, or in a checkout beside it."""
    package = Path(hpo.__file__).absolute().parent
    inside = package / "examples"
    return inside if inside.is_dir() else package.parent


def _copy(folder: Path) -> tuple[list[Path], list[Path]]:
    copied: list[Path] = []
    existing: list[Path] = []
    for part, pattern in _PARTS.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        for file in sorted((_source() / part).glob(pattern)):
            target = folder / part / file.name
            if target.exists():
                existing.append(target)
                continue
            shutil.copyfile(file, target)
            copied.append(target)
    return copied, existing
