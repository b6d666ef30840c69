"""Pickles of a training's state, with all that the training goes on with."""

import copyreg
import io
from typing import Any

import cloudpickle
from skorch.callbacks import EarlyStopping

__all__ = ["dumps"]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def reducer_override(self, obj: Any) -> Any:
        # It leaves out the best weights so far, which a training that goes on would end without.
        if isinstance(obj, EarlyStopping):
            return copyreg.__newobj__, (type(obj),), dict(vars(obj))  # type: ignore[attr-defined]
        return super().reducer_override(obj)


def dumps(state: Any) -> bytes:
    """Return a state, pickled by cloudpickle; only load states that you trust."""
    with io.BytesIO() as file:
        _Pickler(file).dump(state)
        return file.getvalue()
