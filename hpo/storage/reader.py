"""A storage that is opened once, to read several studies of it."""

from hpo.storage.open import open_cached
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import names_in, newest_of

__all__ = ["StorageReader"]


class StorageReader:
    """Reads studies by their names; opening a storage with long studies takes its time.

    Parameters
    ----------
    url : str
        See `open_storage`.

    Raises
    ------
    StorageError
        If the storage cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._backend = open_cached(url)

    @property
    def names(self) -> list[str]:
        """The stored names of the studies, sorted."""
        return names_in(self._backend, self.url)

    def stored_name(self, name: str) -> str:
        """Return the stored name of a study: after a fresh start, ``NAME`` is the newest one.

        ``NAME@1`` is the first.
        """
        first = name.removesuffix("@1")
        return first if first != name else newest_of(name, self.names)

    def study(self, name: str) -> StoredStudy:
        """Return a study by its stored name.

        Raises
        ------
        StorageError
            If there is none.
        """
        return StoredStudy(name, self.url, backend=self._backend)
