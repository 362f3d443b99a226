"""Triton kernels written as plain functions of a module, so that it imports without Triton: compiled when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Kernel = Callable[..., Any]


def jitted(
    module: ModuleType, kernels: Sequence[Kernel], sizes: Sequence[str], called: Sequence[Kernel] = ()
) -> dict[str, Any] | None:
    """The kernels by name, ready to launch; None where there is no Triton.

    Args:
        module: of the kernels, whose global ``tl`` becomes ``triton.language``. kernels: to launch.
        sizes: arguments for which Triton must not make a 1 a constant.
        called: functions of the module that its kernels call; they are replaced by their compiled ones.
    """
    try:
        import triton
        import triton.language as language
    except ImportError:
        return None
    vars(module)["tl"] = language
    for function in called:
        vars(module)[function.__name__] = triton.jit(function)
    return {kernel.__name__: triton.jit(kernel, do_not_specialize=list(sizes)) for kernel in kernels}


def present(kernels: dict[str, Any] | None) -> dict[str, Any]:
    """The kernels, where it was asked before whether there are any."""
    assert kernels is not None
    return kernels
