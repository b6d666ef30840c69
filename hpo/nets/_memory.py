"""The memory that training takes."""

import torch

__all__ = ["PeakMemory"]


class PeakMemory:
    """The largest memory seen while something ran, in bytes.

    On a GPU: what torch has allocated there at most (`torch.cuda.max_memory_allocated`). On a
    CPU: the resident memory of the process at the moments when `look` is called; the
    system's own high-water mark would be that of all trials before.

    Parameters
    ----------
    device : torch.device or str
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self.bytes = 0

    def begin(self) -> None:
        """Begin to watch; what others have taken until now is not counted but as it stands."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def look(self) -> None:
        """Take note of the memory at this moment, or on a GPU of the peak since `begin`."""
        if self._device.type == "cuda":
            now = torch.cuda.max_memory_allocated(self._device)
        else:
            import psutil

            now = psutil.Process().memory_info().rss
        self.bytes = max(self.bytes, now)
