"""The determinant of Kac and Ward against the transfer matrix, and against Onsager's free energy where that ends."""

import numpy as np
import pytest

from physgen.domains.spins.exact import log_partition
from physgen.domains.spins.planar import planar_log_partition
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


def test_a_wide_ferromagnet_comes_near_to_the_infinite_one():
    """At beta = .28 12 layers more: ln Z per site of the torus 16 x 16, .77709148; the free edges cancel.

    The correlation length is 1.36, so that a ring of 20 sites misses 4e-7.
    """
    found = {}
    for layers in (12, 24):
        bonds = np.ones((2, layers, 20))
        bonds[0, -1] = 0
        found[layers] = planar_log_partition(bonds, 1 / 0.28)
    assert (found[24] - found[12]) / (12 * 20) == pytest.approx(0.77709148, abs=2e-6)


def test_what_is_not_planar_is_refused():
    with pytest.raises(InputError, match="periodic along both dims is not planar"):
        planar_log_partition(np.ones((2, 4, 4)), 1.0)
    with pytest.raises(InputError, match="too low for the strongest bond 1"):
        planar_log_partition(glass((3, 3), True) * 0 + np.array([[[1.0], [1.0], [0.0]]] * 2), 1e-3)
    with pytest.raises(InputError, match="float64 does not resolve"):
        planar_log_partition(glass((8, 8), True), 0.05)
    with pytest.raises(InputError, match="must be positive"):
        planar_log_partition(glass((3, 3), True), 0.0)
