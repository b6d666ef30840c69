"""Which parameters of a callback are paths, or objects that write to files."""

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

__all__ = ["SHARED", "cannot_move", "is_checkpoint", "path_candidates", "path_kind"]

SHARED = "hpo_shared_paths"
"""Class attribute of a callback (or a net): names of parameters that are left as they are.

It is meant for paths that are only read, or that several trainings may write to at once.
"""

_FOLDER = re.compile(r"(dir|dirname|directory|folder)$", re.IGNORECASE)
_FILE = re.compile(
    r"(path|(?<!pro)file|filename|fname)s?$|^(path|file)_|(save|write|log)_(to|as)$", re.IGNORECASE
)
_LIBRARIES = ("skorch.", "hpo.")
"""Packages whose parameters are not paths, except for those named in this module."""

_SUFFIX = re.compile(
    r"\.(arrow|bin|ckpt|csv|db|feather|gz|h5|hdf5|html|jpg|json|jsonl|joblib|log|md|msgpack|npy|npz"
    r"|onnx|parquet|pdf|pickle|pkl|png|pt|pth|safetensors|sqlite|svg|tar|tb|tsv|txt|xml|ya?ml|zip)$",
    re.IGNORECASE,
)
_IN_MEMORY = (io.BytesIO, io.StringIO, tempfile.SpooledTemporaryFile)
_MAX_LENGTH = 1024
"""Maximum number of characters of a path."""


def is_checkpoint(callback: Any) -> bool:
    """Return whether a callback takes its paths as skorch's ``Checkpoint`` does."""
    return isinstance(callback, Checkpoint | TrainEndCheckpoint)


def path_candidates(owner: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a callback or a net that may be paths.

    These are the parameters that a class of the user adds to those of its skorch or hpo base
    class, or all parameters of a class without such a base.

    Parameters
    ----------
    owner : callback or net
    params : mapping
        All parameters of ``owner``.
    """
    cls: Any = type(owner)
    if _is_library_class(cls):
        return {}
    without_paths = _library_params(cls) | set(getattr(cls, SHARED, ()))
    checkpoint = is_checkpoint(owner)
    return {
        name: value
        for name, value in params.items()
        if name not in without_paths
        and "__" not in name
        and not (checkpoint and name.startswith("f_"))
    }


def _is_library_class(cls: type) -> bool:
    return f"{cls.__module__}.".startswith(_LIBRARIES)


@cache
def _library_params(cls: type) -> frozenset[str]:
    """Return the parameters of the skorch and hpo classes among the bases of a class."""
    bases = [base for base in cls.__mro__ if _is_library_class(base) and "__init__" in vars(base)]
    return frozenset(name for base in bases for name in inspect.signature(base).parameters)


def path_kind(name: str, value: Any, base: Path) -> str:
    """Return ``"folder"``, ``"file"``, or an empty string for a value that is not a path.

    Parameters
    ----------
    name : str
        Name of the parameter: ``dirname``, ``log_dir``, ``path``, ``f_history`` ... are telling.
    value : object
        A `Path` is always a path. A string is a path if the parameter's name says so, or if it
        can hardly be anything else: an absolute path, an existing file, a known suffix
        (``best.pt``).
    base : Path
        The folder that relative paths start from.
    """
    if not isinstance(value, str | Path) or len(str(value)) > _MAX_LENGTH or "\n" in str(value):
        return ""
    text = str(value)
    if _FOLDER.search(name):
        return "folder"
    if not text or not (isinstance(value, Path) or _looks_like_path(name, text, base)):
        return ""
    return "folder" if os.path.isdir(base / text) else "file"  # noqa: PTH112 - as below


def _looks_like_path(name: str, text: str, base: Path) -> bool:
    if "://" in text:
        return bool(_FILE.search(name))
    exists = os.path.exists(base / text)  # noqa: PTH110 - returns False for an invalid path
    if _SUFFIX.search(text):
        return True
    if _FILE.search(name):
        dotted = re.fullmatch(r"\w+(\.\w+)+", text)  # a submodule: encoder.layers.0
        return exists or not dotted
    separated = "/" in text or os.sep in text
    if name.startswith("f_"):
        return separated or "{" in text
    if Path(text).is_absolute():
        return exists or os.path.isdir(Path(text).parent)  # noqa: PTH112 - as above
    return separated and exists


def cannot_move(name: str, value: Any, base: Path) -> str:
    """Return why files written through ``value`` cannot be moved to the folder of a fold.

    The text is empty if there are no such files, or if they can be moved.
    """
    in_memory = isinstance(value, _IN_MEMORY)
    if callable(getattr(value, "write", None)) and not in_memory and not isinstance(value, Path):
        return f"is open for writing ({type(value).__name__})"
    if isinstance(value, str) and "://" in value and path_kind(name, value, base):
        return f"is an address ({value})"
    return ""
