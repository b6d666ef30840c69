"""A stand-in for TensorBoard's writers, which can be neither copied nor pickled."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["LateWriter", "cloneable", "is_summary_writer"]

_SETTINGS = ("purge_step", "max_queue", "flush_secs", "filename_suffix")
_FOLDERS = ("log_dir", "logdir")
"""How torch and tensorboardX name the folder of a writer."""


class LateWriter:
    """A ``SummaryWriter`` that is opened when it is first written to.

    Parameters
    ----------
    cls : type
        ``torch.utils.tensorboard.SummaryWriter``, or tensorboardX's.
    folder : str
    settings : dict
        Other arguments of ``cls``.
    """

    def __init__(self, cls: type, folder: str, settings: dict[str, Any]) -> None:
        self._cls = cls
        self.log_dir = folder
        self._settings = settings
        self._writer: Any = None

    @property
    def logdir(self) -> str:
        """The name of `log_dir` in tensorboardX."""
        return self.log_dir

    def moved(self, folder: str) -> "LateWriter":
        """Return a writer with the same settings for another folder."""
        return LateWriter(self._cls, folder, self._settings)

    def close(self) -> None:
        """Close the writer, if it was opened; the next call opens it again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(self._cls, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._open(), name)

    def _open(self) -> Any:
        if self._writer is None:
            where = next(name for name in _FOLDERS if _takes(self._cls, name))
            self._writer = self._cls(**{where: self.log_dir}, **self._settings)
        return self._writer

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_writer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def __sklearn_clone__(self) -> "LateWriter":
        return self.moved(self.log_dir)


def _takes(cls: Any, name: str) -> bool:
    return name in inspect.signature(cls).parameters


def is_summary_writer(value: Any) -> bool:
    """Return whether ``value`` is a writer of TensorBoard's log files."""
    named = any(cls.__name__ == "SummaryWriter" for cls in type(value).__mro__)
    return named and any(_takes(type(value), name) for name in _FOLDERS)


@contextmanager
def cloneable(writers: list[Any]) -> Iterator[None]:
    """Let `sklearn.base.clone` replace each of ``writers`` by a `LateWriter`."""
    for writer in writers:
        writer.__sklearn_clone__ = lambda writer=writer: _stand_in(writer)
    try:
        yield
    finally:
        for writer in writers:
            del writer.__sklearn_clone__


def _stand_in(writer: Any) -> LateWriter:
    folder = next(getattr(writer, name) for name in _FOLDERS if hasattr(writer, name))
    arguments = {
        name: getattr(writer, name, getattr(writer, f"_{name}", None))
        for name in _SETTINGS
        if _takes(type(writer), name)
    }
    settings = {name: value for name, value in arguments.items() if value is not None}
    return LateWriter(type(writer), str(Path(folder)), settings)
