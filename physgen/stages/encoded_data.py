"""Configurations as a network takes them, with the ensemble that they are: what the stages of inference begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.domains.contract import check_same_domain, with_units
from physgen.ensemble import sample_dims, units_of_samples
from physgen.errors import InputError
from physgen.runs.folder import Run
from physgen.runs.model import Model
from physgen.stages.sources import as_ensembles

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class EncodedData:
    r"""Configurations as the network takes them: x (N, C, \*grid), condition, and the ensemble that they are."""

    ensemble: xr.Dataset
    x: torch.Tensor
    condition: dict[str, torch.Tensor]


def encoded_data(run: Run, model: Model, source: Any, unknown: tuple[str, ...] = ()) -> EncodedData:
    """A source as encoded configurations of the run's lattice; labels ``unknown`` need not be known of it."""
    domain, encoding = run.domain, model.encoding
    ensemble = as_ensembles({"data": source}, domain=domain.name)["data"]
    check_same_domain(ensemble, domain.name, "the data", "the run")
    first = ensemble["field"].dims[0]
    ranges = domain.label_ranges(encoding.domain)
    stand_ins = {}
    for name in unknown:
        if name not in ensemble.variables:
            stand_ins[name] = (first, np.full(ensemble.sizes[first], sum(ranges[name]) / 2))
    ensemble = ensemble.assign(stand_ins)
    if not ensemble.attrs.get("domain"):
        ensemble = domain.adopt(ensemble)
    ensemble = with_units(ensemble, domain)
    x, condition = domain.encode(ensemble, encoding.domain)
    if tuple(x.shape[1:]) != encoding.shape:
        raise InputError(f"the data have configurations of {tuple(x.shape[1:])}, the run of {encoding.shape}")
    return EncodedData(ensemble.drop_vars(list(stand_ins)), x, dict(condition))


def noised(model: Model, x: torch.Tensor, numbers: list[int], seed: int) -> torch.Tensor:
    """x + s_min z, with noise that belongs to (seed, number), float64."""
    from physgen.diffusion.noise import noise_like

    z = noise_like(seed, "likelihood noise", numbers, tuple(x.shape[1:]))
    return x.double() + model.encoding.s_min * z.double()


def noise_levels(model: Model) -> tuple[float, float]:
    """(s_min, s_max) that were trained."""
    return model.encoding.s_min, model.encoding.s_max


def limited(data: EncodedData, limit: int | None) -> EncodedData:
    """At most ``limit`` configurations: the first of every unit, then the second of every unit, and so on."""
    if limit is None or limit >= len(data.x):
        return data
    if len(sample_dims(data.ensemble)) > 1:
        raise InputError("limit counts along one sample dim, and these data have several: take a part of the file")
    unit = units_of_samples(data.ensemble)
    turn = np.zeros(len(unit), dtype=int)
    for name in np.unique(unit):
        turn[unit == name] = np.arange((unit == name).sum())
    kept = np.sort(np.lexsort((np.arange(len(unit)), turn))[:limit])
    first = data.ensemble["field"].dims[0]
    condition = {name: value[torch.from_numpy(kept)] for name, value in data.condition.items()}
    return EncodedData(data.ensemble.isel({first: kept}), data.x[torch.from_numpy(kept)], condition)


def at_samples(ensemble: xr.Dataset, name: str) -> np.ndarray:
    """A variable at each flattened sample, (N,) float64."""
    sizes = {d: ensemble.sizes[d] for d in sample_dims(ensemble)}
    return ensemble[name].variable.set_dims(sizes).transpose(*sizes).values.reshape(-1).astype(float)
