"""Combine many writes to an SQLite store of MLflow in one transaction.

MLflow opens six sessions for a short trial, each with its own transaction. Their commits, and the
settings at the start of each session, take almost half of the time that a trial costs.
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
"""Settings that MLflow makes at the start of each session."""


def one_transaction(client: Any) -> Callable[[], AbstractContextManager[None]] | None:
    """Return a context manager that combines all writes of a client in one transaction.

    All writes are committed at its end; after an exception nothing is written.

    Parameters
    ----------
    client : MlflowClient

    Returns
    -------
    callable or None
        None if the client's store is not an SQLite file, or lacks the private parts of MLflow that
        are needed here.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    dialect = getattr(getattr(store, "engine", None), "name", None)
    if dialect != "sqlite" or not callable(getattr(store, "ManagedSessionMaker", None)):
        return None
    return partial(_joined, store)


@contextmanager
def _joined(store: Any) -> Iterator[None]:
    from sqlalchemy.orm import Session

    started = False
    with store.engine.connect() as connection:
        for setting in SETTINGS:
            connection.exec_driver_sql(setting)
        connection.commit()
        with connection.begin():

            @contextmanager
            def joined_session(*_: Any, **__: Any) -> Iterator[Session]:
                nonlocal started
                # Only when the store asks for a session: if it accessed the file in another way,
                # it would wait for a lock that is held here. IMMEDIATE, because a transaction
                # that reads first fails to write if another one has written meanwhile.
                if not started:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    started = True
                # Its commit ends a savepoint, and its rollback only undoes its own writes.
                with Session(connection, join_transaction_mode="create_savepoint") as session:
                    try:
                        yield session
                        session.commit()
                    except BaseException:
                        session.rollback()
                        raise

            original = store.ManagedSessionMaker
            store.ManagedSessionMaker = joined_session
            try:
                yield
            finally:
                store.ManagedSessionMaker = original
