"""The signs of life that a driver leaves in its study, so that others do not take it for dead."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hpo.exceptions import StorageError
from hpo.storage.stored_study import HEARTBEAT_SECONDS

__all__ = ["Heart"]


class Heart:
    """Leaves signs of life, and looks for those of other drivers.

    Parameters
    ----------
    leave : callable
        ``leave(time)`` stores a sign of life.
    look : callable
        Looks at the other drivers; how long ago one was seen is known only to who looks often.
    durable : bool
        Whether others can see the study; otherwise nothing happens.
    """

    def __init__(
        self, leave: Callable[[float], None], look: Callable[[], object], *, durable: bool
    ) -> None:
        self._leave = leave
        self._look = look
        self._durable = durable
        self._last = 0.0

    def beat(self) -> None:
        """Leave a sign of life, unless the last one is young; cheap to call often."""
        now = time.time()
        if self._durable and now - self._last > HEARTBEAT_SECONDS:
            self._last = now
            self._leave(now)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat and look in the block, whatever it does.

        A thread does so, for an epoch or a refit may take hours.
        """
        if not self._durable:
            yield
            return
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_SECONDS):
                with suppress(StorageError):  # the driver itself will meet it
                    self.beat()
                    self._look()

        thread = threading.Thread(target=beat, name="hpo-heartbeat", daemon=True)
        self.beat()
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
