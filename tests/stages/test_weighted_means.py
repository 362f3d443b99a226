"""Means, pairs and chains from weighted draws of an untrained network: those of enumerated glasses."""

import numpy as np
import pytest
import torch

from physgen.config import load_config
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.weight_statistics import (
    reweighted_jackknife,
    reweighted_pair_mean,
)
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.observables import spin_observables
from physgen.ensemble import load_ensemble
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.stages.weight_words import describe_draws

SPINS = ["data.instances=10", "network={kind: message_passing, width: 8, depth: 4}", "data.temperatures=[1.2 J, 2 J]"]
NAMES = ("energy", "magnetization", "magnetization_squared", "overlap_squared")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("means")
    quick = ["tracking.uri=off", "training.steps=2", "training.warmup=1", *SPINS]
    asked = load_config("configs/spins/smoke.yaml", [*quick, f"dataset={folder / 'data.h5'}"])
    simulate(asked, folder / "data.h5")
    return train(asked, folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def glasses(run):
    words = ["data.length=3", "data.instances=4", "data.replicas=1", "data.temperatures=[1.2 J, 2 J]", "seed=9"]
    return simulate(load_config("configs/spins/smoke.yaml", words), run.parent / "glasses.h5")


@pytest.fixture(scope="module")
def drawn(run, glasses):
    """Weighted draws on four unseen 3 x 3 glasses at two temperatures."""
    return sample(run, run.parent / "drawn.h5", DrawOptions(400, glasses, steps=6, weights=True, seed=1))


def enumerated(law):
    """The four means of an instance and temperature, from all of its states."""
    bonds, grid = law["couplings"].values, law["couplings"].shape[1:]
    edges, count = lattice_edges(grid), int(np.prod(grid))
    known = enumerate_graph(count, edges, bonds.reshape(-1), float(law["temperature"]))
    states = enumerate_spins(count).numpy().astype(float)
    correlations = states.T @ (states * known.probabilities[:, None])
    m = states.mean(axis=1)
    return np.array([known.energy, *(known.probabilities @ one for one in (abs(m), m**2)), np.mean(correlations**2)])


def test_weighted_means_are_those_of_the_enumeration_and_plain_ones_are_not(drawn):
    made = load_ensemble(drawn)
    assert made.attrs["weighted_means"].split() == list(NAMES)
    assert made["mean_energy"].dims == ("disorder", "temperature") and made["mean_energy_error"].attrs["units"] == "J"
    energy, *_, overlap = (one.values for one in spin_observables(made))
    rows = np.arange(made["log_weight"].size).reshape(made["log_weight"].shape)
    flat, pulls, plain = torch.zeros(400), [], []
    for place in np.ndindex(4, 2):
        law, here = made.isel(disorder=place[0], temperature=place[1]), rows[place]
        exact = enumerated(law)
        found = np.array([(float(law[f"mean_{name}"]), float(law[f"mean_{name}_error"])) for name in NAMES])
        pulls.append((found[:, 0] - exact) / found[:, 1])
        as_drawn = reweighted_jackknife(torch.from_numpy(energy(here)), flat)
        of_pairs = reweighted_pair_mean(lambda part, here=here: torch.from_numpy(overlap(here[part], here)), flat)
        plain.append([(as_drawn[0] - exact[0]) / as_drawn[1], (of_pairs[0] - exact[3]) / of_pairs[1]])
    squares, unweighted = np.square(pulls).sum(axis=0), np.square(plain).sum(axis=0)
    assert (squares < 24).all(), squares  # 8 expected, standard deviation 4
    assert (unweighted > 40).all(), unweighted
    said = describe_draws(drawn).split("\n")[1]
    mean = float(made["mean_energy"].isel(temperature=0).mean())
    assert f"energy {mean:.4f} +- " in said and "over 4 of 4 laws" in said


def test_pairs_are_those_of_different_draws_whatever_the_block():
    generator = torch.Generator().manual_seed(3)
    logs, values = torch.randn(50, 2, generator=generator, dtype=torch.float64).unbind(1)
    kernel = torch.outer(values, values)
    weight = torch.exp(logs)
    both = torch.outer(weight, weight).fill_diagonal_(0)
    mean, error = reweighted_pair_mean(lambda part: kernel[part], logs, block=7)
    assert mean == pytest.approx(float((both * kernel).sum() / both.sum()), rel=1e-12)
    without = []
    for j in range(50):
        rest = torch.arange(50) != j
        part = both[rest][:, rest]
        without.append(float((part * kernel[rest][:, rest]).sum() / part.sum()))
    assert error == pytest.approx(np.sqrt(49 / 50 * np.square(without - np.mean(without)).sum()), rel=1e-9)
    again = reweighted_pair_mean(lambda part: kernel[part], logs + 900.0)
    assert again == pytest.approx((mean, error), rel=1e-9)


def test_errors_of_weighted_means_are_the_scatter_between_repetitions():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2000, 200, generator=generator, dtype=torch.float64)  # weight e^(x/2): the law is N(1/2, 1)
    single = np.array([reweighted_jackknife(one, one / 2) for one in x])
    pairs = np.array([reweighted_pair_mean(lambda part, one=one: one[part][:, None] * one, one / 2) for one in x])
    for found, exact in ((single, 0.5), (pairs, 0.25)):
        scatter = found[:, 0].std()
        assert abs(found[:, 0].mean() - exact) < 0.01 + 4 * scatter / 2000**0.5  # the bias is of order 1/200
        # the mean square of the errors has a heavier tail than that of the means: 10 % at 2000 repetitions
        assert np.sqrt(np.mean(found[:, 1] ** 2)) == pytest.approx(scatter, rel=0.1)
    mean, error = reweighted_jackknife(x[0], torch.where(torch.arange(200) == 7, 0.0, -900.0).double())
    assert mean == pytest.approx(float(x[0, 7])) and error == np.inf  # one draw has all of the weight
