"""Read a study file without running it: its text and its syntax."""

import ast
import difflib
import traceback
from pathlib import Path
from types import CodeType
from typing import Any

from hpo.cli._init import shipped
from hpo.exceptions import StudyError

__all__ = ["compile_source", "is_space_file", "parse_source", "read_source"]


def is_space_file(path: Path) -> bool:
    """Return whether the name of ``path`` is that of a search space, not of a study."""
    return path.suffix.lower() in {".yaml", ".yml"}


def read_source(path: Path) -> bytes:
    """Return the contents of the study file at ``path``.

    Raises
    ------
    StudyError
        If there is no such file, or it is not a study file.
    """
    if path.is_dir():
        raise StudyError(f"{path} is a directory. Name a study file in it{_files_in(path)}")
    if not path.exists():
        raise StudyError(_missing(path))
    if is_space_file(path):
        raise StudyError(
            f"{path} is a search space, not a study. Check it with `hpo validate {path}`; to run "
            "a study, name the Python file that defines it."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from error


def _missing(path: Path) -> str:
    folder = path.parent
    if not path.suffix and path.with_suffix(".py").is_file():
        return f"There is no study file {path}, did you mean '{path.with_suffix('.py')}'?"
    if folder == Path() and (there := _elsewhere(path)):
        return f"There is no study file {path} here, did you mean '{there}'?"
    example = "" if path.is_absolute() else shipped(path)
    if example:
        named = "It" if example.endswith(str(path)) else example
        return f"There is no study file {path} here. {named} is an example: `hpo init` copies it."
    if not folder.is_dir():
        return f"There is no study file {path}: its folder {folder} does not exist."
    files = {file.name: file for file in folder.glob("*.py")}
    file_name = f"{path.name}.py" if not path.suffix else path.name
    near = difflib.get_close_matches(file_name, files, n=1)
    hint = f", did you mean '{files[near[0]]}'?" if near else _files_in(folder)
    return f"There is no study file {path}{hint}"


def _elsewhere(path: Path) -> Path | None:
    """Return the file of that name, with or without its ending, here or in ``studies/``."""
    name = path.name if path.suffix == ".py" else f"{path.name}.py"
    folders = (Path(), Path("studies"))
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _files_in(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*.py") if not file.name.startswith("_"))
    return f": {folder} has {', '.join(files)}." if files else f"; {folder} has no Python file."


def parse_source(source: bytes, path: Path) -> ast.Module:
    """Return the syntax tree of a study file.

    Raises
    ------
    StudyError
        If it is not Python.
    """
    tree: ast.Module = _compiled(source, path, ast.PyCF_ONLY_AST)
    return tree


def compile_source(source: bytes, path: Path) -> CodeType:
    """Return the code of a study file.

    Raises
    ------
    StudyError
        If it is not Python.
    """
    code: CodeType = _compiled(source, path, 0)
    return code


def _compiled(source: bytes, path: Path, flags: int) -> Any:
    try:
        return compile(source, str(path), "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else str(path)
        lines = "".join(traceback.format_exception_only(error)).splitlines()
        source_lines = [line for line in lines[1:-1] if error.lineno]
        raise StudyError("\n".join([f"{where}: {error.msg}", *source_lines])) from None
    except ValueError as error:  # a null byte
        raise StudyError(f"{path} is not Python: {error}.") from None
