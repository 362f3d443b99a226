"""The determinant of Kac and Ward against the transfer matrix, and against Onsager's free energy where that ends."""

import numpy as np
import pytest

from physgen.domains.spins.exact import log_partition
from physgen.domains.spins.planar import _transitions, planar_log_partition
from physgen.errors import InputError


def glass(grid, free, seed=0):
    bonds = np.random.default_rng(seed).normal(size=(2, *grid))
    bonds[0, -1] = 0
    if free:
        bonds[1, :, -1] = 0
    return bonds


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("free", [True, False], ids=["free", "cylinder"])
@pytest.mark.parametrize("grid", [(5, 6), (4, 3), (7, 5), (3, 2)])
def test_ln_z_is_that_of_the_transfer_matrix(grid, free, temperature):
    bonds = glass(grid, free)
    exact = log_partition(bonds, temperature)[0]
    assert planar_log_partition(bonds, temperature) == pytest.approx(exact, rel=1e-9)


def test_a_lattice_free_along_the_second_dim_is_turned():
    bonds = glass((4, 6), free=False, seed=3)
    turned = np.ascontiguousarray(bonds[::-1].transpose(0, 2, 1))
    assert planar_log_partition(turned, 0.8) == pytest.approx(planar_log_partition(bonds, 0.8), rel=1e-12)


def test_a_wide_ferromagnet_is_the_infinite_one_of_onsager():
    r"""At beta = .28 32 layers more give ln Z per site of the infinite lattice, since the free edges cancel:
    :math:`\ln 2 + \frac{1}{8\pi^2}\int\!\!\int \ln[\cosh^2 2K - \sinh 2K (\cos a + \cos b)]\, da\, db`.

    The correlation length is 1.36: a ring of 40 sites misses e^-29, and 32 layers e^-47 of what the edges add.
    """
    beta, found = 0.28, {}
    cosine = np.cos(2 * np.pi * np.arange(512) / 512)  # a smooth periodic integrand: as many points give all digits
    law = np.log(np.cosh(2 * beta) ** 2 - np.sinh(2 * beta) * (cosine[:, None] + cosine)).mean() / 2 + np.log(2)
    for layers in (32, 64):
        bonds = np.ones((2, layers, 40))
        bonds[0, -1] = 0
        found[layers] = planar_log_partition(bonds, 1 / beta)
    assert (found[64] - found[32]) / (32 * 40) == pytest.approx(law, rel=1e-11)


def test_the_band_is_as_wide_as_the_lattice_however_long_it_is():
    """Elimination takes L W^3 operations, not (L W)^3: no entry of value zero leads from one free end to the other."""
    for free in (True, False):
        rows, columns, _ = _transitions(glass((30, 4), free))
        assert np.abs(rows - columns).max() < 4 * (4 + 1)


def test_what_is_not_planar_is_refused():
    with pytest.raises(InputError, match="periodic along both dims is not planar"):
        planar_log_partition(np.ones((2, 4, 4)), 1.0)
    with pytest.raises(InputError, match="too low for the strongest bond 1"):
        planar_log_partition(glass((3, 3), True) * 0 + np.array([[[1.0], [1.0], [0.0]]] * 2), 1e-3)
    with pytest.raises(InputError, match="float64 does not resolve"):
        planar_log_partition(glass((8, 8), True), 0.05)
    with pytest.raises(InputError, match="must be positive"):
        planar_log_partition(glass((3, 3), True), 0.0)
