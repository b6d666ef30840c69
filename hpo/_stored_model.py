"""The refitted winner of a study that was read back: a pickle, loaded when it is asked for."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo._own_files import is_own
from hpo.exceptions import StorageError

__all__ = ["MissingModel", "StoredModel"]


@dataclass(frozen=True, slots=True)
class MissingModel:
    """Stands for a winner that is not kept here.

    Parameters
    ----------
    reason : str
        Why, and what to do.
    """

    reason: str

    def load(self) -> Any:
        """Raise `StorageError` with the reason."""
        raise StorageError(self.reason)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A fitted estimator in a file.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of the file.
    """

    path: Path
    sha256: str

    def load(self) -> Any:
        """Return the estimator.

        Raises
        ------
        StorageError
            If the file is gone, others may have written it (a pickle runs code), or the estimator
            cannot be loaded here.
        """
        try:
            if not is_own(self.path):
                raise StorageError(
                    f"{self.path} may have been written by another user, and to load a pickle is "
                    "to run its code. If you trust it, copy it to a folder of your own and load "
                    "it with pickle."
                )
            content = self.path.read_bytes()
        except OSError as error:
            raise StorageError(f"The winner cannot be read: {error}.") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise StorageError(f"{self.path} is not as it was written. Refit the winner.")
        try:
            return pickle.loads(content)
        except Exception as error:  # a pickle may raise anything
            raise StorageError(
                f"The winner in {self.path} cannot be loaded here: {type(error).__name__}: {error}"
            ) from error
