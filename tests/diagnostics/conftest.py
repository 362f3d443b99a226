"""Ensembles with known laws for the tests of the diagnostics: each fixture is a function that makes one."""

import numpy as np
import pytest
import xarray as xr

from physgen.ensemble import unit_attrs


@pytest.fixture(scope="session")
def lattice():
    """(samples, *grid) array -> ensemble with cell centres as coordinates."""

    def make(field, spacing=None, units="Mpc/h", **attrs):
        dims = ("z", "y", "x")[-(field.ndim - 1) :]
        steps = spacing or (1.0,) * len(dims)
        sides = zip(dims, field.shape[1:], steps, strict=True)
        coords = {d: (d, (np.arange(n) + 0.5) * a, {"units": units}) for d, n, a in sides}
        attrs = {"independent_unit": "simulation"} | attrs
        return xr.Dataset({"field": (("sample", *dims), field)}, coords=coords, attrs=attrs)

    return make


@pytest.fixture(scope="session")
def red_noise():
    """Gaussian fields (count, *grid) with P(k) ~ k^-slope."""

    def make(rng, count, grid=(32, 32), slope=2.0):
        axes = [np.fft.fftfreq(n) * n for n in grid[:-1]] + [np.fft.rfftfreq(grid[-1]) * grid[-1]]
        k = np.sqrt(sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij")))
        k.flat[0] = np.inf
        dims = tuple(range(-len(grid), 0))
        white = np.fft.rfftn(rng.standard_normal((count, *grid)), axes=dims)
        return np.fft.irfftn(white * k ** (-slope / 2), s=grid, axes=dims).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def spin_ensemble():
    """Random +-1 spins in the layout (disorder, temperature, replica, y, x); the couplings follow from the names."""

    def make(rng, disorders, replicas=4, size=6, temperatures=(0.5, 1.0)):
        shape = (len(disorders), len(temperatures), replicas, size, size)
        dims = ("disorder", "temperature", "replica", "y", "x")
        bonds = np.stack([np.random.default_rng(name).standard_normal((2, size, size)) for name in disorders])
        return xr.Dataset(
            {
                "field": (dims, rng.choice([-1, 1], size=shape).astype(np.int8)),
                "couplings": (("disorder", "direction", "y", "x"), bonds),
            },
            coords={
                "disorder": list(disorders),
                "temperature": ("temperature", list(temperatures), {"units": "J"}),
                "replica": np.arange(replicas),
            },
            attrs=unit_attrs("disorder", ["replica"], ["chain", "replica"]),
        )

    return make
