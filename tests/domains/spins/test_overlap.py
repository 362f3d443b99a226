"""Diagnostics of spins against closed forms and exact laws."""

import numpy as np
import pytest

from physgen.domains.spins import Domain, overlap
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.diagnostics import DIAGNOSTICS
from physgen.domains.spins.enumeration import enumerate_graph, overlap_law
from physgen.domains.spins.exact import sample
from physgen.errors import InputError


@pytest.mark.parametrize("count", [16, 25, 64, 99, 100, 190, 1000])
def test_bins_are_symmetric_and_hold_whole_numbers_of_overlaps(count):
    centres, widths, index = overlap.overlap_bins(count)
    assert len(index) == count + 1 and np.all(np.diff(index) >= 0) and index[-1] + 1 == len(centres)
    np.testing.assert_allclose(centres, -centres[::-1], atol=1e-12)
    np.testing.assert_allclose(widths, widths[::-1])
    np.testing.assert_allclose(widths[1:-1], widths[1])
    assert min(abs(centres)) < 1e-12 and len(centres) <= 33


def test_overlap_distribution_is_the_exact_one():
    """P(q) of 4x4 instances against the convolution of all 2^16 states; errors from the scatter of 30 runs."""
    domain = Domain(length=4, instances=3, replicas=20, temperatures=(0.6, 1.5))
    made = domain.simulate(seed=0)
    value = overlap.overlap_distribution(made)
    np.testing.assert_allclose((value.value * value.width).sum("q"), 1, rtol=1e-12)
    index = overlap.overlap_bins(16)[2]
    rng = np.random.default_rng(1)
    for bonds in made.couplings.values:
        for temperature in domain.temperatures:
            law = enumerate_graph(16, lattice_edges((4, 4)), bonds.reshape(-1), temperature)
            exact = np.bincount(index, weights=overlap_law(law.probabilities))
            drawn = sample(bonds, temperature, 30 * 100, rng).spins.reshape(30, 100, 16)
            runs = np.stack([overlap.pair_histogram(one, index) for one in drawn])
            z = (runs.mean(axis=0) - exact) / (runs.std(axis=0, ddof=1) / np.sqrt(30) + 1e-12)
            assert np.all(np.abs(z[exact > 0.01]) < 5)  # Student's t with 29 degrees of freedom, 100 bins in all


def test_pair_histogram_counts_each_pair_once():
    spins = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])  # overlaps 1/2, -1, -1/2
    found = overlap.pair_histogram(spins, np.arange(5))
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0, 1 / 3, 0])


def test_square_of_the_mean_has_no_bias():
    rng = np.random.default_rng(0)
    for mean in (0.0, 0.6):
        values = np.where(rng.random((5, 200_000)) < (1 + mean) / 2, 1.0, -1.0)
        found = overlap.squared_mean(values)
        assert abs(found.mean() - mean**2) < 4 * found.std() / np.sqrt(len(found))


def test_correlation_of_a_free_chain_is_the_product_of_its_bonds():
    """Free chain: <s_i s_j> = product of tanh(J/T) between i and j."""
    domain = Domain(dimension=1, length=12, boundary="free", instances=3, replicas=400, temperatures=(0.8, 2.0))
    runs = [domain.simulate(seed=0)]
    result = overlap.correlation(runs[0])
    errors = []
    for instance, bonds in enumerate(runs[0].couplings.values[:, 0]):
        for level, temperature in enumerate(domain.temperatures):
            step = np.tanh(bonds.astype(float) / temperature)
            for r in range(1, 7):
                exact = np.mean([np.prod(step[i : i + r]) ** 2 for i in range(12 - r)])
                errors.append(result.per_unit.values[instance, level, r - 1] - exact)
    # one <s s>^2 from 400 replicas has a standard error of at most 2/sqrt(400); the mean over sites is better
    assert np.max(np.abs(errors)) < 4 * 2 / np.sqrt(400) and abs(np.mean(errors)) < 0.02


def test_no_pair_of_the_correlation_crosses_a_free_seam():
    spins = np.ones((4, 6, 6), dtype=np.int8)
    spins[::2, 3:] = -1  # half of the replicas have a wall in the middle
    open_seam = overlap.lattice_correlation(spins, (False, True))
    closed = overlap.lattice_correlation(spins, (True, True))
    assert open_seam[0] > closed[0]


@pytest.mark.parametrize("model", ["edwards_anderson", "ferromagnet", "sherrington_kirkpatrick"])
def test_results_have_disorder_as_unit_and_temperature_as_coordinate(model):
    made = Domain(model=model, length=6, instances=4, replicas=10, temperatures=(1.0, 2.0)).simulate(seed=0)
    for name, diagnostic in Domain(model=model).diagnostics().items():
        if (name, model) == ("correlation_length", "sherrington_kirkpatrick"):
            with pytest.raises(InputError, match="needs a lattice"):
                diagnostic(made)
            continue
        result = diagnostic(made)
        assert result.value.dims[0] == "temperature" and result.sizes["unit"] == 4
        assert result.attrs["diagnostic"] == name and np.isfinite(result.value).all()
    np.testing.assert_allclose(overlap.energy(made).per_unit, made.energy.mean("replica"))


def test_diagnostics_do_not_change_under_a_gauge_transformation():
    made = Domain(length=6, instances=3, replicas=12, temperatures=(1.0,)).simulate(seed=1)
    signs = np.random.default_rng(0).choice([-1, 1], size=(3, 6, 6)).astype(np.int8)
    turned = made.copy(deep=True)
    turned["field"].values *= signs[:, None, None]
    for d, axis in enumerate((1, 2)):
        turned["couplings"].values[:, d] *= signs * np.roll(signs, -1, axis)
    for name in ("energy", "overlap", "link_overlap", "correlation"):
        before, after = (DIAGNOSTICS[name](e).per_unit for e in (made, turned))
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_one_replica_has_no_overlap():
    made = Domain(length=4, instances=2, replicas=1).simulate(seed=0)
    with pytest.raises(InputError, match="at least 2"):
        overlap.overlap_distribution(made)


def test_memorization_tells_copies_from_equilibrium():
    made = Domain(length=8, instances=6, replicas=90, temperatures=(1.0,)).simulate(seed=3)
    train, heldout, fresh = (made.isel(replica=slice(a, a + 30)) for a in (0, 30, 60))
    domain = Domain()
    copied = domain.memorization(train, train, heldout)
    honest = domain.memorization(fresh, train, heldout)
    assert copied.attrs["verdict"] == "fail" and float(copied.duplicates) == 1
    assert honest.attrs["verdict"] != "fail"
