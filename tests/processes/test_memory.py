"""Freed arrays are kept for the next ones."""

import platform
import subprocess
import sys

import pytest

from physgen.processes.memory import keep_freed_memory

# an array of 24 MiB lies on the heap, and the heap does not shrink when it is freed
CHILD = """
import ctypes, sys
from physgen.processes.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype = c.sbrk.restype = ctypes.c_void_p
c.free.argtypes, c.sbrk.argtypes = [ctypes.c_void_p], [ctypes.c_ssize_t]
array = c.malloc(24 * 2**20)
end = c.sbrk(0)
c.free(array)
print(array < end and c.sbrk(0) == end)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the thresholds are those of glibc")
@pytest.mark.parametrize(("way", "kept"), [("keep", "True"), ("default", "False")])
def test_what_is_freed_stays_on_the_heap(way, kept):
    found = subprocess.run([sys.executable, "-c", CHILD, way], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == kept


def test_the_thresholds_of_the_environment_stay(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()
