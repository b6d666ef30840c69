"""The number of threads of a worker, and its device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from hpo.exceptions import StudyError

__all__ = ["check_device", "devices", "limit_threads"]


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


def check_device(device: str | None, *, here: bool = True) -> None:
    """Raise `StudyError` if torch does not know the device, or this machine does not have it.

    Parameters
    ----------
    device : str or None
    here : bool, default=True
        Whether it is to be a device of this machine; otherwise only its name is checked.
    """
    if device is None:
        return
    advice = "Give 'cpu', 'cuda' or 'cuda:0', or None for all GPUs, else the CPU."
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise StudyError(f"device={device!r} is no device of torch. {advice}") from None
    n_gpus = torch.cuda.device_count()
    if here and kind.type == "cuda" and (kind.index or 0) >= n_gpus:
        raise StudyError(
            f"device={device!r} is not there: torch sees {n_gpus} GPUs on this machine. {advice}"
        )


def devices(device: str | None = None) -> list[str]:
    """Return the devices that workers share round robin: ``device``, all GPUs, or the CPU."""
    if device is not None:
        return [device]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
