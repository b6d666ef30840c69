"""Python's search for garbage, put off while a long study is read.

It looks at all objects again and again while they become more: a third of the time of reading.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["many_objects"]


@contextmanager
def many_objects() -> Iterator[None]:
    """Make many objects that stay, without a search for garbage among them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
