"""Domains: one folder per physics, found by its name. ``physgen.domains.NAME`` is the package of one of them."""

from __future__ import annotations

import importlib
from types import ModuleType

from physgen.domains.contract import Domain, check_same_domain, domain_of, get_domain, list_domains

__all__ = ["Domain", "check_same_domain", "domain_of", "get_domain", "list_domains"]


def __getattr__(name: str) -> ModuleType:
    if name in list_domains():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; the domains are {', '.join(list_domains())}")


def __dir__() -> list[str]:
    return sorted([*__all__, *list_domains()])
