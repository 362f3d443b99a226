"""The domains that are installed, and what an ensemble says of its own."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.contract import Domain


ANY_FIELD = "any_field"  # what fields of no named physics are called where a name is needed


def list_domains() -> list[str]:
    """Names of the domains, without importing any."""
    import physgen.domains

    return sorted(m.name for m in pkgutil.iter_modules(physgen.domains.__path__) if m.ispkg)


def get_domain(name: str) -> type[Domain]:
    """The dataclass of the domain called ``name``; ``any_field`` for fields of no named physics."""
    if name == ANY_FIELD:
        from physgen.domains.any_field import Fields

        return Fields
    if name not in list_domains():
        raise InputError(f"unknown domain {name!r}; choose one of {', '.join(list_domains())}")
    return importlib.import_module(f"physgen.domains.{name}").Domain


def domain_of(ensemble: xr.Dataset) -> type[Domain]:
    """The domain that an ensemble names in its root attribute ``domain``. Raises InputError where it names none."""
    name = str(ensemble.attrs.get("domain", ""))
    if not name:
        raise InputError(
            "the ensemble does not name its physics; set its root attribute 'domain' "
            f"to one of {', '.join(list_domains())}"
        )
    return get_domain(name)


def with_units(ensemble: xr.Dataset, domain: Any = None) -> xr.Dataset:
    """The ensemble with the root attributes that say what is independent in it (:mod:`physgen.ensemble.units`).

    They are those of ``domain``, else of the domain that the ensemble names. One that says itself what its units are,
    or names no domain, is returned as it is.
    """
    from physgen.ensemble import unit_attrs

    name = str(ensemble.attrs.get("domain", ""))
    if "independent_unit" in ensemble.attrs or (domain is None and name not in (*list_domains(), ANY_FIELD)):
        return ensemble
    said = get_domain(name) if domain is None else domain
    more = [tuple(getattr(said, words, ())) for words in ("exchangeable", "unit_within")]
    return ensemble.assign_attrs(unit_attrs(said.split_by, *more))


def check_same_domain(ensemble: xr.Dataset, domain: str, name: str, owner: str) -> None:
    """Raise InputError where an ensemble is not of ``domain``; one that names none, anybody's file, passes."""
    found = ensemble.attrs.get("domain") or domain
    if found != domain:
        raise InputError(f"{name} is of the domain {found!r}, {owner} of {domain!r}: give files of the same physics")
