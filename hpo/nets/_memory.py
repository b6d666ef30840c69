"""Measure the memory used by training."""

import torch

__all__ = ["PeakMemory"]


class PeakMemory:
    """The peak memory of a computation, in bytes.

    On a GPU it is the maximum that torch has allocated (`torch.cuda.max_memory_allocated`). On a
    CPU it is the maximum resident memory of the process at the moments when `update` is called,
    since the high-water mark of the system would include all earlier trials.

    Parameters
    ----------
    device : torch.device or str
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self.bytes = 0

    def begin(self) -> None:
        """Start measuring, on a GPU from the memory that is allocated now."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def update(self) -> None:
        """Record the memory at this moment, or on a GPU the peak since `begin`."""
        if self._device.type == "cuda":
            now = torch.cuda.max_memory_allocated(self._device)
        else:
            import psutil

            now = psutil.Process().memory_info().rss
        self.bytes = max(self.bytes, now)
