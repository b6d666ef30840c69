"""Give each fold its own folder, and move the paths of its callbacks there.

If two folds write to the same file, one may read the weights of the other: skorch's ``Checkpoint``
with ``load_best`` would end a fold with weights that have seen its validation rows.
"""

import copy
import glob
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from skorch import NeuralNet
from skorch.callbacks import LoadInitState

from hpo.exceptions import StudyError
from hpo.training._paths import SHARED, cannot_move, is_checkpoint, path_candidates, path_kind
from hpo.training._summaries import LateWriter
from hpo.training.callbacks import callbacks_in, copy_of, entries, is_callback, nets_of, params_of

__all__ = ["Place", "check_copyable", "close_writers", "isolate", "replace_folder"]


class Place(Protocol):
    """Where the files of a fold go."""

    base: Path
    """The folder that relative paths of the user start from."""

    def moved(self, path: str | Path) -> Path:
        """Return the path that replaces one of the user; a moved path is returned unchanged."""

    def copy_in(self, source: Path, *, of_any_size: bool = False) -> None:
        """Copy a file or folder of the user, if it exists, to the path that replaces it."""

    def make(self, folder: Path) -> None:
        """Make a folder below the moved paths."""

    def note(self, source: Path) -> None:
        """Record that a file of the user is read."""

    def check(self) -> None:
        """Raise `StudyError` if this machine lacks files of the user that are read."""


def isolate(estimator: Any, place: Place) -> None:
    """Move the paths of all callbacks, and of net classes of the user, to ``place``.

    Parameters
    ----------
    estimator : estimator
        An unfitted copy; it is changed in place.
    place : Place

    Raises
    ------
    StudyError
        If something is written in a way that cannot be moved; the message says what to do.
    """
    for net in nets_of(estimator):
        _Isolation(net, place).run()
    place.check()


class _Isolation:
    """Moves the paths of one net and its callbacks."""

    def __init__(self, net: NeuralNet, place: Place) -> None:
        self._net = net
        self._place = place
        self._entries = list(entries(net))
        # Keyed by the id of the old callback, so that shared callbacks stay shared.
        self._new: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._written, self._read = self._places()

    def _places(self) -> tuple[set[str], set[str]]:
        """Return where checkpoints write, and where those write that other callbacks refer to."""
        written, read = set[str](), set[str]()
        for entry in self._entries:
            written |= self._targets(entry.params)
            for callback in (c for value in entry.params.values() for c in callbacks_in(value)):
                targets = self._targets(params_of(callback))
                read |= targets
                written |= set() if isinstance(entry.callback, LoadInitState) else targets
        return written, read

    def run(self) -> None:
        """Replace the callbacks that have paths, and set the paths of the net itself."""
        for entry in self._entries:
            new, changes = self._renewed(entry.callback, entry.params, entry.description)
            if changes:
                entry.replace(new, changes)
        net = self._net
        params = {key: v for key, v in net.get_params(deep=False).items() if key != "callbacks"}
        vars(net).update(self._moved_params(net, params, f"the net ({type(net).__name__})"))

    def _renewed(
        self, old: Any, params: Mapping[str, Any], what: str, *, reads: bool = False
    ) -> tuple[Any, dict[str, Any]]:
        """Return the replacement of a callback, and its changed parameters."""
        if id(old) not in self._new:
            changes = self._absolute_params(params) if reads else self._changes(old, params, what)
            self._new[id(old)] = _rebuild(old, params, changes) if changes else old, changes
        return self._new[id(old)]

    def _changes(self, callback: Any, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        changes = self._moved_params(callback, params, what)
        for name, value in params.items():
            new = self._changed_value(callback, name, value, what)
            changes |= {} if new is value else {name: new}
        if is_checkpoint(callback):
            changes |= self._checkpoint(callback, params, what)
        return {name: v for name, v in changes.items() if name not in _shared_names(callback)}

    def _changed_value(self, callback: Any, name: str, value: Any, what: str) -> Any:
        """Return the new value of a parameter: a writer, callbacks, or a nested parameter."""
        if isinstance(value, LateWriter):
            return value.moved(str(self._place.moved(value.log_dir)))
        if "__" in name:
            return self._moved_value(name.rpartition("__")[2], value, what)
        if not any(True for _ in callbacks_in(value)):
            return value
        return self._renewed_value(callback, value, what)

    def _renewed_value(self, holder: Any, value: Any, what: str) -> Any:
        """Return the replacement of a callback, or a list of callbacks, in a parameter."""
        if not is_callback(value):
            items = [self._renewed_value(holder, item, what) for item in value]
            same = all(a is b for a, b in zip(items, value, strict=True))
            return value if same else type(value)(items)
        params = self._params_in_net(value)
        # A checkpoint that no callback of the net writes only reads files of the user.
        reads = isinstance(holder, LoadInitState) and not self._targets(params) & self._written
        what = f"{what}, {type(value).__name__}"
        return self._renewed(value, params, what, reads=reads)[0]

    def _params_in_net(self, callback: Any) -> dict[str, Any]:
        matches = (entry.params for entry in self._entries if entry.callback is callback)
        return next(matches, None) or params_of(callback)

    # -- paths by their names ------------------------------------------------------------------

    def _moved_params(self, owner: Any, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        """Return the moved paths among the parameters that a class of the user adds."""
        candidates = path_candidates(owner, params)
        candidates = {
            name: v for name, v in candidates.items() if not self._is_part(name, v, candidates)
        }
        moved = {name: self._moved_value(name, value, what) for name, value in candidates.items()}
        return {name: value for name, value in moved.items() if value is not candidates[name]}

    def _is_part(self, name: str, value: Any, params: Mapping[str, Any]) -> bool:
        """Return whether the file is relative to a folder that another parameter names."""
        base = self._place.base
        if path_kind(name, value, base) != "file":
            return False
        if Path(value).is_absolute() or ".." in Path(value).parts:
            return False
        folders = [v for key, v in params.items() if path_kind(key, v, base) == "folder"]
        exists = any((base / folder / value).exists() for folder in folders)
        return exists or (bool(folders) and not (base / value).exists())

    def _moved_value(self, name: str, value: Any, what: str) -> Any:
        if isinstance(value, list | tuple) and type(value) in {list, tuple}:
            items = [self._moved_value(name, item, what) for item in value]
            same = all(a is b for a, b in zip(items, value, strict=True))
            return value if same else type(value)(items)
        if type(value) is dict:
            parts = {
                key: self._moved_value(self._name(key, name, v), v, what)
                for key, v in value.items()
            }
            return value if all(parts[key] is value[key] for key in value) else parts
        why = cannot_move(name, value, self._place.base)
        if why:
            raise _error(what, name, why)
        kind = path_kind(name, value, self._place.base)
        if not kind:
            return value
        moved = self._place.moved(value)
        if str(moved) == str(value):
            return value
        try:
            self._place.copy_in(self._place.base / value)
        except ValueError as error:
            raise _error(what, name, str(error)) from None
        self._place.make(moved if kind == "folder" else moved.parent)
        return type(value)(moved) if isinstance(value, Path) else str(moved)

    def _name(self, key: Any, name: str, value: Any) -> str:
        """Return the more telling name of a value in a mapping: its key or the parameter's name."""
        return key if isinstance(key, str) and path_kind(key, value, self._place.base) else name

    # -- checkpoints ---------------------------------------------------------------------------

    def _targets(self, params: Mapping[str, Any]) -> set[str]:
        """Return the files that a checkpoint with these parameters writes, with format fields."""
        if not {"dirname", "fn_prefix", "f_params"} <= params.keys():
            return set()
        return {str(self._place.moved(path)) for path in _paths(params).values()}

    def _checkpoint(self, callback: Any, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        unshared = {key: v for key, v in params.items() if key not in _shared_names(callback)}
        for name, value in unshared.items():
            why = cannot_move(name, value, self._place.base) if name.startswith("f_") else ""
            if why:
                raise _error(what, name, why)
        paths = _paths(params)
        targets = {name: self._place.moved(path) for name, path in paths.items()}
        if all(str(path) == str(targets[name]) for name, path in paths.items()):
            return {}
        is_user_class = type(callback).__module__.partition(".")[0] not in {"skorch", "hpo"}
        for name, path in paths.items():
            source = self._place.base / path
            self._make_parents(source)
            if is_user_class or str(targets[name]) in self._read:
                for match in _matches(source):
                    self._place.copy_in(match, of_any_size=True)
        return self._path_params(params, paths, targets)

    def _make_parents(self, template: Path) -> None:
        """Make the folders that a checkpoint is written to, including numbered ones."""
        parent = template.parent
        for folder in _matches(parent) if "{" in str(parent) else [parent]:
            self._place.make(self._place.moved(folder))

    def _path_params(
        self, params: Mapping[str, Any], paths: Mapping[str, str], targets: Mapping[str, Path]
    ) -> dict[str, Any]:
        """Return the parameters that say where to write: one folder, or a path for each file."""
        folder = str(self._place.moved(params["dirname"]))
        unmoved = [params[n] for n in params if n.startswith("f_") and n not in paths]
        all_strings = all(isinstance(params[name], str) for name in paths)
        if all_strings and not any(unmoved):
            composed = {name: Path(folder, params["fn_prefix"] + params[name]) for name in paths}
            if all(os.path.normpath(composed[name]) == str(targets[name]) for name in paths):
                return {"dirname": folder}
        files = {name: type(params[name])(str(path)) for name, path in targets.items()}
        return {"dirname": "", "fn_prefix": "", **files}

    def _absolute_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters with which a process started in another folder can read the files."""
        for path in _paths(params).values():
            for match in _matches(self._place.base / path):
                self._place.note(match)
        files = (value for name, value in params.items() if name.startswith("f_") and value)
        if Path.cwd() == self._place.base or not all(isinstance(file, str) for file in files):
            return {}
        return {"dirname": str(self._place.base / params["dirname"])}


def _shared_names(callback: Any) -> Collection[str]:
    return getattr(type(callback), SHARED, ())


def _paths(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of a checkpoint, put together as skorch does."""
    folder, prefix = params["dirname"], params["fn_prefix"]
    return {
        name: str(Path(folder, prefix + value) if isinstance(value, str) else value)
        for name, value in params.items()
        if name.startswith("f_") and value and isinstance(value, str | Path)
    }


def _matches(template: Path) -> Iterator[Path]:
    pattern = re.sub(r"\{[^}]*\}", "*", glob.escape(str(template)))
    yield from map(Path, glob.glob(pattern))  # noqa: PTH207 - a Path cannot start at its root


def _rebuild(old: Any, params: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    """Return a callback with changed parameters, by calling its class."""
    if not hasattr(old, "get_params"):
        new = copy.copy(old)
        vars(new).update(changes)
        return new
    return type(old)(**{name: v for name, v in {**params, **changes}.items() if "__" not in name})


def check_copyable(estimator: Any, base: Path) -> None:
    """Check that each fold can have copies of all parameters of callbacks.

    Raises
    ------
    StudyError
        If a parameter cannot be copied, such as an open file; the message names it.
    """
    for net in nets_of(estimator):
        for entry in entries(net):
            for name, value in entry.params.items():
                why = cannot_move(name, value, base) or _why_not_copied(value)
                if why:
                    raise _error(entry.description, name, why)


def _why_not_copied(value: Any) -> str:
    try:
        copy_of(value)
    except Exception as error:
        return f"({type(value).__name__}) cannot be copied: {error}"
    return ""


def _error(what: str, name: str, why: str) -> StudyError:
    return StudyError(
        f"{what[0].upper()}{what[1:]}: its parameter '{name}' {why}, so each fold of each trial "
        "cannot have files of its own. Give a path (to a small folder, or to none that exists) "
        "and open files in on_train_begin; or, if it is only read or may be shared by all, name "
        f'the parameter in the class: {SHARED} = ("{name}",).'
    )


def close_writers(estimator: Any) -> None:
    """Close the TensorBoard writers of an estimator."""
    for net in nets_of(estimator):
        for _, callback in getattr(net, "callbacks_", ()):
            for value in vars(callback).values():
                if isinstance(value, LateWriter):
                    value.close()


def replace_folder(owner: Any, old: str, new: str, seen: set[int] | None = None) -> None:
    """Replace a folder at the beginning of paths, in a net or callback and everything in it.

    Parameters
    ----------
    owner : estimator, callback or writer
    old, new : str
        The folder before and after the move.
    """
    seen = set() if seen is None else seen
    is_single = is_callback(owner) or isinstance(owner, LateWriter)
    for part in [owner] if is_single else nets_of(owner):
        if id(part) not in seen:
            seen.add(id(part))
            for name, value in vars(part).items():
                vars(part)[name] = _with_folder_replaced(value, old, new, seen)


def _with_folder_replaced(value: Any, old: str, new: str, seen: set[int]) -> Any:
    if isinstance(value, str | Path) and f"{value}{os.sep}".startswith(f"{old}{os.sep}"):
        return type(value)(new + str(value)[len(old) :])
    if type(value) in {list, tuple}:
        return type(value)(_with_folder_replaced(item, old, new, seen) for item in value)
    if type(value) is dict:
        return {key: _with_folder_replaced(item, old, new, seen) for key, item in value.items()}
    if is_callback(value) or isinstance(value, LateWriter):
        replace_folder(value, old, new, seen)
    return value
