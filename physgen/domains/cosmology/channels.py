r"""Fields as conditions: a further field on the same lattice (a surrogate, the initial or the final density) that the
field is drawn under, encoded with constants of its own into ``condition["channels"]`` (B, C', \*grid).

Any variable with the attribute ``role = "condition"`` is one (:mod:`physgen.ensemble.pairing`); its attribute
``field_kind`` says what it holds, that of the ensemble where it is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import xarray as xr

from physgen.domains.cosmology.encoding import encode_field
from physgen.ensemble.pairing import condition_fields
from physgen.errors import InputError


def as_field(ensemble: xr.Dataset, name: str) -> xr.Dataset:
    """An ensemble whose field is the condition ``name``."""
    channel = ensemble[name]
    kind = channel.attrs.get("field_kind", ensemble.attrs.get("field_kind", "delta"))
    coords = {d: ensemble.coords[d].variable for d in channel.dims if d in ensemble.coords}
    return xr.Dataset({"field": channel.variable}, coords, ensemble.attrs | {"field_kind": kind})


def fit_channels(train: xr.Dataset, transform: str) -> dict[str, dict[str, Any]]:
    """name -> constants of the encoding of each condition, see :func:`.fitting.fit_encoding`; {} where none is."""
    from physgen.domains.cosmology.fitting import fit_encoding

    found = {}
    for name in condition_fields(train):
        if set(train[name].dims) != set(train["field"].dims) or "component" in train[name].dims:
            raise InputError(
                f"the condition {name!r} has dims {train[name].dims}, the field {train['field'].dims}: a condition has "
                "one component and the dims of the field"
            )
        found[name] = fit_encoding(as_field(train, name), transform, "encoded")
        found[name].pop("spectrum")
    return found


def encode_channels(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    r"""{"channels": (B, C', \*grid)} in the order of the constants, or {} where the model was trained without.

    Raises InputError where a condition is missing.
    """
    parts = constants.get("condition_fields") or {}
    if not parts:
        return {}
    missing = [name for name in parts if name not in ensemble.variables]
    if missing:
        raise InputError(
            f"the field {missing[0]!r} is missing: the model draws under {', '.join(parts)}; give conditions that hold "
            "it (--like FILE of `physgen pair`)"
        )
    return {"channels": torch.cat([encode_field(as_field(ensemble, n), part) for n, part in parts.items()], dim=1)}
