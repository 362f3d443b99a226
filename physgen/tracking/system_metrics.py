"""Load of one node: processor, memory, disk, GPUs."""

import shutil
import sys
import threading
from contextlib import suppress

from physgen.tracking.journal import Journal


def system_metrics(node: int, folder: str = ".") -> dict[str, float]:
    """Current load of this node as ``system/<node>/...`` metrics; memory in GB = 1e9 bytes, loads in percent."""
    import psutil

    memory = psutil.virtual_memory()
    values = {
        "cpu_percent": psutil.cpu_percent(),
        "memory_percent": memory.percent,
        "memory_GB": memory.used / 1e9,
        "process_memory_GB": psutil.Process().memory_info().rss / 1e9,
        "disk_free_GB": shutil.disk_usage(folder).free / 1e9,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            values[f"gpu{index}_memory_GB"] = (total - free) / 1e9
            with suppress(Exception):  # needs the NVIDIA management library for Python
                values[f"gpu{index}_percent"] = float(torch.cuda.utilization(index))
    return {f"system/{node}/{key}": value for key, value in values.items()}


class SystemMonitor(threading.Thread):
    """Daemon thread that writes the load of this node into a journal, at most once per training step.

    Args:
        target: journal that is written.
        clock: journal whose ``last_step`` counts the steps.
        node: number of this node.
        seconds: time between two readings.
    """

    def __init__(self, target: Journal, clock: Journal, node: int, seconds: float = 10.0) -> None:
        super().__init__(name="physgen-system", daemon=True)
        self._target, self._clock, self._node, self._seconds = target, clock, node, seconds
        self._last_step = -1
        self._ending = threading.Event()

    def _write(self) -> None:
        step = self._clock.last_step
        if step > self._last_step:
            with suppress(Exception):  # a reading that fails must not stop training
                self._target.log(step, system_metrics(self._node, str(self._target.run_dir)))
            self._last_step = step

    def run(self) -> None:
        """Read until :meth:`end` is called."""
        while not self._ending.wait(self._seconds):
            self._write()

    def end(self) -> None:
        """A last reading, then stop."""
        self._ending.set()
        self.join()
        self._write()
