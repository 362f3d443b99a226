"""Doors: a package exports what it holds, and nothing is imported before it is used.

A package lists its public names once, as ordinary imports under ``if TYPE_CHECKING``, which editors and type checkers
resolve; :func:`attach` reads the same lines and imports a name when it is first asked for::

    from typing import TYPE_CHECKING

    from physgen.lazy import attach

    if TYPE_CHECKING:
        from physgen.diffusion.sde import OU as OU
        from physgen.diffusion import exact as exact  # a sub-package

    __getattr__, __dir__, __all__ = attach(__name__, __file__)
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from the imports under its ``if TYPE_CHECKING``.

    Args:
        package: its ``__name__``. file: its ``__file__``.
    """
    sources = _type_checking_imports(file)
    names = sorted(sources)

    def get(name: str) -> Any:
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = sources[name]
        if module != package:
            owner = importlib.import_module(module)
            if hasattr(owner, attribute):
                return getattr(owner, attribute)
        return importlib.import_module(f"{module}.{attribute}")  # as ``from module import name`` does it

    return get, lambda: names, names


def _type_checking_imports(file: str) -> dict[str, tuple[str, str]]:
    """Name -> (module, name there)."""
    imports: dict[str, tuple[str, str]] = {}
    for node in ast.parse(Path(file).read_text()).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    imports |= {alias.asname or alias.name: (line.module, alias.name) for alias in line.names}
    return imports
