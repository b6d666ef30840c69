"""The callbacks of a fold write to a folder of its own: their paths are moved there.

A fold that writes where another one writes reads the other one's weights: skorch's ``Checkpoint``
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
from hpo.training._paths import SHARED, cannot_move, is_checkpoint, own_params, path_kind
from hpo.training._summaries import LateWriter
from hpo.training.callbacks import copy_of, entries, held, is_callback, nets_of, params_of

__all__ = ["Place", "close_writers", "isolate", "move_again", "refuse_what_cannot_be_copied"]


class Place(Protocol):
    """Where the files of a fold go."""

    base: Path
    """Where relative paths of the user's start."""

    def moved(self, path: str | Path) -> Path:
        """Return what stands for a path of the user's; one that is moved already stays."""

    def bring(self, source: Path, *, of_any_size: bool = False) -> None:
        """Copy a file or folder of the user's, if there is one, to the path that stands for it."""

    def make(self, folder: Path) -> None:
        """Make a folder among those that are moved."""

    def note(self, source: Path) -> None:
        """Take note that a file of the user's is read."""

    def check(self) -> None:
        """Refuse a machine that lacks files of the user's which are read."""


def isolate(estimator: Any, place: Place) -> None:
    """Move the paths of all callbacks, and of nets of the user's, to ``place``.

    Parameters
    ----------
    estimator : estimator
        An unfitted copy that is the caller's own: it is changed.
    place : Place

    Raises
    ------
    StudyError
        If something writes in a way that cannot be moved; the message says what to do.
    """
    for net in nets_of(estimator):
        _Isolation(net, place).run()
    place.check()


class _Isolation:
    """Of the callbacks of one net."""

    def __init__(self, net: NeuralNet, place: Place) -> None:
        self._net = net
        self._place = place
        self._entries = list(entries(net))
        # By the id of the old one, so that what is shared stays shared.
        self._new: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._written, self._read = self._places()

    def _places(self) -> tuple[set[str], set[str]]:
        """Return where the checkpoints write, and where those write that another callback holds."""
        written, read = set[str](), set[str]()
        for entry in self._entries:
            written |= self._targets(entry.params)
            for callback in (c for value in entry.params.values() for c in held(value)):
                targets = self._targets(params_of(callback))
                read |= targets
                written |= set() if isinstance(entry.callback, LoadInitState) else targets
        return written, read

    def run(self) -> None:
        """Replace the callbacks that have paths, and set the net's own ones."""
        for entry in self._entries:
            new, changes = self._renewed(entry.callback, entry.params, entry.told)
            if changes:
                entry.replace(new, changes)
        net = self._net
        params = {key: v for key, v in net.get_params(deep=False).items() if key != "callbacks"}
        vars(net).update(self._own(net, params, f"the net ({type(net).__name__})"))

    def _renewed(
        self, old: Any, params: Mapping[str, Any], what: str, *, reads: bool = False
    ) -> tuple[Any, dict[str, Any]]:
        """Return what takes the place of a callback, and the parameters that are others."""
        if id(old) not in self._new:
            changes = self._absolute(params) if reads else self._changes(old, params, what)
            self._new[id(old)] = _made_anew(old, params, changes) if changes else old, changes
        return self._new[id(old)]

    def _changes(self, callback: Any, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        changes = self._own(callback, params, what)
        for name, value in params.items():
            new = self._part(callback, name, value, what)
            changes |= {} if new is value else {name: new}
        if is_checkpoint(callback):
            changes |= self._checkpoint(callback, params, what)
        return {name: v for name, v in changes.items() if name not in _shared(callback)}

    def _part(self, callback: Any, name: str, value: Any, what: str) -> Any:
        """Return a parameter that is a writer, a callback, or one of a callback that is held."""
        if isinstance(value, LateWriter):
            return value.moved(str(self._place.moved(value.log_dir)))
        if "__" in name:
            return self._moved(name.rpartition("__")[2], value, what)
        return self._held(callback, value, what) if any(True for _ in held(value)) else value

    def _held(self, holder: Any, value: Any, what: str) -> Any:
        """Return a callback, or a list of some, as another callback shall hold it."""
        if not is_callback(value):
            items = [self._held(holder, item, what) for item in value]
            same = all(a is b for a, b in zip(items, value, strict=True))
            return value if same else type(value)(items)
        params = self._params_in_net(value)
        # A checkpoint that is written nowhere in the net only reads the user's files.
        reads = isinstance(holder, LoadInitState) and not self._targets(params) & self._written
        what = f"{what}, {type(value).__name__}"
        return self._renewed(value, params, what, reads=reads)[0]

    def _params_in_net(self, callback: Any) -> dict[str, Any]:
        found = (entry.params for entry in self._entries if entry.callback is callback)
        return next(found, None) or params_of(callback)

    # -- paths by their names ------------------------------------------------------------------

    def _own(self, thing: Any, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        """Return the paths among the parameters that a class of the user's adds, moved."""
        own = own_params(thing, params)
        own = {name: v for name, v in own.items() if not self._is_part(name, v, own)}
        moved = {name: self._moved(name, value, what) for name, value in own.items()}
        return {name: value for name, value in moved.items() if value is not own[name]}

    def _is_part(self, name: str, value: Any, params: Mapping[str, Any]) -> bool:
        """Return whether a file's name is one below the folder that another parameter names."""
        base = self._place.base
        if path_kind(name, value, base) != "file":
            return False
        if Path(value).is_absolute() or ".." in Path(value).parts:
            return False
        folders = [v for key, v in params.items() if path_kind(key, v, base) == "folder"]
        there = any((base / folder / value).exists() for folder in folders)
        return there or (bool(folders) and not (base / value).exists())

    def _moved(self, name: str, value: Any, what: str) -> Any:
        if isinstance(value, list | tuple) and type(value) in {list, tuple}:
            items = [self._moved(name, item, what) for item in value]
            same = all(a is b for a, b in zip(items, value, strict=True))
            return value if same else type(value)(items)
        if type(value) is dict:
            parts = {
                key: self._moved(self._name(key, name, v), v, what) for key, v in value.items()
            }
            return value if all(parts[key] is value[key] for key in value) else parts
        why = cannot_move(name, value, self._place.base)
        if why:
            raise _refusal(what, name, why)
        kind = path_kind(name, value, self._place.base)
        if not kind:
            return value
        moved = self._place.moved(value)
        if str(moved) == str(value):
            return value
        try:
            self._place.bring(self._place.base / value)
        except ValueError as error:
            raise _refusal(what, name, str(error)) from None
        self._place.make(moved if kind == "folder" else moved.parent)
        return type(value)(moved) if isinstance(value, Path) else str(moved)

    def _name(self, key: Any, name: str, value: Any) -> str:
        """Return what tells more of a value in a mapping: its key, or the parameter's name."""
        return key if isinstance(key, str) and path_kind(key, value, self._place.base) else name

    # -- checkpoints ---------------------------------------------------------------------------

    def _targets(self, params: Mapping[str, Any]) -> set[str]:
        """Return where a checkpoint with these parameters writes; braces stand for numbers."""
        if not {"dirname", "fn_prefix", "f_params"} <= params.keys():
            return set()
        return {str(self._place.moved(path)) for path in _paths(params).values()}

    def _checkpoint(self, callback: Any, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        own = {key: v for key, v in params.items() if key not in _shared(callback)}
        for name, value in own.items():
            why = cannot_move(name, value, self._place.base) if name.startswith("f_") else ""
            if why:
                raise _refusal(what, name, why)
        paths = _paths(params)
        wanted = {name: self._place.moved(path) for name, path in paths.items()}
        if all(str(path) == str(wanted[name]) for name, path in paths.items()):
            return {}
        own_class = type(callback).__module__.partition(".")[0] not in {"skorch", "hpo"}
        for name, path in paths.items():
            source = self._place.base / path
            self._make_parents(source)
            if own_class or str(wanted[name]) in self._read:
                for found in _matches(source):
                    self._place.bring(found, of_any_size=True)
        return self._as_params(params, paths, wanted)

    def _make_parents(self, template: Path) -> None:
        """Make the folders that a checkpoint is written to, those too that have a number."""
        parent = template.parent
        for folder in _matches(parent) if "{" in str(parent) else [parent]:
            self._place.make(self._place.moved(folder))

    def _as_params(
        self, params: Mapping[str, Any], paths: Mapping[str, str], wanted: Mapping[str, Path]
    ) -> dict[str, Any]:
        """Return the parameters that say where to write: one folder, or each file by itself."""
        folder = str(self._place.moved(params["dirname"]))
        others = [params[n] for n in params if n.startswith("f_") and n not in paths]
        as_texts = all(isinstance(params[name], str) for name in paths)
        if as_texts and not any(others):
            there = {name: Path(folder, params["fn_prefix"] + params[name]) for name in paths}
            if all(os.path.normpath(there[name]) == str(wanted[name]) for name in paths):
                return {"dirname": folder}
        files = {name: type(params[name])(str(path)) for name, path in wanted.items()}
        return {"dirname": "", "fn_prefix": "", **files}

    def _absolute(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what lets files be read by a process that has been started elsewhere."""
        for path in _paths(params).values():
            for found in _matches(self._place.base / path):
                self._place.note(found)
        files = (value for name, value in params.items() if name.startswith("f_") and value)
        if Path.cwd() == self._place.base or not all(isinstance(file, str) for file in files):
            return {}
        return {"dirname": str(self._place.base / params["dirname"])}


def _shared(callback: Any) -> Collection[str]:
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


def _made_anew(old: Any, params: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    """Return a callback with other parameters, made by its class: it may derive from them."""
    if not hasattr(old, "get_params"):
        new = copy.copy(old)
        vars(new).update(changes)
        return new
    return type(old)(**{name: v for name, v in {**params, **changes}.items() if "__" not in name})


def refuse_what_cannot_be_copied(estimator: Any, base: Path) -> None:
    """Name a parameter of a callback of which folds cannot have copies, such as an open file.

    Raises
    ------
    StudyError
    """
    for net in nets_of(estimator):
        for entry in entries(net):
            for name, value in entry.params.items():
                why = cannot_move(name, value, base) or _why_not_copied(value)
                if why:
                    raise _refusal(entry.told, name, why)


def _why_not_copied(value: Any) -> str:
    try:
        copy_of(value)
    except Exception as error:
        return f"({type(value).__name__}) cannot be copied: {error}"
    return ""


def _refusal(what: str, name: str, why: str) -> StudyError:
    return StudyError(
        f"{what[0].upper()}{what[1:]}: its parameter '{name}' {why}, so each fold of each trial "
        "cannot have files of its own. Give a path (to a small folder, or to none that exists) "
        "and open files in on_train_begin; or, if it is only read or may be shared by all, name "
        f'the parameter in the class: {SHARED} = ("{name}",).'
    )


def close_writers(estimator: Any) -> None:
    """Close what TensorBoard's writers of an estimator hold open."""
    for net in nets_of(estimator):
        for _, callback in getattr(net, "callbacks_", ()):
            for value in vars(callback).values():
                if isinstance(value, LateWriter):
                    value.close()


def move_again(thing: Any, old: str, new: str, seen: set[int] | None = None) -> None:
    """Replace a folder at the beginning of paths, in a net or callback and all that it holds.

    Parameters
    ----------
    thing : estimator, callback or writer
    old, new : str
        The folder, before and after.
    """
    seen = set() if seen is None else seen
    whole = is_callback(thing) or isinstance(thing, LateWriter)
    for part in [thing] if whole else nets_of(thing):
        if id(part) not in seen:
            seen.add(id(part))
            for name, value in vars(part).items():
                vars(part)[name] = _moved_again(value, old, new, seen)


def _moved_again(value: Any, old: str, new: str, seen: set[int]) -> Any:
    if isinstance(value, str | Path) and f"{value}{os.sep}".startswith(f"{old}{os.sep}"):
        return type(value)(new + str(value)[len(old) :])
    if type(value) in {list, tuple}:
        return type(value)(_moved_again(item, old, new, seen) for item in value)
    if type(value) is dict:
        return {key: _moved_again(item, old, new, seen) for key, item in value.items()}
    if is_callback(value) or isinstance(value, LateWriter):
        move_again(value, old, new, seen)
    return value
