r"""Identities that hold exactly in equilibrium, in any dimension and at any size: a test of any sampler of spins.

Every row is an average whose mean over thermal noise and disorder is known; its error is the scatter between
disorder instances (of equal couplings: one). Configurations with log-weights count with them.

Legend: D disorder instances, T temperatures, R replicas, N spins, M bonds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.identity import Absent, Identity
from physgen.domains.spins.averages import pair_mean, thermal_mean
from physgen.domains.spins.callen import callen_terms, local_fields
from physgen.domains.spins.energy import edge_products
from physgen.domains.spins.equilibrium_tests import OVERLAP, SEED, SWEEPS, exchange_terms
from physgen.domains.spins.glass_statistics import overlap_matrix
from physgen.domains.spins.layout import energy_of
from physgen.domains.spins.measurement import linear_response
from physgen.domains.spins.nishimori import controlled, gaussian_obstacle, line_energy, line_obstacle
from physgen.domains.spins.planted import gauged
from physgen.domains.spins.sampled import Sampled, sampled
from physgen.domains.spins.sweeps import heat_bath

if TYPE_CHECKING:
    import xarray as xr

Rows = Iterator[Identity | Absent]


def spin_identities(ensemble: xr.Dataset) -> tuple[list[Identity], list[Absent]]:
    """All identities that an ensemble of spins can be held against, at each temperature, and those that it cannot.

    Of three spins at a time the bonds are triples; where each state has an energy of its own there are none.
    """
    data = sampled(ensemble)
    found = [one for rows in (_callen, _pairs, _drift, _exchange, _young, _nishimori) for one in rows(data)]
    absent = [one for one in found if isinstance(one, Absent)]
    rows = [one for one in found if isinstance(one, Identity)]
    names = list(dict.fromkeys(one.name for one in rows))
    return sorted(rows, key=lambda one: names.index(one.name)), absent


def _response(data: Sampled) -> np.ndarray | None:
    """de/d ln T per spin (T,), of at least two replicas."""
    if data.replicas < 2:
        return None
    if data.weights is None:
        return linear_response(data.energy, data.energy, data.temperatures) * data.count
    mean = data.mean(data.energy)
    return (data.mean(data.energy**2) - mean**2).mean(axis=0) * data.count / data.temperatures


def _callen(data: Sampled) -> Rows:
    r""":math:`\langle s_i h_i\rangle = \langle h_i\tanh\beta h_i\rangle`: the bonds of a spin weighted by J."""
    deviation, response = (data.mean(one) for one in callen_terms(data.spins, data.disorder, data.temperatures))
    for level, change in enumerate(response.mean(axis=0)):
        found = deviation[:, level]
        yield data.row("callen", level, found, found.mean(), 0.0, change, 0.05, "T")


def _pairs(data: Sampled) -> Rows:
    """Identities of each spin and each bond by itself, squared over pairs of replicas; and the global flip."""
    if data.replicas < 2 or not data.apart.any():
        for name in ("callen_spins", "callen_bonds", "flip_balance"):
            yield Absent(name, "needs at least 2 independent configurations of an instance and temperature")
        return
    in_a_field = data.disorder.external_field is not None and bool(np.any(data.disorder.external_field))
    flips, places = data.disorder.ends == 2 and not in_a_field, range(data.edges.shape[1])
    for level, temperature in enumerate(data.temperatures):
        spins_off, bonds_off, overlap, sizes = [], [], [], []
        for instance in range(len(data.spins)):
            spins = data.flat[instance, level].astype(np.float32)
            local = local_fields(data.spins[instance, level], data.disorder, instance).reshape(spins.shape)
            given = np.tanh(local / temperature).astype(np.float32)
            edges = data.edges[data.bonds[instance] != 0]
            turned = (edge_products(spins, edges, k) * given[:, edges[:, k]] for k in places)
            bond = edge_products(spins, edges) - sum(turned) / len(places)
            weights = data.weights_at(level, instance)
            spins_off.append(pair_mean(overlap_matrix(spins - given), weights, data.apart))
            if len(edges):
                bonds_off.append(pair_mean(overlap_matrix(bond), weights, data.apart))
            between = overlap_matrix(spins)
            overlap.append(pair_mean(between, weights, data.apart))
            sizes.append(
                [thermal_mean(np.square(x).sum(axis=1) / max(x.shape[1], 1), weights) for x in (spins - given, bond)]
                + [pair_mean(between**2, weights, data.apart)]
            )
        spread = np.mean(sizes, axis=0)
        own = "the spread of one spin", "the spread of one bond"
        yield _squared(data, "callen_spins", level, np.array(spins_off), spread[0], 0.1, own[0])
        if bonds_off:
            yield _squared(data, "callen_bonds", level, np.array(bonds_off), spread[1], 0.1, own[1])
        if flips:
            found = np.sqrt(max(float(spread[2]), 1e-12))
            yield _squared(data, "flip_balance", level, np.array(overlap), found, 0.3, "full imbalance")
    if data.disorder.levels is not None:
        yield Absent("callen_bonds", "random energies have no bonds")
    if not flips:
        cause = "an external field tells" if in_a_field else "energies that a flip of all spins changes tell"
        yield Absent("flip_balance", f"{cause} both states of the global flip apart")


def _squared(
    data: Sampled, name: str, level: int, deviation: np.ndarray, yardstick: float, tolerance: float, of: str
) -> Identity:
    """A row of squares of thermal means, each of two replicas."""
    mean = float(deviation.mean())
    return data.row(name, level, deviation, mean, 0.0, float(yardstick), tolerance, of, "1", power=2)


def _drift(data: Sampled) -> Rows:
    """Energy after minus before exact heat-bath sweeps at the temperature of each configuration."""
    response = _response(data)
    for sweeps in SWEEPS:
        moved = heat_bath(data.spins, data.disorder, data.temperatures, sweeps, SEED)
        change = data.mean(energy_of(moved, data.disorder) - data.energy)
        for level in range(len(data.temperatures)):
            found = change[:, level]
            scale, of = (data.energy[:, level].mean(), "e") if response is None else (response[level], "T")
            name = f"drift_{sweeps}"
            yield data.row(name, level, found, found.mean(), 0.0, float(scale), 0.05, of)


def _exchange(data: Sampled) -> Rows:
    r"""Slope of :math:`\ln[P_1(E)/P_2(E)]` of neighbouring temperatures against :math:`\beta_2 - \beta_1`."""
    order = np.argsort(data.temperatures)
    if len(order) < 2:
        yield Absent("energy_ratio", "compares energies at neighbouring temperatures, and there is one")
    energy = data.energy * data.count
    for cold, hot in zip(order[:-1], order[1:], strict=True):
        low, high = data.temperatures[cold], data.temperatures[hot]
        slope = 1 / low - 1 / high
        where = f"T = {low:g}, {high:g}"
        weights = None if data.weights is None else (data.weights[:, cold], data.weights[:, hot])
        deviation, response = exchange_terms(energy[:, cold], energy[:, hot], slope, weights)
        difference = energy[:, hot, None, :] - energy[:, cold, :, None]
        if np.mean(1 - np.tanh(slope * difference / 2) ** 2) < OVERLAP:
            yield Absent("energy_ratio", f"the energies at {where} do not overlap")
            continue
        found = slope * deviation / response.mean()
        value = slope + float(found.mean())
        withheld = data.withheld[cold] or data.withheld[hot]
        yield data.row("energy_ratio", int(cold), found, value, slope, slope, 0.2, "the slope", "1/J", where, withheld)


def _young(data: Sampled) -> Rows:
    r"""Katzgraber-Young: :math:`[e] = -\frac{1}{NT}\sum_b\sigma^2(1 - [q_b])`, sigma from the couplings themselves.

    Of random energies with :math:`[Y_2]`, the probability that two configurations are one state, in the place of q_b.
    """
    name, levels = "katzgraber_young", data.disorder.levels
    bonds = data.bonds if levels is None else levels
    obstacle = gaussian_obstacle(bonds) if data.planted is None else "the couplings are those of a planted law"
    if data.disorder.external_field is not None:
        obstacle = "holds without an external field alone"
    if obstacle or data.replicas < 2:
        yield Absent(name, obstacle or "needs at least 2 configurations of an instance and temperature")
        return
    variance = (bonds.astype(np.float64) ** 2).sum(axis=1) / np.maximum((bonds != 0).sum(axis=1), 1)
    response = _response(data)
    for level, temperature in enumerate(data.temperatures):
        broken = np.empty(len(data.spins))
        for i, spins in enumerate(data.flat[:, level]):
            if levels is None:
                present = data.bonds[i] != 0
                links, terms = overlap_matrix(edge_products(spins, data.edges[present])), present.sum()
            else:
                links, terms = (overlap_matrix(spins) == 1).astype(float), 1
            broken[i] = (1 - pair_mean(links, data.weights_at(level, i), data.apart)) * terms / data.count
        energy = data.mean(data.energy)[:, level]
        bound = -broken * variance.mean() / temperature
        # the variance is a mean over instances too: its own deviation stands beside theirs
        deviation = energy - bound + (variance - variance.mean()) * broken.mean() / temperature
        scale = abs(energy.mean()) if response is None else response[level]
        yield data.row(name, level, deviation, energy.mean(), bound.mean(), float(scale), 0.2, "T")


def _nishimori(data: Sampled) -> Rows:
    """Energy, and moments of the magnetization against those of the overlap, on the Nishimori line."""
    gauge = data.disorder if data.planted is None else gauged(data.disorder, data.planted)
    bonds = gauge.couplings.reshape(len(data.spins), -1)
    obstacles = [line_obstacle(bonds, temperature) for temperature in data.temperatures]
    if data.disorder.external_field is not None:
        obstacles = ["holds without an external field alone"] * len(obstacles)
    for reason in dict.fromkeys(filter(None, obstacles)):
        at = [f"{t:g}" for t, told in zip(data.temperatures, obstacles, strict=True) if told == reason]
        yield Absent("nishimori", f"T = {', '.join(at)}: {reason}")
    for level, temperature in enumerate(data.temperatures):
        if obstacles[level]:
            continue
        known = line_energy(bonds, temperature, data.count)
        control = -bonds.astype(np.float64).sum(axis=1) / data.count - known  # energy of the gauge itself, mean zero
        deviation = controlled(data.mean(data.energy)[:, level] - known, control)
        expected = float(known.mean())
        value = expected + float(deviation.mean())
        yield data.row("nishimori_energy", level, deviation, value, expected, expected, 0.02, "e")
        yield from _moments(data, level)


def _moments(data: Sampled, level: int) -> Rows:
    if data.replicas < 2 or not data.apart.any():
        yield Absent("nishimori_q", "needs at least 2 independent configurations of an instance and temperature")
        return
    magnetization, overlaps = [], []
    for i, spins in enumerate(data.flat[:, level]):
        signs = spins if data.planted is None else spins * data.planted[i].reshape(-1)
        magnetization.append(signs.mean(axis=1, dtype=np.float64))
        overlaps.append(overlap_matrix(spins))
    for power, tolerance in ((2, 0.2), (4, 0.4)):
        left = thermal_mean(np.array(magnetization) ** power, data.weights_at(level))
        right = data.pairs(np.array(overlaps) ** power, level)
        scale = max(left.mean(), right.mean())
        name, of = f"nishimori_q{power}", f"[q^{power}]"
        yield data.row(name, level, left - right, left.mean(), right.mean(), scale, tolerance, of, "1")
