"""How busy the machine is while a study runs on it, as MLflow's system metrics."""

import logging
import time
from typing import Any

__all__ = ["SystemMetrics"]

SECONDS_BETWEEN = 10.0

log = logging.getLogger(__name__)


class SystemMetrics:
    """Samples what MLflow samples: CPU, memory, disk, network, and GPUs where pynvml is installed.

    MLflow's own monitor writes from a thread, which would write into the transactions of a
    follower; so this one is asked now and then, by the follower.

    Parameters
    ----------
    seconds : float
        Least time between two samples.
    """

    def __init__(self, seconds: float = SECONDS_BETWEEN) -> None:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._seconds = seconds
        self._monitors: list[Any] = []
        for monitor in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor):
            try:
                self._monitors.append(monitor())
            except Exception as error:  # no GPU, or not the library to ask it
                log.info("%s: %s", monitor.__name__, error)
        self._collect()  # the use of the processor is that since the last time
        self._last = time.time()

    def sample(self, since: float) -> list[tuple[str, float, int, int]]:
        """Return metrics for `MlflowClient.log_batch`; none if it is too early.

        Parameters
        ----------
        since : float
            When the study began, in seconds since the epoch: steps are seconds from there.
        """
        now = time.time()
        if now - self._last < self._seconds:
            return []
        self._last = now
        self._collect()
        found: dict[str, float] = {}
        for monitor in self._monitors:
            found |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        step, milliseconds = int(now - since), int(now * 1000)
        return [(f"system/{key}", float(v), milliseconds, step) for key, v in found.items()]

    def _collect(self) -> None:
        for monitor in self._monitors:
            monitor.clear_metrics()
            monitor.collect_metrics()
