"""Wavelet scattering: its definition in ten lines of numpy, Gaussian fields, invariances, what it sees."""

import numpy as np
import pytest

from physgen.diagnostics.scattering import directions, scattering, scattering_array, wavelets

BOXES = [((64, 64), (1.0, 1.0)), ((32, 64), (0.8, 0.5)), ((16, 32, 16), (1.0, 0.7, 1.0))]


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_it_agrees_with_its_definition(grid, spacing):
    """Plane waves summed at the points of the lattice of each octave, wavelets from their formula."""
    field = np.random.default_rng(1).gamma(0.5, size=grid)
    first, second = scattering_array(field, spacing)
    bank, n_l, sides = wavelets(grid, spacing), directions(len(grid)), np.multiply(grid, spacing)

    def modulus(x, j, n):  # |x * psi_jn| at the points of lattice j
        total = np.fft.fftn(x) / x.size
        axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(m, s / m) for m, s in zip(x.shape, sides, strict=True)))
        axes = [np.swapaxes(k, 0, 1) for k in axes]  # meshgrid swaps the first two
        k = np.maximum(np.sqrt(sum(np.square(q) for q in axes)), 1e-9)
        octaves, along = np.log2(k / bank.k[j]), np.tensordot(n, axes, axes=1) / k
        total *= np.cos(np.pi / 2 * octaves) * (np.abs(octaves) < 1) * np.maximum(along, 0) ** 2
        for size, m in zip(x.shape, bank.lattices[j], strict=True):  # one axis after the other, which comes last
            waves = np.exp(2j * np.pi * np.outer(np.arange(m) / m, np.rint(np.fft.fftfreq(size) * size)))
            total = np.tensordot(total, waves, axes=(0, 1))
        return np.abs(total)

    u = [[modulus(field, j, n) for n in n_l] for j in range(len(bank.k))]
    np.testing.assert_allclose(first, [np.mean([x.mean() ** 2 / (x**2).mean() for x in row]) for row in u], rtol=1e-6)
    for pair, (a, b) in enumerate(bank.pairs):
        for which, cosine in enumerate((1.0, 0.0)):
            chosen = [(x, n) for x, m in zip(u[a], n_l, strict=True) for n in n_l if abs(abs(m @ n) - cosine) < 1e-9]
            expected = np.mean([modulus(x, b, n).mean() / x.mean() for x, n in chosen])
            assert second[which, pair] == pytest.approx(expected, rel=1e-6)


def test_a_gaussian_field_has_the_first_order_of_a_rayleigh_law(red_noise):
    """pi/4 for a complex Gaussian; the square of a mean over few cells is biased by their inverse number."""
    first, _ = scattering_array(red_noise(np.random.default_rng(2), 100, (128, 128)), (1.0, 1.0))
    assert abs(first[:, 0].mean() / (np.pi / 4) - 1) < 3e-3 and abs(first[:, 1].mean() / (np.pi / 4) - 1) < 1e-2


def test_amplitude_shifts_and_lattice_symmetries_leave_it_alone():
    field = np.random.default_rng(3).exponential(size=(32, 32))
    reference = scattering_array(field, (1.0, 1.0))
    mirrored = np.roll(field[::-1], 1, 0)  # about a cell that every coarse lattice has
    for moved in (-3 * field + 1, np.roll(field, 8, 0), mirrored, mirrored.T):
        for found, expected in zip(scattering_array(moved, (1.0, 1.0)), reference, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9)
    for found, expected in zip(scattering_array(np.roll(field, 1, 0), (1.0, 1.0)), reference, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.02)  # other points of the same moduli


def test_stripes_stand_in_the_parallel_and_not_in_the_perpendicular_second_order():
    """Noise modulated along one axis by a slow wave, filtered to waves along that axis."""
    rng, x = np.random.default_rng(4), np.arange(64)
    carrier = np.cos(2 * np.pi * 16 * x / 64 + rng.uniform(0, 2 * np.pi, (40, 1, 1)))
    field = np.broadcast_to(carrier * (1 + np.cos(2 * np.pi * 4 * x / 64)), (40, 64, 64))
    _, second = scattering_array(field + 0.05 * rng.standard_normal(field.shape), (1.0, 1.0))
    pair = wavelets((64, 64), (1.0, 1.0)).pairs.index((0, 2))
    parallel, perpendicular = second[:, :, pair].mean(axis=0)
    assert parallel > 1.5 * perpendicular


def test_the_result_names_its_paths(lattice):
    found = scattering(lattice(np.random.default_rng(5).exponential(size=(3, 64, 64)).astype(np.float32)))
    bank = wavelets((64, 64), (1.0, 1.0))
    assert found.sizes["path"] == len(bank.k) + 2 * len(bank.pairs) == 16
    second = found.where(found["orientation"] == "parallel", drop=True)
    assert (second["k_coarser"] < second["k"]).all() and np.isnan(found["k_coarser"].values[: len(bank.k)]).all()
    assert ((found["value"] > 0) & (found["value"] < 1)).all()
