"""What among the parameters of a callback is a path, or something else that files hang on."""

import inspect
import io
import os
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from skorch.callbacks import Checkpoint, TrainEndCheckpoint

__all__ = ["SHARED", "cannot_move", "is_checkpoint", "own_params", "path_kind"]

SHARED = "hpo_shared_paths"
"""Attribute of a callback's (or a net's) class: names of parameters that are left as they are.

For paths that are only read, or that several trainings may write to at a time.
"""

_FOLDER = re.compile(r"(dir|dirname|directory|folder)$", re.IGNORECASE)
_FILE = re.compile(
    r"(path|(?<!pro)file|filename|fname)s?$|^(path|file)_|(save|write|log)_(to|as)$", re.IGNORECASE
)
_KNOWN = ("skorch.", "hpo.")
"""Packages whose classes are known: their parameters are no paths but where it is said here."""

_ENDING = re.compile(
    r"\.(arrow|bin|ckpt|csv|db|feather|gz|h5|hdf5|html|jpg|json|jsonl|joblib|log|md|msgpack|npy|npz"
    r"|onnx|parquet|pdf|pickle|pkl|png|pt|pth|safetensors|sqlite|svg|tar|tb|tsv|txt|xml|ya?ml|zip)$",
    re.IGNORECASE,
)
_IN_MEMORY = (io.BytesIO, io.StringIO, tempfile.SpooledTemporaryFile)
_MOST = 1024
"""Characters that a path has at most."""


def is_checkpoint(callback: Any) -> bool:
    """Return whether a callback takes its paths as skorch's ``Checkpoint`` does."""
    return isinstance(callback, Checkpoint | TrainEndCheckpoint)


def own_params(thing: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the parameters of a callback or a net that are not known to be no paths.

    That is what a class of the user's adds to one of skorch's or of hpo's, or has of its own.

    Parameters
    ----------
    thing : callback or net
    params : mapping
        All of its parameters.
    """
    cls: Any = type(thing)
    if _is_known(cls):
        return {}
    known = _known_params(cls) | set(getattr(cls, SHARED, ()))
    checkpoint = is_checkpoint(thing)
    return {
        name: value
        for name, value in params.items()
        if name not in known and "__" not in name and not (checkpoint and name.startswith("f_"))
    }


def _is_known(cls: type) -> bool:
    return f"{cls.__module__}.".startswith(_KNOWN)


@cache
def _known_params(cls: type) -> frozenset[str]:
    """Return the parameters of the known classes that a class is made of."""
    made_of = [base for base in cls.__mro__ if _is_known(base) and "__init__" in vars(base)]
    return frozenset(name for base in made_of for name in inspect.signature(base).parameters)


def path_kind(name: str, value: Any, base: Path) -> str:
    """Return ``"folder"``, ``"file"``, or an empty string for a value that is no path.

    Parameters
    ----------
    name : str
        Of the parameter: ``dirname``, ``log_dir``, ``path``, ``f_history`` ... say what it is.
    value : object
        A `Path` is one. A text is one by its parameter's name, or if it looks like one and like
        nothing else: an absolute path, a file that exists, a known ending (``best.pt``).
    base : Path
        Where relative paths start.
    """
    if not isinstance(value, str | Path) or len(str(value)) > _MOST or "\n" in str(value):
        return ""
    text = str(value)
    if _FOLDER.search(name):
        return "folder"
    if not text or not (isinstance(value, Path) or _looks_so(name, text, base)):
        return ""
    return "folder" if os.path.isdir(base / text) else "file"  # noqa: PTH112 - as below


def _looks_so(name: str, text: str, base: Path) -> bool:
    if "://" in text:
        return bool(_FILE.search(name))
    there = os.path.exists(base / text)  # noqa: PTH110 - says no to what cannot be a path
    if _ENDING.search(text):
        return True
    if _FILE.search(name):
        dotted = re.fullmatch(r"\w+(\.\w+)+", text)  # a part of a module: encoder.layers.0
        return there or not dotted
    separated = "/" in text or os.sep in text
    if name.startswith("f_"):
        return separated or "{" in text
    if Path(text).is_absolute():
        return there or os.path.isdir(Path(text).parent)  # noqa: PTH112 - as above
    return separated and there


def cannot_move(name: str, value: Any, base: Path) -> str:
    """Return why files that hang on ``value`` cannot be moved to a folder of a fold's own.

    Empty where there are none, or where they can.
    """
    in_memory = isinstance(value, _IN_MEMORY)
    if callable(getattr(value, "write", None)) and not in_memory and not isinstance(value, Path):
        return f"is open for writing ({type(value).__name__})"
    if isinstance(value, str) and "://" in value and path_kind(name, value, base):
        return f"is an address ({value})"
    return ""
