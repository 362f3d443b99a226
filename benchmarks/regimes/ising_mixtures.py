r"""Speciation of Ising chains and of the Curie-Weiss model: how t_S grows with the number of spins.

Exact chains (belief propagation), with the criterion mean = fluctuation of the free-entropy difference. The theory of
the chains, derived here, takes the noisy classes as Gaussians of the true first two moments:

- fields +-h: m^2 N = s^2 + chi, so that t_S = 1/2 ln(1 + N m^2 - chi) ~ 1/2 ln N;
- zero field, bonds K and K': the means agree. With the spectra f, f' of the two chains KL = (N/2) int (r - 1 - ln r)
  and variance = (N/2) int (r - 1)^2, r = (S + f)/(S + f'); for large s they are equal at s^2 = |C - C'|_F/(2 sqrt 2),
  which grows as sqrt N, so that t_S ~ 1/4 ln N. Of a single spin the noise leaves 1/(1 + S) = E tanh^2(1/s^2 + z/s),
  which defines S (s^2 for a Gaussian value). With s^2 = a sqrt N + b the slope at a finite N is not 1/4 but
  (1/4) a sqrt N/(a sqrt N + 1 + b), above or below it by the sign of 1 + b.

What is left out are connected correlations of four spins, of relative order (xi/s^2)^2, so of order 1/N at the crossing
but large for cold chains: K = .2 against .8 was measured to have slopes .263(6) and .270(6) over N = 64 to 2048, where
this theory (with S = s^2) has .292 and .299.
"""

import math
from functools import cache

import numpy as np
import torch
from scipy.optimize import brentq

from benchmarks.regimes.drawing import Curve, draw_curves, save
from benchmarks.regimes.mixtures import Backward, row
from physgen.diagnostics.regimes.classes import magnetization_class
from physgen.diagnostics.regimes.clones import u_turn
from physgen.diagnostics.regimes.information import free_entropy_speciation
from physgen.diagnostics.regimes.mixture_theory import mixture_cloning
from physgen.diagnostics.regimes.speciation import spectral_speciation
from physgen.diagnostics.regimes.unit_means import level_of
from physgen.diffusion.exact import CurieWeiss, IsingTree, LawMixture, tree_chain
from physgen.diffusion.noise import generator_for

SIZES = (64, 128, 256, 512, 1024, 2048)
LARGER = (*SIZES, 4096)
BOND, FIELD = 0.4, 0.2  # of the chains in opposite fields
BONDS = (0.1, 0.5)  # of the chains in no field
PAPER = "2602.04404"
K = np.linspace(0, math.pi, 4001)
Z = np.linspace(-8, 8, 1601)
NORMAL = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


def chain(sites, bond, field=0.0):
    """The open chain with bonds and fields that include beta."""
    ones = torch.ones(sites, dtype=torch.float64)
    return IsingTree(tree_chain(sites), bond * ones, 1.0, (1, sites), field * ones)


def moments_in_field(bond, field):
    """Magnetization and susceptibility of the infinite chain."""
    root = math.sinh(field) ** 2 + math.exp(-4 * bond)
    return math.sinh(field) / math.sqrt(root), math.cosh(field) * math.exp(-4 * bond) / root**1.5


def without_moments(sites, bond, other):
    """t_S of the class of one bond against that of the other, both taken as Gaussian."""
    tau, rival = math.tanh(bond), math.tanh(other)
    own, far = ((1 - c * c) / (1 - 2 * c * np.cos(K) + c * c) for c in (tau, rival))
    r = np.arange(1, 400)
    weight = (tau**r - rival**r) ** 2
    pairs = sites - (r * weight).sum() / weight.sum()  # an open chain has N - r pairs at the distance r

    def balance(log_square):
        signal = math.exp(-log_square)
        noise = 1 / (NORMAL @ np.tanh(signal + math.sqrt(signal) * Z) ** 2) - 1
        ratio = (noise + own) / (noise + far)
        divergence = np.trapezoid(ratio - 1 - np.log(ratio), K) / math.pi
        variance = np.trapezoid((ratio - 1) ** 2, K) / math.pi
        return math.log(0.5 * pairs * divergence) - 0.5 * math.log(0.5 * pairs * variance)

    return 0.5 * math.log1p(math.exp(brentq(balance, -4, 12)))


def measured(mixture, n, around, seed, steps=(-0.2, 0.0, 0.2)):
    """free_entropy_speciation of n draws at a few times around the expected one."""
    x, labels = mixture.sample_with_class(n, generator_for(seed, "ising mixtures", x_size(mixture)))
    times = np.unique(np.round(np.add.outer(np.atleast_1d(around), steps).ravel(), 6))
    return free_entropy_speciation(x.double(), labels.numpy(), mixture.class_log_densities, times, seed)


def x_size(mixture):
    return mixture.laws[0].sites


def slope(sizes, values, errors):
    """Weighted slope against ln N and its error."""
    weight, x = 1 / np.asarray(errors) ** 2, np.log(sizes)
    centred = x - (weight * x).sum() / weight.sum()
    return (weight * centred * values).sum() / (weight * centred**2).sum(), 1 / math.sqrt((weight * centred**2).sum())


@cache
def growth_in_fields():
    """t_S, error and theory by N of two chains in opposite fields."""
    m, chi = moments_in_field(BOND, FIELD)
    table = []
    for sites in SIZES:
        expected = 0.5 * math.log(1 + sites * m**2 - chi)
        found = measured(in_fields(sites), 3000, expected, 1)
        value = 0.5 * float(found["t_S"][0, 1] + found["t_S"][1, 0])
        error = 0.5 * float(np.hypot(found["t_S_error"][0, 1], found["t_S_error"][1, 0]))
        table.append((value, error, expected))
    return np.array(table).T


@cache
def growth_without_fields():
    """The same of two chains at different temperatures, for each class against the other, (3, N, 2)."""
    table = []
    for sites in LARGER:
        expected = [without_moments(sites, BONDS[i], BONDS[1 - i]) for i in (0, 1)]
        mixture = LawMixture([chain(sites, bond) for bond in BONDS])
        found = measured(mixture, 4000 if sites < 4000 else 2000, float(np.mean(expected)), 1)
        columns = ([float(found[name][i, 1 - i]) for i in (0, 1)] for name in ("t_S", "t_S_error"))
        table.append((*columns, expected))
    return np.array(table).transpose(1, 0, 2)


def in_fields(sites):
    return LawMixture([chain(sites, BOND, sign * FIELD) for sign in (-1, 1)])


def with_first_moments():
    """Two chains in opposite fields."""
    (values, errors, theory), (m, chi) = growth_in_fields(), moments_in_field(BOND, FIELD)
    settings = f"K = {BOND}, h = +-{FIELD}, N = {SIZES[0]} to {SIZES[-1]}"
    value, error = slope(SIZES, values, errors)
    exact = slope(SIZES, theory, errors)[0]
    yield row(
        f"dt_S/d ln N of chains in opposite fields, {settings}", value, error, exact, f"1/2 ({PAPER})", "asymptotic 1/2"
    )
    yield row(f"t_S, N = {SIZES[-1]}", values[-1], errors[-1], theory[-1], "", f"1/2 ln(1 + N m^2 - chi), m = {m:.4f}")
    sites, n = 256, 2000
    data = in_fields(sites).sample(n, generator_for(2, "data", 0))
    found = spectral_speciation(data)
    value, error = float(found["t_S"]), float(found["t_S_error"])
    yield row(
        f"spectral t_S from {n} samples, N = {sites}",
        value,
        error,
        0.5 * math.log(sites * m**2 + chi),
        "",
        "1/2 ln(N m^2 + chi)",
    )


def without_first_moments():
    """Two chains at different temperatures: only their correlations differ."""
    (values, errors, theory), bonds, sizes = growth_without_fields(), BONDS, LARGER
    for i in (0, 1):
        value, error = slope(sizes, values[:, i], errors[:, i])
        exact = slope(sizes, theory[:, i], errors[:, i])[0]
        far = [2.0**k for k in range(20, 24)]
        limit = slope(far, np.array([without_moments(f, bonds[i], bonds[1 - i]) for f in far]), np.ones(4))[0]
        name = f"dt_S/d ln N, zero field, class K = {bonds[i]} against {bonds[1 - i]}, N = {sizes[0]} to {sizes[-1]}"
        note = f"asymptotic 1/4; the same theory at N = 2^20 to 2^23 has {limit:.4f}"
        yield row(name, value, error, exact, f"1/4 ({PAPER})", note)
        yield row(f"t_S, N = {sizes[-1]}, class K = {bonds[i]}", values[-1, i], errors[-1, i], theory[-1, i])
        # s^2 = a sqrt N + b: a is the asymptotic amplitude, of which t_S ~ 1/4 ln N + 1/2 ln a
        square, spread = np.expm1(2 * values[:, i]), 2 * np.exp(2 * values[:, i]) * errors[:, i]
        fit, covariance = np.polyfit(np.sqrt(sizes), square, 1, w=1 / spread, cov="unscaled")
        tau = [math.tanh(bond) for bond in bonds]
        r = np.arange(1, 400)
        amplitude = math.sqrt(2 * ((tau[0] ** r - tau[1] ** r) ** 2).sum()) / (2 * math.sqrt(2))
        note = f"b = {fit[1]:.2f} +- {math.sqrt(covariance[1, 1]):.2f}; two terms of an expansion in 1/sqrt N"
        yield row(
            f"a of s^2 = a sqrt N + b, class K = {bonds[i]}", fit[0], math.sqrt(covariance[0, 0]), amplitude, "", note
        )


def three_temperatures():
    """Successive speciation: the hot and the cold class part first."""
    bonds, sites = (0.0, 0.2, 0.5), 512
    expected = {(i, j): without_moments(sites, bonds[i], bonds[j]) for i in range(3) for j in range(3) if i != j}
    around = {0.5 * (expected[i, j] + expected[j, i]) for i, j in expected}
    found = measured(LawMixture([chain(sites, bond) for bond in bonds]), 3000, sorted(around), 3, (-0.15, 0.15))
    for (i, j), theory in expected.items():
        value, error = float(found["t_S"][i, j]), float(found["t_S_error"][i, j])
        name = f"t_S of K = {bonds[i]} against K = {bonds[j]}, three classes, N = {sites}"
        yield row(name, value, error, theory, "", "theory without connected correlations of four spins")


def curie_weiss():
    """t_S = 1/2 ln(N m*^2) from the data, and phi there."""
    beta = 1.5
    m = brentq(lambda m: m - math.tanh(beta * m), 0.1, 1)
    sizes, values, errors = (64, 128, 256, 512, 1024), [], []
    for sites in sizes:
        found = spectral_speciation(CurieWeiss(beta, (1, sites)).sample(1000, generator_for(4, "curie weiss", sites)))
        values.append(float(found["t_S"]))
        errors.append(float(found["t_S_error"]))
    value, error = slope(sizes, np.array(values), errors)
    yield row(
        f"dt_S/d ln N, Curie-Weiss, beta = {beta}, N = 64 to 1024", value, error, 0.5, "", "from 1000 samples each"
    )
    value, error = values[-1], errors[-1]
    note = f"m* = {m:.4f}; Lambda/(N m*^2) = 1 + O(1/N)"
    yield row("spectral t_S, Curie-Weiss, N = 1024", value, error, 0.5 * math.log(1024 * m**2), "1/2 ln(N m*^2)", note)
    sites, n = 64, 1500
    t_S = 0.5 * math.log(sites * m**2)
    law, s = CurieWeiss(beta, (1, sites)), level_of(t_S)
    x = law.sample(n, generator_for(5, "curie weiss", sites)).double()
    turned = u_turn(x, Backward(law, 1.001 * s, s / 4).finish, [t_S], magnetization_class((1, sites)), seed=1)
    theory = float(mixture_cloning(math.sqrt(sites) * m, [t_S], math.sqrt(1 - m**2))["value"][0])
    value, error = (float(turned[name][0]) for name in ("value", "error"))
    yield row(
        f"phi(t_S) by U-turns, Curie-Weiss, N = {sites}", value, error, theory, "", "two Gaussians of variance 1 - m*^2"
    )


def rows():
    yield from with_first_moments()
    yield from without_first_moments()
    yield from three_temperatures()
    yield from curie_weiss()


def figures(folder):
    values, errors, theory = growth_in_fields()
    curves = [
        Curve(SIZES, theory, None, "opposite fields, theory", 0, "-"),
        Curve(SIZES, values, errors, "exact chains", 0),
    ]
    values, errors, theory = (table[:, 1] for table in growth_without_fields())
    curves += [
        Curve(LARGER, theory, None, "two temperatures, theory", 1, "-"),
        Curve(LARGER, values, errors, "exact chains", 1),
        Curve(LARGER, 0.25 * np.log(LARGER) + theory[-1] - 0.25 * math.log(LARGER[-1]), None, "slope 1/4", 1, ":"),
    ]
    caption = (
        "Speciation time of mixtures of two Ising chains against the number of spins: classes that differ in their "
        "first moments (1/2 ln N), and in their correlations alone (1/4 ln N)."
    )
    figure = draw_curves({"": curves}, "spins $N$", "$t_S$", xscale="log")
    return [(save(figure, folder, "ising_mixtures"), caption)]
