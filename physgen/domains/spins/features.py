"""The two-sample test of spins: random features of local energies, given the couplings."""

from __future__ import annotations

import numpy as np
import xarray as xr

from physgen.domains.spins.couplings import lattice_edges, neighbour_lists
from physgen.domains.spins.layout import check_spins, disorder_of
from physgen.errors import InputError

FEATURES = 2
TOLERANCE = 0.25


def features(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Random features of local energies, and the variance of their mean; the joint p value is the test.

    Points at each temperature: means over sites and replicas of the features of
    :func:`physgen.diagnostics.feature_test.message_feature_array`, then :math:`N\,\mathrm{var}_r\,\bar u`, the unbiased
    variance between replicas of the mean local energy, which a mixture of temperatures raises.
    """
    from physgen.diagnostics.feature_test import message_feature_array
    from physgen.diagnostics.result import units

    field, disorder = check_spins(ensemble)["field"].values, disorder_of(ensemble)
    if field.shape[2] < 2:
        raise InputError(
            f"{field.shape[2]} replica per instance and temperature; the scatter of their energies needs at least 2"
        )
    edges = lattice_edges(field.shape[3:]) if disorder.edges is None else disorder.edges
    spins = field.reshape(*field.shape[:3], -1)
    per_replica = np.stack([
        message_feature_array(one, *neighbour_lists(edges, bonds.reshape(-1), spins.shape[-1]), FEATURES)
        for one, bonds in zip(spins, disorder.couplings, strict=True)
    ])  # (D, T, R, F + 1)  # fmt: skip
    sites, energies = spins.shape[-1], per_replica[..., -1]
    per_unit = per_replica.mean(axis=2)
    per_unit[..., -1] = sites * energies.var(axis=2, ddof=1)
    spread = per_replica.std(axis=2).mean(axis=0)  # (T, F + 1)
    spread[..., -1] = per_unit[..., -1].mean(axis=0)
    names = " ".join([f"feature_{m}" for m in range(FEATURES)] + ["energy_variance"])
    axis = {"long_name": "random feature, then variance of the energy", "units": "1", "flag_meanings": names}
    order = np.argsort(ensemble["disorder"].values) if "disorder" in ensemble.coords else slice(None)
    result = units(ensemble).result(
        per_unit[order], ("feature",), {"feature": (np.arange(FEATURES + 1), axis)}, diagnostic="features",
        kind="curve", long_name="mean feature", units="1", symbol=r"\langle\phi_m\rangle", tolerance=TOLERANCE,
        tolerance_kind="difference",
        tolerance_of="features, in standard deviations between configurations (variance: relative)",
        convention=f"{FEATURES} random Fourier features of local energies s_i h_i and those of the neighbours, in "
        "units of the rms coupling of a site; then N times the variance of their mean between replicas.",
    )  # fmt: skip
    described = {"long_name": "standard deviation between configurations; the variance itself", "units": "1"}
    return result.assign(yardstick=(("temperature", "feature"), spread, described))
