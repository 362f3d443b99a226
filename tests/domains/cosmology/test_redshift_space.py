"""Redshift space: Kaiser's factor mode by mode, the line of sight of boxes and of slabs, multipoles, paintings."""

import numpy as np
import pytest
import torch

from physgen.diagnostics import power_multipoles
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.background import CosmologyParams, growth_rate
from physgen.domains.cosmology.painting import Painting, paint
from physgen.domains.cosmology.simulate import SimulationBox, linear_field, snapshots, snapshots_in_redshift_space
from physgen.errors import InputError
from physgen.lattice import wavenumbers

N, SIDE = 32, 512.0
TINY = {
    "cells": 16, "particles": 16, "box_size": 64.0, "thickness": 16.0, "simulations": 2, "steps": 3,
    "linear_power": "eisenstein_hu",
}  # fmt: skip


def spaces(params, box, redshift):
    """delta of one box in real and in redshift space, and its f."""
    modes = linear_field(params, box, 3)
    ((positions, shifts),) = snapshots_in_redshift_space(modes, params, box, (redshift,))
    cells = N / SIDE
    real = paint(positions * cells, Painting(N, 3), N)[0]
    redshifted = paint(positions * cells, Painting(N, 3, redshift_space=True), N, shifts * cells)[0]
    return real, redshifted, float(growth_rate(1 / (1 + redshift), params.Omega_m))


@pytest.mark.parametrize("simulator", ["fastpm", "2lpt", "zeldovich"])
@pytest.mark.parametrize("redshift", [0.0, 1.0])
def test_long_waves_gain_the_factor_of_kaiser(simulator, redshift):
    """P_s = (1 + f mu^2)^2 P_r over the modes below 3.5 k_F, at sigma_8 = 0.1: to 1 %, without sample variance."""
    box = SimulationBox(SIDE, N, 2.0, 8, redshift, simulator=simulator)
    real, redshifted, f = spaces(CosmologyParams(sigma_8=0.1), box, redshift)
    kz, ky, kx = wavenumbers((N,) * 3)
    square = kz**2 + ky**2 + kx**2
    long = (square > 0) & (square < (3.5 * 2 * np.pi / N) ** 2)
    mu2 = kz**2 / square.clamp_min(1e-12)
    power = [torch.fft.rfftn(delta.double()).abs() ** 2 for delta in (real, redshifted)]
    expected = ((1 + f * mu2) ** 2 * power[0])[long].sum()
    assert float(power[1][long].sum() / expected) == pytest.approx(1, abs=0.01)
    assert float(power[1][long].sum() / power[0][long].sum()) > 1.3


def test_positions_of_snapshots_are_the_same_with_and_without_velocities():
    params, box = CosmologyParams(), SimulationBox(64.0, 8, 2.0, 3)
    plain = list(snapshots(linear_field(params, box, 1), params, box, (0.0, 1.5)))
    both = list(snapshots_in_redshift_space(linear_field(params, box, 1), params, box, (0.0, 1.5)))
    assert len(plain) == 2 and all(torch.equal(p, b) for p, (b, _) in zip(plain, both, strict=True))
    assert not torch.equal(both[0][1], both[1][1])


def test_multipoles_are_those_of_kaiser():
    """Ratios of bands of P_2 and P_4 to P_0 against f, within four errors of mode counting."""
    real, redshifted, f = spaces(CosmologyParams(sigma_8=0.3), SimulationBox(SIDE, N, 2.0, 8), 0.0)
    found = power_multipoles(boxes(redshifted[None].numpy()), bins=2 * np.pi / SIDE * np.array([0.5, 4.5, 8.5]))
    plain = power_multipoles(boxes(real[None].numpy()), bins=2 * np.pi / SIDE * np.array([0.5, 4.5, 8.5]))
    kaiser = {0: 1 + 2 * f / 3 + f**2 / 5, 2: 4 * f / 3 + 4 * f**2 / 7, 4: 8 * f**2 / 35}
    for order, expected in kaiser.items():
        ratio = (found["value"].sel(multipole=order) / plain["value"].sel(multipole=0)).values
        error = 4 * np.sqrt((2 * order + 1) / found["modes"].values) * kaiser[0]
        assert np.all(np.abs(ratio - expected) < error), order


def boxes(fields):
    import xarray as xr

    coords = {d: (d, (np.arange(N) + 0.5) * SIDE / N, {"units": "Mpc/h"}) for d in "zyx"}
    return xr.Dataset({"field": (("sample", "z", "y", "x"), fields)}, coords, {"independent_unit": "sample"})


def test_a_wave_along_the_line_of_sight_has_legendre_weights():
    """mu = 1: P_l = (2l + 1) P_0, along any axis that is chosen; across it (mu = 0) P_2 = -5/2 P_0, P_4 = 27/8 P_0."""
    z = np.arange(N) / N
    wave = np.broadcast_to(np.cos(2 * np.pi * 3 * z)[:, None, None], (1, N, N, N))
    for axis, expected in (("z", (1, 5, 9)), ("x", (1, -5 / 2, 27 / 8))):
        found = power_multipoles(boxes(wave.copy()), line_of_sight=axis)["value"].isel(k=2)
        np.testing.assert_allclose(found / found[0], expected, rtol=1e-5)
    with pytest.raises(InputError, match="line_of_sight = 'w'"):
        power_multipoles(boxes(wave.copy()), line_of_sight="w")
    with pytest.raises(InputError, match="even"):
        power_multipoles(boxes(wave.copy()), orders=(0, 1))


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_data_say_their_space_and_their_painting(dimension):
    plain, shifted = (
        Domain(**TINY, dimension=dimension, redshift_space=there, painting="particles").simulate(1)
        for there in (False, True)
    )
    assert plain.attrs["redshift_space"] == "none"
    assert shifted.attrs["redshift_space"] == ("along z" if dimension == 3 else "along the line of sight")
    assert not np.array_equal(plain.field, shifted.field)
    with pytest.raises(InputError, match="redshift_space differs"):
        Domain().confront(plain, shifted, "other")
    other = Domain(**TINY, dimension=dimension, painting="particles", mass_assignment="TSC", interlaced=True)
    made = other.simulate(1)
    assert made.attrs["mass_assignment"] == "TSC, interlaced, of the particles; window not deconvolved"
    assert made.attrs["field_kind"] == "real" and made.field.shape == plain.field.shape
    with pytest.raises(InputError, match="mass_assignment differs"):
        Domain().confront(plain, made.assign_attrs(field_kind="delta"), "other")
    assert ("power_multipoles" in Domain().diagnostics_of(shifted)) == (dimension == 3)
    assert "power_multipoles" not in Domain().diagnostics_of(plain)


def test_each_slab_is_shifted_along_its_own_line_of_sight():
    """Shifts along y alone move particles between slabs across y, and leave slabs of the other axes as they are."""
    generator = torch.Generator().manual_seed(0)
    positions, shifts = torch.rand((3, 4000), generator=generator) * 16, torch.zeros(3, 4000)
    shifts[1] = 4.0
    way = Painting(16, 2, slab_cells=4, slabs_per_axis=4, redshift_space=True)
    real, moved = paint(positions, way, 16), paint(positions, way, 16, shifts)
    torch.testing.assert_close(moved[4:8], real[4:8].roll(1, 0), atol=1e-5, rtol=1e-5)
    assert torch.equal(moved[:4], real[:4]) and torch.equal(moved[8:], real[8:])


def test_linear_theory_has_no_particles_to_paint():
    with pytest.raises(InputError, match="simulator = linear has no particles"):
        Domain(simulator="linear", redshift_space=True)
