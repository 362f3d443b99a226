"""Sequences of ones and zeros: exact probabilities, denoisers against enumeration, and what is measured of them."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics import compare
from physgen.diffusion.exact import EnumeratedIsing
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.masked import from_denoiser, log_probability
from physgen.diffusion.values import Binary, Real
from physgen.domains.points import Points
from physgen.domains.points.binary_sequences import EvenParity, heartbeat
from physgen.domains.points.laws import law_of
from physgen.domains.points.load import vectors
from physgen.domains.points.validity import sequence_frequencies, valid_sequences
from physgen.errors import InputError

HEARTBEAT = Points(law="heartbeat", dimension=20, count=400)
THREE = Points(law="sequences", dimension=4, sequences=((1, 0, 0, 1), (0, 0, 0, 0), (1, 1, 1, 0)), weights=(5, 3, 2))


@pytest.mark.parametrize("domain", [HEARTBEAT, THREE, Points(law="parity", dimension=6)])
def test_probabilities_are_those_of_the_law_and_every_draw_is_valid(domain):
    known = law_of(domain).sequences
    drawn = torch.from_numpy(domain.simulate(1).field.values).double()
    assert bool(known.valid(drawn).all())
    if domain is HEARTBEAT:  # truth of Sohl-Dickstein et al.: one of five phases
        assert (known.log_probability(drawn) / math.log(2) + math.log2(5)).abs().max() < 1e-12
        assert not known.valid(-drawn).any() and torch.isneginf(known.log_probability(-drawn)).all()
        return
    states = enumerate_spins(domain.dimension).double()
    p = known.log_probability(states).exp()
    assert float(p.sum()) == pytest.approx(1) and int(known.valid(states).sum()) == int((p > 0).sum())
    count, expected = (drawn[:, None] == states).all(2).double().sum(0)[p > 0], len(drawn) * p[p > 0]
    chi_square, freedom = float(((count - expected) ** 2 / expected).sum()), len(expected) - 1
    assert abs(chi_square - freedom) < 4.5 * (2 * freedom) ** 0.5 and int(count.sum()) == len(drawn)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_parity_is_that_of_enumeration_at_all_noise(length):
    states = enumerate_spins(length).double()
    weights = torch.where((states > 0).sum(1) % 2 == 0, 0.0, -torch.inf).double()
    exact, law = EnumeratedIsing(weights, (length,)), EvenParity(length)
    y = torch.randn(30, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y[0] = 0.0
    for s in (0.05, 0.3, 1.0, 5.0):
        level = torch.tensor(s, dtype=torch.float64)
        torch.testing.assert_close(law(y, level), exact(y, level), rtol=0, atol=1e-9)
        torch.testing.assert_close(law.log_density(y, level), exact.log_density(y, level), rtol=1e-11, atol=1e-9)


def test_the_exact_masked_model_of_the_heartbeat_has_its_probability_along_every_order():
    known = heartbeat(20, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    found = log_probability(from_denoiser(known.exact), known.values, order)
    torch.testing.assert_close(found, torch.full((5,), -math.log(5), dtype=torch.float64), rtol=0, atol=1e-9)


def test_values_are_those_of_the_law_or_of_the_option():
    assert isinstance(HEARTBEAT.values, Binary) and isinstance(Points().values, Real)
    chains = {"law": "ising_chains", "count": 60}
    assert isinstance(Points(**chains).values, Real) and isinstance(Points(**chains, binary=True).values, Binary)
    made = Points(**chains, binary=True).simulate(1)
    constants = Points(binary=True).fit_encoding(made)
    assert constants["mean"] == [0.0] * 8 and constants["std"] == [1.0] * 8
    x, _ = Points(binary=True).encode(made, constants)
    back = Points(binary=True).decode(0.3 * x, made.drop_vars("field"), constants)
    assert np.array_equal(back.field.values, made.field.values)
    with pytest.raises(InputError, match="holds 0.5"):
        Points(binary=True).fit_encoding(vectors(np.full((9, 8), 0.5)))
    with pytest.raises(InputError, match="draws real numbers"):
        Points(binary=True).simulate(1)


@pytest.mark.parametrize(
    "domain",
    [
        HEARTBEAT,
        THREE,
        Points(law="parity", dimension=6),
        Points(law="curie_weiss", dimension=6, binary=True, external_field=0.2),
        Points(law="ising_chains", dimension=6, binary=True, tilts=(0.3, 0.0)),
    ],
    ids=lambda d: d.law,
)
def test_the_law_at_no_noise_is_a_probability(domain):
    """The word ``log_law`` of a domain: its sum over all states is one, and the draws have its mean."""
    made = domain.simulate(1)
    log_law = domain.log_law(made, domain.fit_encoding(made))
    if domain is HEARTBEAT:
        assert float(log_law(torch.from_numpy(made.field.values[:1]), 0, 0.0)) == pytest.approx(-math.log(5))
        return
    states = enumerate_spins(domain.dimension).double()
    p = log_law(states, 0, 0.0).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    mean, drawn = p @ states, made.field.values.astype(float)
    assert (np.abs(drawn.mean(0) - mean.numpy()) < 4.5 * drawn.std(0) / len(drawn) ** 0.5).all()


def broken(ensemble, part, seed=0):
    """The ensemble with one site turned in a part of its sequences."""
    generator = np.random.default_rng(seed)
    values = ensemble.field.values.copy()
    rows = np.flatnonzero(generator.random(len(values)) < part)
    values[rows, generator.integers(values.shape[1], size=len(rows))] *= -1
    return ensemble.assign(field=(ensemble.field.dims, values, ensemble.field.attrs)), len(rows) / len(values)


def test_sequences_that_are_none_of_the_law_are_counted():
    made, part = broken(HEARTBEAT.simulate(2), 0.1)
    found = valid_sequences(made)
    assert float(found.value) == pytest.approx(1 - part)
    assert float(found.error) == pytest.approx((part * (1 - part) / 399) ** 0.5)
    frequencies = sequence_frequencies(made)
    assert frequencies.sizes["sequence"] == 5 and float(frequencies.value.sum()) == pytest.approx(1 - part)
    with pytest.raises(InputError, match="name no law"):
        valid_sequences(vectors(np.ones((9, 3))))
    with pytest.raises(InputError, match="of a list"):
        sequence_frequencies(Points(law="parity", count=20).simulate(1))


def test_equal_laws_have_equal_frequencies_and_unequal_ones_are_seen():
    reference, same = (HEARTBEAT.simulate(seed) for seed in (1, 2))
    few = same.isel(sample=np.flatnonzero(same.field.values[:, 0] < 0))  # the first phase is missing
    p = [float(compare(reference, made, sequence_frequencies).p_value) for made in (same, few)]
    assert p[0] > 1e-3 and p[1] < 1e-6
    assert float(compare(reference, broken(same, 0.1)[0], valid_sequences).deviation) < -0.05


def test_the_judge_takes_the_diagnostics_of_the_law_that_the_reference_names():
    assert list(Points().diagnostics_of(HEARTBEAT.simulate(1)))[:2] == ["valid_sequences", "sequence_frequencies"]
    assert "sequence_frequencies" not in Points(law="parity").diagnostics()
    assert "density_and_coverage" not in Points(law="curie_weiss", binary=True).diagnostics()
    assert Points().diagnostics_of(Points().simulate(1)) == Points().diagnostics()
