"""The rules that every ensemble keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.blocks import read_values, sample_regions
from physgen.ensemble.layout import sample_dims, space_dims, spacing
from physgen.ensemble.scratch import give_back_pages
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


TEMPLATE = "template"  # root attribute of a Dataset without configurations: what it holds instead


def check_template(template: xr.Dataset) -> xr.Dataset:
    """Return a *template*, conditions without configurations, else raise InputError.

    It has no ``field``, names its ``domain``, and says in the root attribute ``template`` what it holds: a Dataset
    whose ``field`` was merely forgotten does not pass for one.
    """
    if "field" in template or not template.attrs.get(TEMPLATE) or not template.attrs.get("domain"):
        raise InputError(
            f"a template has no variable 'field' and the root attributes 'domain' and {TEMPLATE!r} (what it holds): "
            f"found the variables {sorted(map(str, template.data_vars))} and the attributes {sorted(template.attrs)}"
        )
    _check_finite(template)
    return template


def check_conditions(ensemble: xr.Dataset) -> xr.Dataset:
    """Return an ensemble or a template: what conditions can be taken from. Else raise InputError."""
    return check_template(ensemble) if is_template(ensemble) else check_ensemble(ensemble)


def is_template(ensemble: xr.Dataset) -> bool:
    """Whether it has no ``field`` and says in its attribute ``template`` what it holds instead."""
    return "field" not in ensemble and bool(ensemble.attrs.get(TEMPLATE))


def refuse_template(ensemble: xr.Dataset, name: str = "FILE") -> None:
    """InputError where a template stands for an ensemble."""
    if is_template(ensemble):
        raise InputError(
            f"{'the template' if name == 'FILE' else name} holds {ensemble.attrs[TEMPLATE]} and no configurations, "
            f"which are needed here: make them with `physgen simulate CONFIG --given {name}`, or draw them with "
            f"`physgen sample RUN --like {name}`"
        )


def check_ensemble(ensemble: xr.Dataset, finite: bool = True) -> xr.Dataset:
    """Return the Dataset if it keeps the rules of the data type, see above.

    Raises InputError with the first broken rule and how to keep it.
    """
    refuse_template(ensemble)
    if "field" not in ensemble:
        raise InputError(
            f"an ensemble needs a variable 'field', found {sorted(map(str, ensemble.data_vars))}: rename yours"
        )
    if not space_dims(ensemble) and "component" not in ensemble["field"].dims:
        raise InputError(
            f"'field' has dims {ensemble['field'].dims}; at least one must be named z, y, x or site, or, of vectors, "
            "component: rename it"
        )
    if not sample_dims(ensemble):
        raise InputError("'field' has no dim that counts samples: add one, even of length 1 (expand_dims('sample'))")
    empty = [str(d) for d in ensemble["field"].dims if ensemble.sizes[d] == 0]
    if empty:
        raise InputError(f"'field' is empty along {empty[0]!r}: an ensemble holds at least one configuration")
    if ensemble["field"].dtype.kind not in "fiu":
        raise InputError(
            f"'field' has dtype {ensemble['field'].dtype}; physgen reads real or integer numbers: convert it"
        )
    spacing(ensemble)
    if finite:
        _check_finite(ensemble)
    return ensemble


def _check_finite(ensemble: xr.Dataset) -> None:
    for name, variable in ensemble.data_vars.items():
        if variable.dtype.kind != "f":
            continue
        bad, first, value = 0, np.zeros(variable.ndim, np.int64), 0.0
        for start, values in _parts(ensemble, str(name)):
            wrong = ~np.isfinite(values)
            if wrong.any() and not bad:
                found = np.argwhere(wrong)[0]
                first, value = found + start, values[tuple(found)]
            bad += int(wrong.sum())
            give_back_pages(values)
        if bad:
            where = ", ".join(f"{d}={i}" for d, i in zip(variable.dims, first, strict=True))
            raise InputError(
                f"{name} holds {value} at {where} ({bad} such values in all); "
                "every value must be finite: drop or repair that configuration"
            )


def _parts(ensemble: xr.Dataset, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values of a variable in parts, each with the index of its first; the field, which may be large, in blocks."""
    variable = ensemble[name]
    regions = sample_regions(ensemble) if name == "field" else [{}]
    for region in regions:
        start = [region[str(d)].start if d in region else 0 for d in variable.dims]
        yield np.array(start, dtype=np.int64), read_values(ensemble[[name]].isel(region))[name].values
