"""Load the study that a Python file defines; errors become one clear message."""

import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

import hpo
from hpo.cli._study_source import compile_source, read_source
from hpo.exceptions import HpoError, SpaceError, StudyError
from hpo.study import Study

__all__ = ["StudyFile", "load_study_file", "user_errors"]

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
    options : mapping of str to object
        Arguments of the file's function, including defaults; empty if it defines a `Study`.
    """

    path: Path
    text: str
    study: Study
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder that the study's relative paths start from."""
        return self.path.absolute().parent


def load_study_file(path: Path, options: Mapping[str, Any] | None = None) -> StudyFile:
    """Run the Python file at ``path`` and return the `Study` that it calls ``study``.

    The file's folder is put on ``sys.path``, as for a script. Its classes and functions are
    pickled by value, so that worker processes need not import it.

    Parameters
    ----------
    path : Path
    options : mapping of str to object or None
        Arguments of ``study``, if it is a function that returns the study.

    Raises
    ------
    StudyError
        If there is no such file, it is not Python, it raises, or it defines no study.
    SpaceError
        If the file makes a search space that is wrong.
    """
    source = read_source(path)
    code = compile_source(source, path)
    with _new_module(path) as module:
        with _file_errors(path, "it was read"):
            exec(code, vars(module))
        study, used = _study_of(module, path, options or {})
    cloudpickle.register_pickle_by_value(module)
    return StudyFile(path, importlib.util.decode_source(source), study, used)


@contextmanager
def _new_module(path: Path) -> Iterator[ModuleType]:
    """Register an empty module for the file; take it out again if the block raises."""
    location = str(path.absolute())
    digest = hashlib.sha256(location.encode()).hexdigest()[:8]
    name = f"hpo_study_{path.stem.replace('.', '_')}_{digest}"
    module = importlib.util.module_from_spec(
        importlib.machinery.ModuleSpec(name, None, origin=location)
    )
    module.__file__ = location
    sys.modules[name] = module
    previous_path = list(sys.path)
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        yield module
    except BaseException:
        del sys.modules[name]
        sys.path[:] = previous_path
        raise


@contextmanager
def _file_errors(path: Path, when: str) -> Iterator[None]:
    """Turn errors of the file's code into messages with its line numbers."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _format_error(error, path, when) from error


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file's functions, such as ``data``, into messages with their lines.

    An error that has not passed the user's code is one of hpo, which keeps its traceback.

    Parameters
    ----------
    path : Path
        The study file.

    Raises
    ------
    StudyError
        In the place of an error of the user's code.
    """
    try:
        yield
    except HpoError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not any(_is_user_code(frame.filename, path) for frame in frames):
            raise
        raise _format_error(error, path, "its study was run") from error


def _format_error(error: BaseException, path: Path, when: str) -> HpoError:
    if isinstance(error, SpaceError):
        return SpaceError(error.problems)
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [frame for frame in frames if _is_user_code(frame.filename, path)]
    where = f"{path}, line {user_frames[-1].lineno}" if user_frames else str(path)
    if isinstance(error, HpoError):
        return StudyError(f"{where}: {error}")
    if isinstance(error, SystemExit):
        return StudyError(
            f"{where}: the file ended the program (SystemExit: {error.code}). "
            "A study file only defines `study` and what it needs; keep the rest under "
            'if __name__ == "__main__".'
        )
    lines = [*traceback.format_list(user_frames), *traceback.format_exception_only(error)]
    return StudyError(f"{path} raised while {when}:\n{''.join(lines).rstrip()}")


def _is_user_code(filename: str, path: Path) -> bool:
    """Return whether a frame is of the study file or of a helper beside it."""
    if filename.startswith("<") or "site-packages" in filename:
        return False
    file = Path(filename).absolute()
    is_hpo = file.is_relative_to(_PACKAGE)
    return file.is_relative_to(path.absolute().parent) and not is_hpo


def _study_of(
    module: ModuleType, path: Path, options: Mapping[str, Any]
) -> tuple[Study, dict[str, Any]]:
    """Return the study that the file defines, and the arguments if it is a function."""
    value: Any = getattr(module, _NAME, None)
    if callable(value):
        return _call_function(value, path, options)
    if options:
        raise StudyError(f"`{_NAME}` in {path} must stay the function that it is defined as.")
    return _check_study(value, module, path), {}


def _call_function(
    function: Callable[..., Any], path: Path, options: Mapping[str, Any]
) -> tuple[Study, dict[str, Any]]:
    try:
        bound = inspect.signature(function).bind(**options)
    except TypeError as error:
        raise StudyError(f"{_NAME}() in {path}: {error}.") from None
    bound.apply_defaults()
    with _file_errors(path, "it made its study"):
        study = function(**options)
    if not isinstance(study, Study):
        raise StudyError(f"{_NAME}() in {path} must return an hpo.Study. Got {study!r} instead.")
    return study, bound.arguments


def _check_study(value: Any, module: ModuleType, path: Path) -> Study:
    if isinstance(value, Study):
        return value
    names = [name for name, value in vars(module).items() if isinstance(value, Study)]
    if names:
        quoted_names = " and ".join(f"`{name}`" for name in names)
        raise StudyError(
            f"{path} calls its study {quoted_names}, and `{_NAME}` is what is looked for: "
            f"write `{_NAME} = {names[0]}` at its end."
        )
    if hasattr(module, _NAME):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise StudyError(
            f"`{_NAME}` in {path} must be an hpo.Study, or a function that returns one. "
            f"Got {value!r} ({kind}) instead."
        )
    raise StudyError(
        f"{path} defines no `{_NAME}`. Let it end with `{_NAME} = Study(name=..., estimator=..., "
        "data=..., search_space=...)`."
    )
