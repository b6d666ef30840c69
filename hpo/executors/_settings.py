"""What a process is set to, so that a worker computes as its driver would.

============  ====================================================================================
of            what is carried to a worker
============  ====================================================================================
Python        ``sys.path``, the filters of warnings, the recursion limit; to a worker process also
              the environment's variables, the current folder, multiprocessing's start method
scikit-learn  all of ``sklearn.get_config()``
NumPy         what becomes of floating-point errors (``numpy.geterr()``)
torch         what ``hpo.training.torch_settings`` lists: default dtype and device, deterministic
              algorithms, precision of matrix products, cuDNN's switches, attention kernels,
              anomaly detection, how workers of a loader share tensors
============  ====================================================================================

Threads and devices are the executor's to give, and random numbers are a trial's own.
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
"""Variables that a worker is started with, whatever the driver's are."""


@dataclass(frozen=True)
class Settings:
    """Settings on their way to a worker; see `settings_of_this_process`.

    Parameters
    ----------
    path : list of str
        ``sys.path``. What is pickled may be importable by it alone.
    recursion_limit : int
    variables : mapping of str to str
        The environment's.
    folder : str
        The current one.
    start_method : str or None
        How multiprocessing starts processes, such as those of a loader; None if none was chosen.
    libraries : bytes
        By the name of a library, what it is set to; pickled.
    filters : bytes
        Those of warnings, which may name classes of the user's; pickled.
    """

    path: list[str]
    recursion_limit: int
    variables: Mapping[str, str] = field(repr=False)
    folder: str
    start_method: str | None
    libraries: bytes = field(repr=False)
    filters: bytes = field(repr=False)

    def enter(self, *, here: bool) -> None:
        """Set Python, before anything of the user's is loaded.

        Parameters
        ----------
        here : bool
            Whether this is a process of the driver's own, which has its environment and folder,
            or one of a cluster, which has others for good reason.
        """
        if here:
            self._move_in()
            sys.path[:] = self.path
            # A worker is born with the method that it was started with itself.
            multiprocessing.set_start_method(self.start_method, force=True)
        else:
            sys.path.extend(entry for entry in self.path if entry not in sys.path)
        with suppress(RecursionError):  # an actor may stand deeper already
            sys.setrecursionlimit(self.recursion_limit)

    def _move_in(self) -> None:
        kept = {name: os.environ[name] for name in THREADS if name in os.environ}
        given = {name: value for name, value in self.variables.items() if name not in THREADS}
        for name in set(os.environ) - set(given) - set(kept):
            del os.environ[name]
        os.environ.update(given)
        with suppress(OSError):  # it may be gone
            os.chdir(self.folder)

    def configure(self) -> None:
        """Set the libraries that are loaded."""
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
    """Return what this process, and this thread of it, is set to; ``here`` as in `Settings.enter`.

    Where it is false, neither environment nor folder are carried.
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
    # Since Python 3.14 they may be a context's own.
    filters = getattr(warnings, "_get_filters", lambda: warnings.filters)()
    try:
        pickled: bytes = cloudpickle.dumps(list(filters))
    except Exception:  # of a category that no process but this one knows
        pickled = pickle.dumps(list(filters[:0]))
    return pickled


def _sklearn_config() -> dict[str, Any]:
    import sklearn

    return dict(sklearn.get_config())


def _set_sklearn_config(config: Mapping[str, Any]) -> None:
    import sklearn

    known = sklearn.get_config()  # a node of a cluster may have another version
    sklearn.set_config(**{name: value for name, value in config.items() if name in known})


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
