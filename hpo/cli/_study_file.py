"""Load the study that a Python file defines, and say in one message what is wrong with one."""

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

__all__ = ["StudyFile", "load_study_file"]

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
        What the file's function was given and its defaults; empty if it defines a study itself.
    """

    path: Path
    text: str
    study: Study
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the study's relative paths start."""
        return self.path.absolute().parent


def load_study_file(path: Path, options: Mapping[str, Any] | None = None) -> StudyFile:
    """Run the Python file at ``path`` and return the `Study` that it calls ``study``.

    The file's folder is put on ``sys.path``, as for a script. Its classes and functions are
    pickled by value, so that worker processes need not import it.

    Parameters
    ----------
    path : Path
    options : mapping of str to object or None
        What ``study`` is called with, where it is a function that returns the study.

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
        with _telling(path, "it was read"):
            exec(code, vars(module))
        study, used = _study_of(module, path, options or {})
    cloudpickle.register_pickle_by_value(module)
    return StudyFile(path, importlib.util.decode_source(source), study, used)


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


@contextmanager
def _telling(path: Path, when: str) -> Iterator[None]:
    """Say what goes wrong in the file's own code, and in which of its lines."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _told(error, path, when) from error


def _told(error: BaseException, path: Path, when: str) -> HpoError:
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
    return StudyError(f"{path} raised while {when}:\n{''.join(lines).rstrip()}")


def _is_own(filename: str, path: Path) -> bool:
    """Return whether a frame is of the study file or of a helper beside it."""
    if filename.startswith("<") or "site-packages" in filename:
        return False
    file = Path(filename).absolute()
    ours = file.is_relative_to(_PACKAGE)
    return file.is_relative_to(path.absolute().parent) and not ours


def _study_of(
    module: ModuleType, path: Path, options: Mapping[str, Any]
) -> tuple[Study, dict[str, Any]]:
    """Return the study that the file defines, and what a function was called with for it."""
    found: Any = getattr(module, _NAME, None)
    if callable(found):
        return _called(found, path, options)
    if options:
        raise StudyError(f"`{_NAME}` in {path} must stay the function that it is defined as.")
    return _defined(found, module, path), {}


def _called(
    function: Callable[..., Any], path: Path, options: Mapping[str, Any]
) -> tuple[Study, dict[str, Any]]:
    try:
        bound = inspect.signature(function).bind(**options)
    except TypeError as error:
        raise StudyError(f"{_NAME}() in {path}: {error}.") from None
    bound.apply_defaults()
    with _telling(path, "it made its study"):
        study = function(**options)
    if not isinstance(study, Study):
        raise StudyError(f"{_NAME}() in {path} must return an hpo.Study. Got {study!r} instead.")
    return study, bound.arguments


def _defined(found: Any, module: ModuleType, path: Path) -> Study:
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
            f"`{_NAME}` in {path} must be an hpo.Study, or a function that returns one. "
            f"Got {found!r} ({kind}) instead."
        )
    raise StudyError(
        f"{path} defines no `{_NAME}`. Let it end with `{_NAME} = Study(name=..., estimator=..., "
        "data=..., search_space=...)`."
    )
