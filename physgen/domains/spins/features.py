"""The two-sample test of spins: random features of local energies, given the couplings."""

from __future__ import annotations

import numpy as np
import xarray as xr

from physgen.diagnostics.feature_test import random_frequencies
from physgen.domains.spins.callen import local_fields
from physgen.domains.spins.couplings import lattice_edges, neighbour_lists
from physgen.domains.spins.layout import Disorder, disorder_of
from physgen.domains.spins.measurement import Tolerance, measured, spins_of

FEATURES = 2
TOLERANCE = 0.25  # a quarter of the scatter between configurations, of the variance a quarter


def features(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Random features of local energies, and the variance of their mean; the joint p value is the test.

    Points at each temperature: means over sites and replicas of the features of
    :func:`message_feature_array`, then :math:`N\,\mathrm{var}_r\,\bar u`, the unbiased
    variance between replicas of the mean local energy, which a mixture of temperatures raises. A deviation of 1 is the
    scatter of a feature between configurations, or the variance itself.
    """
    both = per_replica(ensemble)
    spread = both.std(axis=2).mean(axis=0)  # (T, F + 1)
    spread[:, -1] = estimate(ensemble)[:, :, -1].mean(axis=0)
    names = " ".join([f"feature_{m}" for m in range(FEATURES)] + ["energy_variance"])
    axis = {"long_name": "random feature, then variance of the energy", "units": "1", "flag_meanings": names}
    said = Tolerance(
        TOLERANCE, "difference", "features", spread, "1", "scatter between configurations, variance itself"
    )
    return measured(
        ensemble, estimate, {"feature": (np.arange(FEATURES + 1), axis)}, said, diagnostic="features", kind="scalar",
        long_name="mean feature", units="1", symbol=r"\langle\phi_m\rangle",
        convention=f"{FEATURES} random Fourier features of local energies s_i h_i (with the external field) and those "
        "of the neighbours, in units of the rms coupling of a site; then N times the variance of their mean between "
        "replicas.",
    )  # fmt: skip


def estimate(ensemble: xr.Dataset) -> np.ndarray:
    """Features of each instance and temperature (D, T, F + 1)."""
    both, sites = per_replica(ensemble), int(np.prod(ensemble["field"].shape[3:]))
    means = both.mean(axis=2)
    means[..., -1] = sites * both[..., -1].var(axis=2, ddof=1)
    return means


def per_replica(ensemble: xr.Dataset) -> np.ndarray:
    """Features of each configuration, then its mean local energy (D, T, R, F + 1)."""
    spins, disorder = spins_of(ensemble, 2), disorder_of(ensemble)
    if disorder.ends != 2:
        return np.stack([many_body_features(one, disorder, i) for i, one in enumerate(spins)])
    edges = lattice_edges(ensemble["field"].shape[3:]) if disorder.edges is None else disorder.edges
    lists = [neighbour_lists(edges, bonds.reshape(-1), spins.shape[-1]) for bonds in disorder.couplings]
    outer = disorder.external_field
    fields = [None] * len(lists) if outer is None else list(outer.reshape(len(outer), -1))
    cases = zip(spins, lists, fields, strict=True)
    return np.stack([message_feature_array(one, *of, FEATURES, external_field=field) for one, of, field in cases])


def many_body_features(spins: np.ndarray, disorder: Disorder, instance: int) -> np.ndarray:
    r"""The features of :func:`message_feature_array` of spins (..., N) where they do not interact in pairs.

    :math:`u_i = s_i h_i / J` with the local field h, :math:`v_i = s_i h_i[s\tanh u]/J` of three spins at a time, 0 of
    random energies; :math:`J^2` is the mean of the squares of the couplings of a site (:math:`N/4` of random energies).
    """
    local, count = local_fields(spins, disorder, instance), spins.shape[-1]
    if disorder.levels is None:
        size = np.sqrt(3 * np.square(disorder.couplings[instance]).sum() / count)
        first = spins * local / size
        second = spins * local_fields(spins * np.tanh(first), disorder, instance) / size
    else:
        first = spins * local / np.sqrt(count / 4)
        second = np.zeros_like(first)
    return _features(first, second, FEATURES, 0)


def message_feature_array(
    spins: np.ndarray,
    neighbours: np.ndarray,
    strengths: np.ndarray,
    features: int = 2,
    seed: int = 0,
    external_field: np.ndarray | None = None,
) -> np.ndarray:
    r"""Random features of what bonds tell a site: means over sites of :math:`\cos(a_m\cdot(u_i, v_i) + \varphi_m)`.

    With :math:`t_{ij} = J_{ij} s_i s_j / J`, :math:`J^2 = \overline{\sum_j J_{ij}^2}`:
    :math:`u_i = \sum_j t_{ij} + h_i s_i / J` is the local energy, with the external field h, and
    :math:`v_i = \sum_j t_{ij}\tanh u_j` that of its neighbours; no gauge transformation changes them, and the law of a
    glass given J is compared rather than an average over J.

    Args:
        spins: (..., N) of +-1.
        neighbours, strengths: (N, z) of one instance, padding of strength 0.
        features, seed: as in :func:`physgen.diagnostics.feature_test.random_frequencies`.
        external_field: h (N,) or None.

    Returns:
        (..., F + 1): the features, then the mean of u over sites.
    """
    spins = np.asarray(spins, np.float32)
    size = np.sqrt(np.square(strengths).sum(axis=1).mean())
    bonds = strengths / size
    sent = bonds * spins[..., neighbours] * spins[..., None]  # (..., N, z)
    first = sent.sum(axis=-1)
    if external_field is not None:
        first = first + np.asarray(external_field, np.float32) / size * spins
    second = (sent * np.tanh(first)[..., neighbours]).sum(axis=-1)
    return _features(first, second, features, seed)


def _features(first: np.ndarray, second: np.ndarray, features: int, seed: int) -> np.ndarray:
    """Features of numbers u and v of each site (..., N), and the mean of u: (..., F + 1)."""
    frequency, phase = random_frequencies(2, features, seed)
    found = [np.cos(a * first + b * second + c).mean(axis=-1) for (a, b), c in zip(frequency, phase, strict=True)]
    return np.stack([*found, first.mean(axis=-1)], axis=-1, dtype=float)
