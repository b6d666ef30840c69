"""The number of threads of a worker, and its device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["devices", "limit_threads"]


@contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """Let torch, OpenMP and BLAS use ``n`` threads inside the block.

    One thread per worker is best for small models: two busy processes with two OpenMP threads
    each on two cores were measured to be ten to a hundred times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(limits=n):
            yield
    finally:
        torch.set_num_threads(before)


def devices(device: str | None = None) -> list[str]:
    """Return the devices that workers share round robin: ``device``, all GPUs, or the CPU."""
    if device is not None:
        return [device]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
