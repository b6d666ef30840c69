"""Many writes to an SQLite store of MLflow in one transaction, where MLflow commits each by itself.

MLflow opens six sessions for a short trial, each with a transaction of its own: their commits, and
the settings that each session makes first, are almost half of what a trial costs.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

__all__ = ["one_transaction"]

SETTINGS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 20000",
    "PRAGMA case_sensitive_like = true",
)
"""What MLflow sets at the start of each session."""


def one_transaction(client: Any) -> Callable[[], AbstractContextManager[None]] | None:
    """Return what makes one transaction of all that a client does meanwhile.

    It is a context manager: at its end all is committed; after an exception nothing is written.

    Parameters
    ----------
    client : MlflowClient

    Returns
    -------
    callable or None
        None if the client's store is no SQLite file of its own, or has not the parts that are
        needed here, which no public interface of MLflow promises.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    dialect = getattr(getattr(store, "engine", None), "name", None)
    if dialect != "sqlite" or not callable(getattr(store, "ManagedSessionMaker", None)):
        return None
    return partial(_joined, store)


@contextmanager
def _joined(store: Any) -> Iterator[None]:
    from sqlalchemy.orm import Session

    begun = False
    with store.engine.connect() as connection:
        for setting in SETTINGS:
            connection.exec_driver_sql(setting)
        connection.commit()
        with connection.begin():

            @contextmanager
            def session_in_it(*_: Any, **__: Any) -> Iterator[Session]:
                nonlocal begun
                # Not before the store comes for a session: if it had other ways to the file,
                # it would wait for a lock that is held here. At once for writing: who has read
                # first and then would write is turned away if another writes meanwhile.
                if not begun:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    begun = True
                # Its commit ends a savepoint, and its rollback takes back no more than its own.
                with Session(connection, join_transaction_mode="create_savepoint") as session:
                    try:
                        yield session
                        session.commit()
                    except BaseException:
                        session.rollback()
                        raise

            own = store.ManagedSessionMaker
            store.ManagedSessionMaker = session_in_it
            try:
                yield
            finally:
                store.ManagedSessionMaker = own
