"""The independent units of an ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.layout import sample_dims

if TYPE_CHECKING:
    import xarray as xr


def units_of_samples(ensemble: xr.Dataset) -> np.ndarray:
    """Name of the independent unit of each flattened sample: its simulation, its disorder, or itself.

    Samples of one simulation, or of one disorder instance, are not independent of each other; errors
    are taken over units. In an ensemble of a single disorder instance the units are those of its replicas: the
    ``chain`` (or block of a chain) of each where that is named, else the replica.
    """
    samples = sample_dims(ensemble)
    shape = [ensemble.sizes[d] for d in samples]
    if "simulation" in ensemble and ensemble["simulation"].dims == ("sample",):
        label = ensemble["simulation"].values
        along = samples.index("sample")
    elif "disorder" in samples and (ensemble.sizes["disorder"] > 1 or "replica" not in samples):
        label = ensemble["disorder"].values if "disorder" in ensemble.coords else np.arange(ensemble.sizes["disorder"])
        along = samples.index("disorder")
    elif "replica" in samples and "disorder" in samples:
        label = ensemble["chain"].values if "chain" in ensemble.variables else np.arange(ensemble.sizes["replica"])
        along = samples.index("replica")
    else:
        return np.arange(int(np.prod(shape, dtype=np.int64)))
    view = [1] * len(shape)
    view[along] = shape[along]
    return np.broadcast_to(np.asarray(label).reshape(view), shape).reshape(-1)
