"""Load the study that a Python file defines, and say in one message what is wrong with one."""

import difflib
import hashlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import cloudpickle

import hpo
from hpo.exceptions import HpoError, SpaceError, StudyError
from hpo.study import Study

__all__ = ["StudyFile", "is_space_file", "load_study_file"]

_NAME = "study"
_PACKAGE = Path(hpo.__file__).absolute().parent


@dataclass(frozen=True)
class StudyFile:
    """A study and the file that defines it.

    Parameters
    ----------
    path : Path
    text : str
        The file's contents.
    study : Study
    """

    path: Path
    text: str
    study: Study

    @property
    def folder(self) -> Path:
        """Where the study's relative paths start."""
        return self.path.absolute().parent


def is_space_file(path: Path) -> bool:
    """Return whether ``path`` is named like a search space, not like a study."""
    return path.suffix.lower() in {".yaml", ".yml"}


def load_study_file(path: Path) -> StudyFile:
    """Run the Python file at ``path`` and return the `Study` that it calls ``study``.

    The file's folder is put on ``sys.path``, as for a script. Its classes and functions are
    pickled by value, so that worker processes need not import it.

    Raises
    ------
    StudyError
        If there is no such file, it is not Python, it raises, or it defines no study.
    SpaceError
        If the file makes a search space that is wrong.
    """
    source = _read(path)
    code = _compile(source, path)
    with _new_module(path) as module:
        try:
            exec(code, vars(module))
        except (Exception, SystemExit) as error:
            raise _told(error, path) from error
        study = _study_of(module, path)
    cloudpickle.register_pickle_by_value(module)
    return StudyFile(path, importlib.util.decode_source(source), study)


def _read(path: Path) -> bytes:
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
    if not folder.is_dir():
        return f"There is no study file {path}: its folder {folder} does not exist."
    files = {file.name: file for file in folder.glob("*.py")}
    wanted = f"{path.name}.py" if not path.suffix else path.name
    near = difflib.get_close_matches(wanted, files, n=1)
    hint = f", did you mean '{files[near[0]]}'?" if near else _files_in(folder)
    return f"There is no study file {path}{hint}"


def _files_in(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*.py") if not file.name.startswith("_"))
    return f": {folder} has {', '.join(files)}." if files else f"; {folder} has no Python file."


def _compile(source: bytes, path: Path) -> CodeType:
    try:
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else str(path)
        lines = "".join(traceback.format_exception_only(error)).splitlines()
        shown = [line for line in lines[1:-1] if error.lineno]
        raise StudyError("\n".join([f"{where}: {error.msg}", *shown])) from None
    except ValueError as error:  # a null byte
        raise StudyError(f"{path} is not Python: {error}.") from None


@contextmanager
def _new_module(path: Path) -> Iterator[ModuleType]:
    """Register an empty module for the file; take it out again if the block raises."""
    place = str(path.absolute())
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    name = f"hpo_study_{path.stem.replace('.', '_')}_{digest}"
    module = importlib.util.module_from_spec(
        importlib.machinery.ModuleSpec(name, None, origin=place)
    )
    module.__file__ = place
    sys.modules[name] = module
    before = list(sys.path)
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        yield module
    except BaseException:
        del sys.modules[name]
        sys.path[:] = before
        raise


def _told(error: BaseException, path: Path) -> HpoError:
    """Return what went wrong while the file ran, with the lines of the user's own code."""
    if isinstance(error, SpaceError):
        return SpaceError(error.problems)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename, path)]
    where = f"{path}, line {own[-1].lineno}" if own else str(path)
    if isinstance(error, HpoError):
        return StudyError(f"{where}: {error}")
    if isinstance(error, SystemExit):
        return StudyError(
            f"{where}: the file ended the program (SystemExit: {error.code}). "
            "A study file only defines `study`; keep the rest under "
            'if __name__ == "__main__".'
        )
    lines = [*traceback.format_list(own), *traceback.format_exception_only(error)]
    return StudyError(f"{path} raised while it was read:\n{''.join(lines).rstrip()}")


def _is_own(filename: str, path: Path) -> bool:
    """Return whether a frame is of the study file or of a helper beside it."""
    if filename.startswith("<") or "site-packages" in filename:
        return False
    file = Path(filename).absolute()
    ours = file.is_relative_to(_PACKAGE)
    return file.is_relative_to(path.absolute().parent) and not ours


def _study_of(module: ModuleType, path: Path) -> Study:
    found: Any = getattr(module, _NAME, None)
    if isinstance(found, Study):
        return found
    others = [name for name, value in vars(module).items() if isinstance(value, Study)]
    if others:
        others_told = " and ".join(f"`{name}`" for name in others)
        raise StudyError(
            f"{path} calls its study {others_told}, and `{_NAME}` is what is looked for: "
            f"write `{_NAME} = {others[0]}` at its end."
        )
    if hasattr(module, _NAME):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        raise StudyError(
            f"`{_NAME}` in {path} must be an hpo.Study. Got {found!r} ({kind}) instead."
        )
    raise StudyError(
        f"{path} defines no `{_NAME}`. Let it end with `{_NAME} = Study(name=..., estimator=..., "
        "data=..., search_space=...)`."
    )
