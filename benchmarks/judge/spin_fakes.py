"""Fakes of spin configurations: laws that share some statistics with equilibrium and nothing else.

Each takes ``Configurations``: independent exact configurations of the instances of the reference (D, T, R, L, L).
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.judge.data import MAGNETIZATION_DRAWS, draw_spins, with_field
from physgen.domains.spins import exact
from physgen.domains.spins.layout import disorder_of

FAKE_STREAM = 10  # of the random numbers of exact draws at other temperatures


@dataclass(frozen=True)
class Configurations:
    """What fakes are made of."""

    truth: object
    training: object
    rng: np.random.Generator

    @property
    def spins(self):
        """A copy of the configurations (D, T, R, L, L)."""
        return self.truth["field"].values.copy()


def heated(data, part):
    """Equilibrium at temperatures too high by a part."""
    return draw_spins(data.truth, FAKE_STREAM, 1 + part)


def shuffled_couplings(data):
    """Equilibrium of the same bonds at other places of the lattice."""
    bonds = disorder_of(data.truth).couplings.copy()
    for one in bonds:
        there = one != 0  # the open seam stays open
        one[there] = data.rng.permutation(one[there])
    return draw_spins(data.truth, FAKE_STREAM + 1, couplings=bonds)


def product_law(data):
    """Independent spins with the exact <s_i s_0>, and a global sign: mean field with the exact magnetisations."""
    field, bonds = data.spins, disorder_of(data.truth).couplings
    for i, t in np.ndindex(field.shape[:2]):
        drawn = exact.sample(bonds[i], float(data.truth["temperature"][t]), MAGNETIZATION_DRAWS, data.rng).spins
        magnetization = (drawn * drawn[:, :1, :1]).mean(0)
        up = data.rng.random(field.shape[2:]) < (1 + magnetization) / 2
        field[i, t] = np.where(up, 1, -1) * data.rng.choice([-1, 1], size=(field.shape[2], 1, 1))
    return with_field(data.truth, field)


def half_of_the_states(data):
    """Every configuration turned to the side of one state of its instance: half of the Z2 pairs is missing."""
    field = data.spins
    state = field[:, :1, :1]
    overlap = (field * state).sum((-1, -2), keepdims=True)
    return with_field(data.truth, np.where(overlap < 0, -field, field))


def two_temperatures(data, spread=0.3):
    """A mixture of equilibria at T (1 - spread) and T (1 + spread) that has the exact mean energy of each instance."""
    cold, hot = (draw_spins(data.truth, FAKE_STREAM + 2 + i, 1 + f) for i, f in enumerate((-spread, spread)))
    bonds, field = disorder_of(data.truth).couplings, hot["field"].values.copy()
    for i, t in np.ndindex(field.shape[:2]):
        temperature = float(data.truth["temperature"][t])
        low, middle, high = (exact.log_partition(bonds[i], temperature * f)[1] for f in (1 - spread, 1, 1 + spread))
        takes_cold = data.rng.random(field.shape[2]) < (high - middle) / (high - low)
        field[i, t, takes_cold] = cold["field"].values[i, t, takes_cold]
    return with_field(data.truth, field)


def copies(data, fraction, flipped=0.02):
    """A fraction of the configurations are training ones of the same instance and temperature, 2 % of spins flipped."""
    field, training, rng = data.spins, data.training["field"].values, data.rng
    count = field[..., 0, 0].size
    for flat in rng.choice(count, round(fraction * count), replace=False):
        i, t, r = np.unravel_index(flat, field.shape[:3])
        one = training[i, t, rng.integers(training.shape[2])] * rng.choice([-1, 1])
        field[i, t, r] = np.where(rng.random(one.shape) < flipped, -one, one)
    return with_field(data.truth, field)


FAKES = {
    "truth, other configurations": lambda d: d.truth,
    "temperature 2 % too high": lambda d: heated(d, 0.02),
    "temperature 5 % too high": lambda d: heated(d, 0.05),
    "temperature 10 % too high": lambda d: heated(d, 0.1),
    "shuffled couplings": shuffled_couplings,
    "product law, exact magnetisations": product_law,
    "half of the Z2 states missing": half_of_the_states,
    "two temperatures, right mean energy": two_temperatures,
    "10 % copies, 2 % of spins flipped": lambda d: copies(d, 0.1),
    "3 % copies, 2 % of spins flipped": lambda d: copies(d, 0.03),
}
