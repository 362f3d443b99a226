"""A copy is found under every translation, turn and mirror image; unrelated fields are not taken for one."""

import numpy as np
import pytest

from benchmarks.emulators.copies import greatest, moduli


def moved(field):
    """Shifted, two axes swapped, one mirrored."""
    shifted = np.roll(field, (3, 5, 7)[: field.ndim], axis=tuple(range(field.ndim)))
    return np.swapaxes(shifted, 0, -1)[::-1]


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_moved_copy_has_r_one_and_a_noisy_one_about_the_square_of_its_correlation(dimension):
    train = np.random.default_rng(1).standard_normal((20, *(16,) * dimension))
    other = np.random.default_rng(2).standard_normal((20, *(16,) * dimension))
    copies = np.stack([moved(field) for field in train])
    np.testing.assert_allclose(greatest(copies, train), 1.0, rtol=1e-5)
    rho = 0.9
    independent = moduli(train)[0].shape[1] / 2  # the field is real
    r = greatest(rho * copies + np.sqrt(1 - rho**2) * other, train)
    # rho^2 by Wick's theorem, up to what few modes and the division by shells change: not rho, not rho^4
    assert rho**4 < r.mean() < rho
    # independent modes, their square shells constrained: r of zero mean, at most variance 1 / independent;
    # 20 x 20 x 48 of them, one-sided at 1e-4 altogether (the tail of products of exponentials is wider: twice)
    assert greatest(other, train).max() < 2 * 5.3 / np.sqrt(independent)
