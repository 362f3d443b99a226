"""Names that a package imports when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

LazyNames = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazy_names(package: str, where: Mapping[str, Iterable[str]], submodules: Iterable[str] = ()) -> LazyNames:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: its ``__name__``.
        where: module (full name) -> the names that it gives.
        submodules: modules inside the package that are names too.

    The package imports the same names under ``TYPE_CHECKING``, for editors and type checkers;
    tests/test_public_names.py holds the two together.
    """
    owner = {name: module for module, names in where.items() for name in names}
    rooms = tuple(submodules)
    everything = sorted([*owner, *rooms])

    def get(name: str) -> Any:
        if name in owner:  # as ``from module import name`` does it: an attribute, else a submodule
            module = importlib.import_module(owner[name])
            return getattr(module, name) if hasattr(module, name) else importlib.import_module(f"{owner[name]}.{name}")
        if name in rooms:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: everything, everything
