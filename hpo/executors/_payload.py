"""The objective for worker processes: pickled once, with its arrays shared by all of them."""

import mmap
import pickle
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from hpo._scratch import temporary_files
from hpo.exceptions import ExecutorError

__all__ = ["Payload", "hidden_main", "load", "pickled"]


class Payload:
    """An object pickled into a temporary file from which any number of processes load it.

    Classes and functions of ``__main__`` and of study files go by value (cloudpickle), so
    workers need not import them. NumPy arrays stay outside the pickle and are mapped into
    each worker, copy on write: one copy in memory whatever the number of workers.

    Raises
    ------
    ExecutorError
        If the object cannot be pickled; the message names the part that cannot.
    StorageError
        If the file cannot be written.
    """

    def __init__(self, content: Any) -> None:
        head, buffers = pickled(content)
        with temporary_files():
            self._write(head, buffers)

    def _write(self, head: bytes, buffers: list[pickle.PickleBuffer]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hpo-", ignore_cleanup_errors=True)
        path = Path(self._folder.name) / "objective"
        sizes = []
        with path.open("wb") as file:
            file.write(head)
            for buffer in buffers:
                file.write(b"\0" * (-file.tell() % 64))  # aligned, as NumPy prefers its arrays
                start = file.tell()
                sizes.append((start, file.write(buffer.raw())))
        self.address: tuple[str, int, list[tuple[int, int]]] = (str(path), len(head), sizes)

    def close(self) -> None:
        """Remove the file; processes that have loaded it keep their mapping."""
        self._folder.cleanup()


def pickled(content: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Return ``content`` pickled by value, and its arrays as separate buffers.

    Raises
    ------
    ExecutorError
        If it cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        with _main_by_value():
            head = cloudpickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    except Exception as error:
        raise ExecutorError(
            f"The study cannot be carried to worker processes: {error}. Open files, locks and "
            "generators do not travel: make them inside the module, or use executor='serial'."
        ) from error
    return head, buffers


@contextmanager
def _main_by_value() -> Iterator[None]:
    """Pickle what the user's script defines by value in a spawned process too.

    There, multiprocessing has run the script under another name than ``__main__``.
    """
    main = sys.modules.get("__mp_main__")
    if main is None or main.__name__ != "__mp_main__":
        yield
        return
    cloudpickle.register_pickle_by_value(main)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(main)


def load(address: tuple[str, int, list[tuple[int, int]]]) -> Any:
    """Return the object at the ``address`` of a `Payload`."""
    path, head, parts = address
    with Path(path).open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    return pickle.loads(mapped[:head], buffers=[mapped[a : a + n] for a, n in parts])


@contextmanager
def hidden_main() -> Iterator[None]:
    """Keep multiprocessing from running the user's script again in each worker.

    It would import the file of ``__main__`` there, which fails in scripts without an
    ``if __name__ == "__main__"`` guard; what the worker needs from it is pickled by value.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
