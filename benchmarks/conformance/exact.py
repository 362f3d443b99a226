"""Exact solutions against calculations that share no code with them."""

import math

import torch
from scipy.integrate import quad

from benchmarks.conformance.row import Row
from physgen.diffusion.exact import (
    CurieWeiss,
    EnumeratedIsing,
    GaussianField,
    GaussianMixture,
    IsingRing,
    IsingStrip,
    IsingTree,
    entropy_rates,
    field_entropy_production,
    field_KL,
    phi4_site,
    tree_chain,
)
from physgen.diffusion.noise import generator_for, noise_like

LEVELS = torch.tensor([0.1, 0.5, 3.0], dtype=torch.float64)
ROUNDING = 1e-10  # float64, fields of order 100


def normal(*shape, seed=0):
    return noise_like(seed, "conformance exact", [0], shape, dtype=torch.float64)[0]


def enumerated(sites, bonds, beta, shape):
    couplings = torch.zeros(sites, sites, dtype=torch.float64)
    for (i, j), value in bonds.items():
        couplings[i, j], couplings[j, i] = couplings[i, j] + value, couplings[j, i] + value
    return EnumeratedIsing.from_couplings(couplings, beta, shape)


def small_pairs():
    """Each recursion beside the sum over all states."""
    bonds = normal(12, seed=1)
    yield (
        "Ising ring, Gaussian J, N = 12",
        IsingRing(bonds, 0.9, (1, 12)),
        enumerated(12, {(i, (i + 1) % 12): float(bonds[i]) for i in range(12)}, 0.9, (1, 12)),
    )
    parents = torch.tensor([-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5])
    yield (
        "binary tree, Gaussian J, N = 12",
        IsingTree(parents, bonds, 0.9, (1, 12)),
        enumerated(12, {(int(p), i): float(bonds[i]) for i, p in enumerate(parents) if p >= 0}, 0.9, (1, 12)),
    )
    strip = normal(2, 4, 3, seed=2)
    strip[0, -1] = 0
    links = {(3 * i + j, 3 * i + 3 + j): float(strip[0, i, j]) for i in range(3) for j in range(3)}
    links |= {(3 * i + j, 3 * i + (j + 1) % 3): float(strip[1, i, j]) for i in range(4) for j in range(3)}
    yield "strip 4 x 3, Gaussian J", IsingStrip(strip, 0.8), enumerated(12, links, 0.8, (1, 4, 3))
    pairs = {(i, j): 1 / 12 for i in range(12) for j in range(i)}
    yield "Curie-Weiss, N = 12, beta = 1.2", CurieWeiss(1.2, (1, 12)), enumerated(12, pairs, 1.2, (1, 12))


def enumeration_rows():
    for name, law, exact in small_pairs():
        x = exact.sample(3, generator_for(3, "draw", 0)).double()
        y = x + LEVELS.reshape(-1, *[1] * (x.ndim - 1)) * normal(*x.shape, seed=3)
        for what, found, expected in (
            ("denoiser", law(y, LEVELS), exact(y, LEVELS)),
            ("log-density", law.log_density(y, LEVELS), exact.log_density(y, LEVELS)),
        ):
            gap = float((found - expected).abs().max())
            yield Row("exact", f"{name}: {what}", "sum over 2^12 states", gap, 0, ROUNDING, gap < ROUNDING)


def partition_rows():
    couplings = normal(400, seed=4).sign()
    found, expected = IsingRing(couplings, 0.7, (1, 400)).log_Z, 400 * math.log(2 * math.cosh(0.7))
    gap = abs(found - expected) < 1e-9
    yield Row("exact", "ln Z of a +-J ring, N = 400", "N ln 2 cosh beta", found, expected, 1e-9, gap)
    sites, beta = 1000, 1.0
    up = torch.arange(sites + 1, dtype=torch.float64)
    total = torch.tensor(float(sites), dtype=torch.float64)
    logs = torch.lgamma(total + 1) - torch.lgamma(up + 1) - torch.lgamma(total - up + 1)
    expected = float(torch.logsumexp(logs + beta * (2 * up - sites) ** 2 / (2 * sites), 0))
    found = CurieWeiss(beta, (1, sites)).log_Z
    kept = abs(found - expected) < 1e-9
    yield Row("exact", "ln Z of Curie-Weiss, N = 1000, beta = 1", "sum over M", found, expected, 1e-9, kept)
    chain = IsingTree(tree_chain(300), normal(300, seed=5), 1.0, (1, 300))
    spins = chain.sample(4000, generator_for(6, "draw", 0))[:, 0].double()
    product = spins[:, 99] * spins[:, 100]
    value, error = float(product.mean()), float(product.std()) / math.sqrt(4000)
    expected = math.tanh(float(normal(300, seed=5)[100]))
    kept = abs(value - expected) < 3 * error
    yield Row(
        "exact", "samples of a chain, N = 300: <S99 S100>", "tanh J", value, expected, error, kept, cost="4000 draws"
    )


def phi4_rows():
    law, y, s = phi4_site(1.0, -4.0), 0.3, 0.5

    def weight(x):
        return math.exp(4 * x * x - x**4 - 4 - (y - x) ** 2 / (2 * s * s))

    norm = quad(weight, -5, 5, epsabs=1e-13, limit=200)[0]
    expected = quad(lambda x: x * weight(x), -5, 5, epsabs=1e-13, limit=200)[0] / norm
    found = float(law(torch.tensor([[[y]]], dtype=torch.float64), torch.tensor([s], dtype=torch.float64)))
    kept = abs(found - expected) < 1e-9
    yield Row("exact", "denoiser of one-site phi^4, two wells", "adaptive quadrature", found, expected, 1e-9, kept)


def entropy_rows():
    power = normal(1, 12, seed=7).exp()
    law = GaussianField(0.5 * (power + power.flip(1).roll(1, 1)), 0.5)
    total = quad(lambda t: field_entropy_production(law, t), 0, 40, limit=400)[0]
    expected = field_KL(law)
    kept = abs(total - expected) < 1e-6
    yield Row("exact", "entropy produced by a Gaussian field", "KL(p_0 | N(0, I))", total, expected, 1e-6, kept)
    means, weights = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).double(), torch.tensor([0.3, 0.7]).double()
    mixture = GaussianMixture(means, torch.tensor([0.1, 0.1]).double(), weights)
    edges = torch.linspace(math.log(1e-4), math.log(8.0), 60, dtype=torch.float64).exp().tolist()
    value, square = 0.0, 0.0
    for i, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        middle = math.sqrt(low * high)
        rate, error = entropy_rates(mixture, middle, 10000, generator_for(8, "draw", i))["entropy_production"]
        width = middle * math.log(high / low)
        value, square = value + width * rate, square + (width * error) ** 2
    error = math.sqrt(square)
    name = "entropy produced by a mixture, t from 1e-4"
    yield Row("exact", name, "quadrature", value, 0.59165, error, abs(value - 0.59165) < 3 * error, cost="6e5 draws")


def rows():
    yield from enumeration_rows()
    yield from partition_rows()
    yield from phi4_rows()
    yield from entropy_rows()
