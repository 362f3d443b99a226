"""Speciation and collapse of discrete diffusion: masked, in the fraction of known spins, and by random flips.

The scalings are derived in :mod:`physgen.diagnostics.regimes.revealed`. Source of the subject: arXiv:2604.10961, of
which the abstract and a summary were at hand: they state t_S = 1/2 ln Lambda (per rate) for random flips, which one of
the rows measures; for masks the derived law is measured.
"""

import math
from functools import cache

import numpy as np
import torch

from benchmarks.regimes.drawing import Curve, draw_curves, save
from benchmarks.regimes.ising_mixtures import chain, moments_in_field, row, slope
from physgen.diagnostics.regimes.classes import magnetization_class
from physgen.diagnostics.regimes.clocks import FLIPS, REVEALED
from physgen.diagnostics.regimes.information import class_information, free_entropy_speciation
from physgen.diagnostics.regimes.revealed import (
    revealed_collapse,
    revealed_collapse_fraction,
    revealed_pair_speciation_fraction,
    revealed_speciation_fraction,
)
from physgen.diagnostics.regimes.unit_means import frequency_and_error
from physgen.diffusion.exact import LawMixture
from physgen.diffusion.exact.spins import KNOWN
from physgen.diffusion.noise import generator_for

PAPER = "2604.10961"
DERIVED = "derived here"
BOND, FIELD, BONDS = 0.4, 0.1, (0.1, 0.5)
SIZES, LARGER = (256, 512, 1024, 2048), (256, 1024, 4096)


def parted(mixture, n, times, clock, seed):
    """Times at which the two classes part, mean over both, and error; the samples of the two are independent."""
    x, labels = mixture.sample_with_class(n, generator_for(seed, "masked mixtures", mixture.laws[0].sites))
    given = {REVEALED: lambda y, f: mixture.known_log_probabilities(y), FLIPS: mixture.flipped_log_probabilities}
    found = free_entropy_speciation(x, labels.numpy(), given[clock], times, seed, clock=clock)
    t, error = found["t_S"].values, found["t_S_error"].values
    return t, error


def in_fields(sites):
    return LawMixture([chain(sites, BOND, sign * FIELD) for sign in (-1, 1)])


@cache
def masked_in_fields():
    """theta_S, error and theory by N of two chains in opposite fields."""
    m, table = moments_in_field(BOND, FIELD)[0], []
    for sites in SIZES:
        expected = revealed_speciation_fraction(sites, m)
        t, error = parted(in_fields(sites), 2000, expected * np.array([0.7, 1.0, 1.4, 2.0]), REVEALED, 1)
        table.append((0.5 * (t[0, 1] + t[1, 0]), 0.5 * math.hypot(error[0, 1], error[1, 0]), expected))
    return np.array(table).T


@cache
def masked_without_fields():
    """The same of two chains at different temperatures, for each class against the other, (3, N, 2)."""
    table, r, tau = [], np.arange(1, 60), [math.tanh(bond) for bond in BONDS]
    for sites in LARGER:
        expected = [revealed_pair_speciation_fraction(sites, tau[i] ** r, tau[1 - i] ** r) for i in (0, 1)]
        mixture = LawMixture([chain(sites, bond) for bond in BONDS])
        times = np.minimum(np.mean(expected) * np.array([0.5, 0.75, 1.0, 1.3]), 1)
        t, error = parted(mixture, 2000, times, REVEALED, 1)
        table.append(([t[0, 1], t[1, 0]], [error[0, 1], error[1, 0]], expected))
    return np.array(table).transpose(1, 0, 2)


def with_first_moments():
    """Known spins lie far apart: each is worth the same, and 1/m^2 of them are enough."""
    (values, errors, theory), sizes, m = masked_in_fields(), SIZES, moments_in_field(BOND, FIELD)[0]
    value, error = slope(sizes, np.log(values), errors / values)
    name = f"d ln theta_S/d ln N, fields +-{FIELD}, K = {BOND}, N = {sizes[0]} to {sizes[-1]}"
    yield row(name, value, error, -1.0, DERIVED, "known spins are correlated at small N, which lowers the slope")
    expected = theory[-1]
    note = f"(1 - m^2)/(m^2 N) = {expected:.5f}, m = {m:.4f}; correlations of known spins add O(1/N)"
    yield row(
        f"theta_S N m^2/(1 - m^2), N = {sizes[-1]}", values[-1] / expected, errors[-1] / expected, 1.0, DERIVED, note
    )


def without_first_moments():
    """Pairs of known spins that lie close."""
    (values, errors, theory), sizes, bonds = masked_without_fields(), LARGER, BONDS
    for i in (0, 1):
        value, error = slope(sizes, np.log(values[:, i]), errors[:, i] / values[:, i])
        pair = f"class K = {bonds[i]} against {bonds[1 - i]}"
        name = f"d ln theta_S/d ln N, zero field, {pair}, N = {sizes[0]} to {sizes[-1]}"
        yield row(name, value, error, -0.5, DERIVED, "asymptotic; three known spins in a row add O(theta) = O(N^-1/2)")
        value, error = values[-1, i] / theory[-1, i], errors[-1, i] / theory[-1, i]
        note = "ratios at N = " + ", ".join(
            f"{n}: {v:.3f}" for n, v in zip(sizes, values[:, i] / theory[:, i], strict=True)
        )
        yield row(
            f"theta_S over its pair theory, class K = {bonds[i]}, N = {sizes[-1]}", value, error, 1.0, DERIVED, note
        )


def masked_u_turn():
    """Hide all but k spins of a real configuration, complete it from the exact law: is the class the same?"""
    sites, n = 512, 4000
    mixture = in_fields(sites)
    x, labels = mixture.sample_with_class(n, generator_for(3, "masked u-turn", 0))
    m = moments_in_field(BOND, FIELD)[0]
    share = float(REVEALED.times([revealed_speciation_fraction(sites, m)], sites)[0])
    known = REVEALED.corrupt(x.double(), share, 5)
    generator = generator_for(4, "masked u-turn", 1)
    number = torch.multinomial(mixture.known_posterior(known), 1, generator=generator)[:, 0]
    done = torch.empty_like(known)
    for j, law in enumerate(mixture.laws):
        mine = number == j
        done[mine] = law.sample_in_field(KNOWN * known[mine].flatten(1), generator).reshape(-1, 1, sites)
    value, error = frequency_and_error((number == labels).double().numpy(), np.arange(n))
    found = class_information(x.double(), [share], 5, lambda y, f: mixture.known_posterior(y), clock=REVEALED)
    theory, spread = float(found["cloning"][0]), float(found["cloning_error"][0])
    note = f"theta = theta_S, N = {sites}, n = {n}; theory: E sum p_j^2 of the same known spins, +- {spread:.4f}"
    yield row("class kept in a masked U-turn", float(value), math.hypot(float(error), spread), theory, DERIVED, note)
    classes = magnetization_class((1, sites))
    same = (classes(x) == classes(done)).double().numpy()
    value, error = frequency_and_error(same, np.arange(n))
    wrong = float((classes(x) != labels).double().mean())
    note = f"class by the sign of the magnetization, which misses the law it came from in {wrong:.4f} of the samples"
    yield row("the same, by magnetization", float(value), math.hypot(float(error), spread), theory, DERIVED, note)


def flips():
    """Random flips: the published time."""
    m = moments_in_field(BOND, FIELD)[0]
    sizes, values, errors = (256, 512, 1024, 2048), [], []
    for sites in sizes:
        around = 0.5 * math.log(sites * m**2)
        t, error = parted(in_fields(sites), 2000, around + np.array([-0.3, 0.0, 0.3]), FLIPS, 1)
        values.append(0.5 * (t[0, 1] + t[1, 0]))
        errors.append(0.5 * math.hypot(error[0, 1], error[1, 0]))
    value, error = slope(sizes, np.array(values), errors)
    name = f"dt_S/d ln N under random flips, fields +-{FIELD}, N = {sizes[0]} to {sizes[-1]}"
    yield row(name, value, error, 0.5, f"1/2 ln Lambda ({PAPER}, summary)", "asymptotic; Lambda = N m^2 + chi")
    note = f"Lambda = N m^2 at N = {sizes[-1]}; the susceptibility adds O(1/N)"
    yield row(
        "t_S under random flips minus 1/2 ln(N m^2)",
        values[-1] - 0.5 * math.log(sizes[-1] * m**2),
        errors[-1],
        0.0,
        "",
        note,
    )


def collapse():
    """n configurations of a chain are told apart by ln n/ln 2 spins that lie far apart."""
    n, sites = 4096, 1024
    x = chain(sites, BOND).sample(n, generator_for(6, "masked collapse", 0))
    expected = revealed_collapse_fraction(n, sites, math.log(2))
    counts = np.arange(9, 17)
    found = revealed_collapse(x, counts / sites, 1)
    order = found["order_parameter"].values
    target = 1 - math.exp(-1)  # of the random energy model where n e^-entropy = 1
    above = int(np.argmax(order > target))
    share = (target - order[above - 1]) / (order[above] - order[above - 1])
    step = found["order_parameter_error"].values[above] / (order[above] - order[above - 1])
    value, error = (counts[above - 1] + share) / sites, step / sites
    note = (
        f"n = {n}, N = {sites}: where Y2 = 1 - 1/e; the chain's correlations lower the entropy of known spins a little"
    )
    yield row("theta_C of masked diffusion", value, error, expected, f"ln n/(N h), {DERIVED}", note)
    k = int(round(math.log2(n)))
    at = int(np.flatnonzero(counts == k)[0])
    value, error = float(order[at]), float(found["order_parameter_error"][at])
    yield row(
        "Y2 of masked diffusion at theta_C",
        value,
        error,
        target,
        DERIVED,
        "K - 1 Poisson of mean 1; errors of shared pairs",
    )


def rows():
    yield from with_first_moments()
    yield from without_first_moments()
    yield from masked_u_turn()
    yield from flips()
    yield from collapse()


def figures(folder):
    values, errors, theory = masked_in_fields()
    curves = [
        Curve(SIZES, theory, None, "opposite fields, theory", 0, "-"),
        Curve(SIZES, values, errors, "exact chains", 0),
    ]
    values, errors, theory = (table[:, 1] for table in masked_without_fields())
    curves += [
        Curve(LARGER, theory, None, "two temperatures, theory", 1, "-"),
        Curve(LARGER, values, errors, "exact chains", 1),
    ]
    caption = (
        "Fraction of known spins at which masked diffusion chooses between two Ising chains, against the number of "
        "spins: 1/N where the first moments differ, N^(-1/2) where the correlations alone do."
    )
    figure = draw_curves({"": curves}, "spins $N$", r"$\theta_S$", xscale="log", yscale="log")
    return [(save(figure, folder, "masked_mixtures"), caption)]
