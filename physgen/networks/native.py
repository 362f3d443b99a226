"""The C++ files of this folder, compiled once for this processor: a library that layers call, or none.

The library lies in ``$XDG_CACHE_HOME/physgen`` (``~/.cache/physgen``) under a name that depends on the source, the
compiler's flags and the processor, so that machines that share a home do not share what they cannot run. It takes ten
seconds to make. Without a C++ compiler, or with ``PHYSGEN_KERNELS=off`` in the environment, the layers run on the
kernels of torch: the same numbers up to rounding.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch

SOURCES = tuple(
    Path(__file__).with_name(name)
    for name in (
        "kernels.cpp", "narrow.cpp", "passing.cpp", "resolution.cpp",
        "numbers.h", "sigmoid.h", "vectors.h", "passing.h", "passing_steps.h", "passing_layers.h", "passing_gradient.h",
    )
)  # fmt: skip
FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp",
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []),
)  # fmt: skip
COMPILERS = ("c++", "g++", "clang++")
BUILD_SECONDS = 120
log = logging.getLogger(__name__)
_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Inside, the fused layers run on the kernels of torch."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def library() -> ctypes.CDLL | None:
    """The compiled kernels, made on the first call; None where they are off or cannot be made (said once)."""
    if _plain.get() or os.environ.get("PHYSGEN_KERNELS") == "off":
        return None
    return _library()


@functools.cache
def kernel(name: str, arguments: int) -> Callable[..., None]:
    """A function of the library that takes so many addresses (integers, or None); there must be a library."""
    function = getattr(_library(), name)
    function.argtypes, function.restype = [ctypes.c_void_p] * arguments, None
    return function


@functools.cache
def _library() -> ctypes.CDLL | None:
    compiler = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), *COMPILERS)))), None)
    if compiler is None:
        log.warning("no C++ compiler here: networks run on torch's own kernels, slower on a CPU")
        return None
    try:
        return ctypes.CDLL(str(_build(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        log.warning("%s cannot build the kernels of the networks, torch's own are taken: %s", compiler, reason.strip())
        return None


def _build(compiler: str) -> Path:
    texts = [path.read_text() for path in SOURCES]
    digest = hashlib.sha256("\n".join([*texts, *FLAGS, compiler, _processor()]).encode()).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "physgen"
    target = folder / f"kernels-{digest[:16]}.so"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # several processes may build at once: the last one stays
        made = Path(scratch) / "kernels.so"
        sources = [str(path) for path in SOURCES if path.suffix == ".cpp"]
        command = [compiler, *FLAGS, *sources, "-o", str(made), *_openmp_of_torch()]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS)
        made.replace(target)
    return target


def _openmp_of_torch() -> list[str]:
    """torch's own OpenMP runtime where it ships one: two pools of threads in a process would wait for each other."""
    return [str(path) for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))[:1]]


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
