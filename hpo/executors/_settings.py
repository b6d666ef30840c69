"""Settings of a process, so that a worker computes as its driver would.

============  ====================================================================================
library       settings that are copied to a worker
============  ====================================================================================
Python        ``sys.path``, the filters of warnings, the recursion limit; to a worker process also
              the environment's variables, the current folder, multiprocessing's start method
scikit-learn  everything in ``sklearn.get_config()``
NumPy         handling of floating-point errors (``numpy.geterr()``)
torch         what ``hpo.training.torch_settings`` lists: default dtype and device, deterministic
              algorithms, precision of matrix products, cuDNN's switches, attention kernels,
              anomaly detection, how workers of a loader share tensors
============  ====================================================================================

Threads and devices are set by the executor, and random states by each trial.
"""

import multiprocessing
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle

__all__ = ["THREADS", "Settings", "settings_of_this_process"]

THREADS = ("OMP_NUMTHREADS", "MKL_NUMTHREADS", "OPENBLAS_NUMTHREADS")
"""Environment variables that a worker keeps from its own start, whatever the driver's are."""


@dataclass(frozen=True)
class Settings:
    """Settings to be sent to a worker; see `settings_of_this_process`.

    Parameters
    ----------
    path : list of str
        ``sys.path``; unpickling may need it.
    recursion_limit : int
    variables : mapping of str to str
        Environment variables.
    folder : str
        Current working folder.
    start_method : str or None
        How multiprocessing starts processes, such as those of a loader; None if none was chosen.
    libraries : bytes
        Settings by the name of the library; pickled.
    filters : bytes
        Filters of warnings, which may name classes of the user's; pickled.
    """

    path: list[str]
    recursion_limit: int
    variables: Mapping[str, str] = field(repr=False)
    folder: str
    start_method: str | None
    libraries: bytes = field(repr=False)
    filters: bytes = field(repr=False)

    def enter(self, *, here: bool) -> None:
        """Apply the settings of Python, before anything of the user's is loaded.

        Parameters
        ----------
        here : bool
            Whether this process runs on the driver's machine and takes over its environment and
            folder, or on a cluster, whose processes keep their own.
        """
        if here:
            self._apply_environment()
            sys.path[:] = self.path
            # In a worker, the start method is initially the one that it was started with itself.
            multiprocessing.set_start_method(self.start_method, force=True)
        else:
            sys.path.extend(entry for entry in self.path if entry not in sys.path)
        with suppress(RecursionError):  # the stack of an actor may already be deeper
            sys.setrecursionlimit(self.recursion_limit)

    def _apply_environment(self) -> None:
        own_threads = {name: os.environ[name] for name in THREADS if name in os.environ}
        variables = {name: value for name, value in self.variables.items() if name not in THREADS}
        for name in set(os.environ) - set(variables) - set(own_threads):
            del os.environ[name]
        os.environ.update(variables)
        with suppress(OSError):  # the folder may be gone
            os.chdir(self.folder)

    def configure(self) -> None:
        """Apply the settings of the libraries that are loaded."""
        for name, values in pickle.loads(self.libraries).items():
            if name in sys.modules:
                _LIBRARIES[name][1](values)

    @contextmanager
    def warning_alike(self) -> Iterator[None]:
        """Filter warnings inside the block as the driver does."""
        with warnings.catch_warnings():
            warnings.resetwarnings()
            warnings.filters[:] = pickle.loads(self.filters)  # type: ignore[index]
            yield


def settings_of_this_process(*, here: bool) -> Settings:
    """Return the settings of this process and thread; ``here`` as in `Settings.enter`.

    If it is false, neither the environment nor the folder is included.
    """
    libraries = {name: get() for name, (get, _) in _LIBRARIES.items() if name in sys.modules}
    return Settings(
        path=list(sys.path),
        recursion_limit=sys.getrecursionlimit(),
        variables=dict(os.environ) if here else {},
        folder=_folder() if here else "",
        start_method=multiprocessing.get_start_method(allow_none=True),
        libraries=pickle.dumps(libraries),
        filters=_pickled_filters(),
    )


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it has been removed
        return ""


def _pickled_filters() -> bytes:
    # Since Python 3.14 a context may have its own filters.
    filters = getattr(warnings, "_get_filters", lambda: warnings.filters)()
    try:
        pickled: bytes = cloudpickle.dumps(list(filters))
    except Exception:  # a category that no other process can import
        pickled = pickle.dumps(list(filters[:0]))
    return pickled


def _sklearn_config() -> dict[str, Any]:
    import sklearn

    return dict(sklearn.get_config())


def _set_sklearn_config(config: Mapping[str, Any]) -> None:
    import sklearn

    supported = sklearn.get_config()  # a node of a cluster may have another version
    sklearn.set_config(**{name: value for name, value in config.items() if name in supported})


def _numpy_errors() -> dict[str, Any]:
    import numpy as np

    return dict(np.geterr())


def _set_numpy_errors(errors: Mapping[str, Any]) -> None:
    import numpy as np

    np.seterr(**errors)


def _torch_settings() -> dict[str, Any]:
    from hpo.training.torch_settings import torch_settings

    return torch_settings()


def _set_torch_settings(settings: Mapping[str, Any]) -> None:
    from hpo.training.torch_settings import set_torch_settings

    set_torch_settings(settings)


_LIBRARIES: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "sklearn": (_sklearn_config, _set_sklearn_config),
    "numpy": (_numpy_errors, _set_numpy_errors),
    "torch": (_torch_settings, _set_torch_settings),
}
