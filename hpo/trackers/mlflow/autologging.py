"""MLflow's autologging in the user's own process: it stays away from the trials of a search."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

__all__ = ["without_autologging"]


def without_autologging() -> AbstractContextManager[Any]:
    """Return a context manager in which ``mlflow.autolog()`` logs nothing.

    Each fold of each trial would be a run of its own otherwise. MLflow is not loaded for it: where
    the user has not done so, there is nothing to switch off.
    """
    return _switched_off() if "mlflow" in sys.modules else nullcontext()


@contextmanager
def _switched_off() -> Iterator[None]:
    try:
        from mlflow.utils.autologging_utils import disable_autologging
    except ImportError:  # another version of MLflow, or only a part of it
        yield
        return
    with disable_autologging():
        yield
