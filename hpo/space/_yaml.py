"""Read and write the YAML of a search space.

The reader follows YAML 1.2: ``1e-4`` is a number, ``yes`` and ``off`` are text. The node tree
is converted to plain data here, because that keeps all line numbers and reports all duplicate
keys, where a loader stops at the first.
"""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.exceptions import SpaceError

__all__ = ["Document", "parse_text", "read_text", "write_value"]

_TAG = "tag:yaml.org,2002:"
_SUFFIXES = (".yaml", ".yml")

_MOST_VALUES = 100_000
"""Values that the aliases of a text may stand for: some hundred bytes could stand for millions."""
_MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a YAML text.

    Parameters
    ----------
    data : object
        Dicts, lists, text, numbers, booleans and None; None for an empty text.
    lines : mapping of tuple to int
        Path of keys to the line, from 1, on which the key stands.
    problems : tuple of str
        Messages about duplicate keys and values that are not plain data.
    unread : frozenset
        Top-level keys whose values contain something that is not plain data; it is read as None.
    checked : bool
        Whether a storage kept it, which keeps nothing else than checked spaces.
    """

    data: Any
    lines: Mapping[tuple[Any, ...], int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unread: frozenset[Any] = frozenset()
    checked: bool = False


def read_text(source: str | Path) -> str:
    """Return the text of the file ``source``.

    Raises
    ------
    SpaceError
        If there is no such file, it cannot be read or its bytes are not UTF-8 text.
    """
    path = Path(source)
    if isinstance(source, str) and "\n" in source:
        raise SpaceError(
            ["A search space is loaded from a path; read YAML text with SearchSpace.loads(text)."]
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except IsADirectoryError:
        message = f"{source}: is a directory; name a YAML file{_listing(path)}."
        raise SpaceError([message]) from None
    except FileNotFoundError:
        raise SpaceError([f"{source}: there is no such file{_nearest(path)}"]) from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SpaceError(
            [
                f"{source}: is not UTF-8 text (byte 0x{byte:02x} at position {error.start}); "
                "a search space is a YAML text file."
            ]
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SpaceError([f"{source}: cannot be read: {reason}."]) from None


def _yaml_files(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir() if p.suffix in _SUFFIXES)
    except OSError:  # a folder that may not be listed
        return []


def _listing(folder: Path) -> str:
    files = _yaml_files(folder)
    return f" in it, such as {', '.join(files[:10])}" if files else ""


def _nearest(path: Path) -> str:
    """Return a hint: the file with the most similar name, or the files in the folder."""
    if not path.parent.is_dir():
        return f", nor a folder '{path.parent}'."
    files = _yaml_files(path.parent)
    stems = {Path(name).stem: name for name in files}
    near = difflib.get_close_matches(path.stem, list(stems), n=1)
    if near:
        return f", did you mean '{path.parent / stems[near[0]]}'?"
    return f". The folder holds: {', '.join(files[:10])}." if files else "."


def parse_text(text: str, source: str) -> Document | list[Document]:
    """Return the content of the YAML ``text``; for a list, one document per item.

    ``source`` names the text in messages.

    Raises
    ------
    SpaceError
        If the text is not YAML; the message gives line and column.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    reader = YAML(typ="safe", pure=True)
    reader.max_depth = _MOST_LEVELS  # known from ruamel.yaml 0.19 on; before it, Python's own limit
    too_deep = f"{source}: is nested too deeply to be a search space."
    try:
        node = reader.compose(text)
        if node is not None and node.id == "sequence":
            parts = enumerate(node.value)
            return [_Reader(f"{source}[{i}]").document(part) for i, part in parts]
        return _Reader(source).document(node)
    except MarkedYAMLError as error:
        if "maximum depth" in (error.problem or ""):
            raise SpaceError([too_deep]) from None
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        description = ", ".join(
            str(part).strip() for part in (error.context, error.problem) if part
        )
        if mark and mark.line >= len(text.splitlines()):  # at the end: what was not closed
            mark = error.context_mark or mark
        shown = _marked(text, mark.line, mark.column) if mark else ""
        raise SpaceError([f"{source}: is not valid YAML{where}: {description}.{shown}"]) from None
    except YAMLError as error:
        description = " ".join(str(error).split())
        raise SpaceError([f"{source}: is not valid YAML: {description}."]) from None
    except (ValueError, OverflowError) as error:  # an escape such as \\U99999999 is no character
        if isinstance(error, SpaceError):
            raise
        raise SpaceError([f"{source}: is not valid YAML: {error}."]) from None
    except RecursionError:
        raise SpaceError([too_deep]) from None


def _marked(text: str, line: int, column: int) -> str:
    """Return a line of ``text`` with a caret under one of its columns; both from 0."""
    lines = text.splitlines()
    if line >= len(lines):
        return ""
    start = max(0, column - 60)  # a line may be of any length
    shown = lines[line][start : start + 76].replace("\t", " ")
    return f"\n    {shown}\n    {' ' * (column - start)}^"


@dataclass(slots=True)
class _Reader:
    """Converts YAML nodes to plain data, and collects line numbers and problems."""

    source: str
    lines: dict[tuple[Any, ...], int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unread: set[Any] = field(default_factory=set)
    _cache: dict[int, Any] = field(default_factory=dict)
    _in_progress: set[int] = field(default_factory=set)
    _extents: dict[int, tuple[int, int]] = field(default_factory=dict)
    _n_aliased: int = 0

    def document(self, node: Any) -> Document:
        """Return the content of ``node``, which is None for an empty text."""
        data = None if node is None else self.value(node, ())
        return Document(data, self.lines, tuple(self.problems), frozenset(self.unread))

    def value(self, node: Any, path: tuple[Any, ...]) -> Any:
        """Return the plain data of ``node``; ``path`` holds the keys that lead to it."""
        if node.id == "scalar":
            return self._scalar(node, path)
        if node.tag != _TAG + node.id[:3]:  # "map" of a mapping, "seq" of a sequence
            self._unknown_tag(node, path)
            return None
        if id(node) in self._cache:  # an alias: read once, however often it is used
            return self._aliased(node, path)
        if id(node) in self._in_progress:
            self._problem(path, "an alias refers to what it stands in", node)
            return None
        self._in_progress.add(id(node))
        build = self._mapping if node.id == "mapping" else self._sequence
        self._cache[id(node)] = data = build(node, path)
        self._in_progress.discard(id(node))
        self._extents[id(node)] = self._extent(node)
        return data

    def _aliased(self, node: Any, path: tuple[Any, ...]) -> Any:
        """Return the data of a node that was read before.

        Whoever compares, prints or stores the data meets all values, not only those written.

        Raises
        ------
        SpaceError
            If that becomes too much.
        """
        n_values, n_levels = self._extents[id(node)]
        self._n_aliased += n_values
        too_much = ""
        if self._n_aliased > _MOST_VALUES:
            too_much = f"stand for more than {_MOST_VALUES:,} values"
        elif n_levels + len(self._in_progress) > _MOST_LEVELS:
            too_much = f"are nested deeper than {_MOST_LEVELS} levels"
        if too_much:
            line = node.start_mark.line + 1
            raise SpaceError([f"{self.source}: {path[0]}: its aliases {too_much} (line {line})."])
        return self._cache[id(node)]

    def _extent(self, node: Any) -> tuple[int, int]:
        """Return how many values a list or a mapping has, those in it included, and its depth."""
        parts = [pair[1] for pair in node.value] if node.id == "mapping" else node.value
        extents = [self._extents.get(id(part), (1, 0)) for part in parts]
        return 1 + sum(n for n, _ in extents), 1 + max((depth for _, depth in extents), default=0)

    def _mapping(self, node: Any, path: tuple[Any, ...]) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.id != "scalar":
                self._problem(path, "a key must be text, not a list or a mapping", key_node)
                continue
            key = self._scalar(key_node, path)
            here = (*path, key)
            if key in data:
                where = ": ".join(map(str, here[:1]))
                what = "is given twice" if not path else f"key '{key}' is given twice"
                self.problems.append(
                    f"{self.source}: {where}: {what} (lines {self.lines[here]} and {line})."
                )
                continue
            self.lines[here] = line
            data[key] = self.value(value_node, here)
        return data

    def _sequence(self, node: Any, path: tuple[Any, ...]) -> list[Any]:
        return [self.value(item, path) for item in node.value]

    def _scalar(self, node: Any, path: tuple[Any, ...]) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind in {"str", "timestamp", "merge", "value"}:
            return text
        if kind not in _SCALARS:
            self._unknown_tag(node, path)
            return None
        try:
            return _SCALARS[kind](text)
        except (KeyError, ValueError):
            self._problem(path, f"'{text[:40]}' is not a {kind}", node)
            return None

    def _unknown_tag(self, node: Any, path: tuple[Any, ...]) -> None:
        self._problem(path, f"the tag {node.tag} is not known here; leave it out", node)

    def _problem(self, path: tuple[Any, ...], message: str, node: Any) -> None:
        self.unread.update(path[:1])
        where = "".join(f"{key}: " for key in path[:1])
        self.problems.append(f"{self.source}: {where}{message} (line {node.start_mark.line + 1}).")


def _integer(text: str) -> int:
    bare = text.replace("_", "").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(bare.lstrip("+-")[:2], 10)
    return int(bare, base)


def _float(text: str) -> float:
    bare = text.replace("_", "").lower()
    return float(bare.replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _integer,
    "float": _float,
}


def write_value(value: Any) -> str:
    """Return plain data as YAML on one line, so that reading it gives the same data."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{write_value(k)}: {write_value(v)}" for k, v in value.items())
        return "{" + inner + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(write_value, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Return ``text`` without quotes if it is certainly read as text, else in double quotes."""
    parts = text.split(".")
    is_name = all(part.isidentifier() and part.isascii() for part in parts)
    if is_name and text.lower() not in {"true", "false", "null"}:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\U{code:08x}"
