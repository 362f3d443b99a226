"""What this process does with the memory that it frees."""

import ctypes
import os

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
LARGEST_KEPT = 32 * 2**20  # bytes: the most that glibc takes for M_MMAP_THRESHOLD
ENVIRONMENT = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Keep freed arrays up to 32 MiB for the next ones, from here to the end of the process; whether that was done.

    A training step allocates and frees the same arrays again and again. glibc gives what it frees at the end of its
    heap back to the system, which fills every page with zeros when the next step asks for it: up to a tenth of the
    step of a U-Net on a CPU. The peak stays the same within a few per cent. Nothing is changed without glibc, nor
    where the environment sets its thresholds.
    """
    if any(name in os.environ for name in ENVIRONMENT):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(MMAP, LARGEST_KEPT)) and bool(mallopt(TRIM, 2**31 - 1))
