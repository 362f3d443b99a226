"""Ground states of planar glasses: the lowest configuration of parallel tempering beside minimum-weight matching.

    python -m benchmarks.ground_states            a table: lattices, instances of equal energy, CPU seconds of each

Free boundaries, couplings of variance 1, 20 instances of each size. The matching (pymatching) is exact: of the bonds
that a configuration does not satisfy, each frustrated plaquette has an odd number, and the ground state has the
lightest set of these.
"""

from __future__ import annotations

import time

import numpy as np

from physgen.domains.spins import monte_carlo
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.energy import lattice_energy

COLDEST, HOTTEST, LADDERS = 0.05, 2.0, 2
BETWEEN, QUENCH = 50, 5  # sweeps between two quenches, sweeps at no temperature in each
SIZES = {8: 1000, 12: 5000, 16: 20_000}  # sweeps of each
LAWS = "gaussian", "bimodal"
EQUAL = 1e-6  # relative difference of two energies that are one: products are float32


def matching_energy(bonds: np.ndarray) -> float:
    """Ground-state energy, in all, of couplings (2, L, L) with free boundary."""
    import pymatching

    length = bonds.shape[1]
    place = np.arange((length - 1) ** 2).reshape(length - 1, length - 1)
    matching, strengths = pymatching.Matching(), []
    for axis in (0, 1):
        turned, cells = (bonds[0], place) if axis == 0 else (bonds[1].T, place.T)
        for i in range(length - 1):  # the bond from (i, j) to (i + 1, j) parts the plaquettes j - 1 and j
            for j in range(length):
                sides = [int(cells[i, c]) for c in (j - 1, j) if 0 <= c < length - 1]
                weight, number = abs(turned[i, j]), {len(strengths)}
                strengths.append(weight)
                if len(sides) == 2:
                    matching.add_edge(*sides, weight=weight, fault_ids=number)
                else:
                    matching.add_boundary_edge(
                        sides[0], weight=weight, fault_ids=number, merge_strategy="smallest-weight"
                    )
    sign = np.sign(bonds)
    around = sign[0][:-1, :-1] * sign[0][:-1, 1:] * sign[1][:-1, :-1] * sign[1][1:, :-1]
    unsatisfied = matching.decode((around < 0).reshape(-1).astype(np.uint8))
    padded = np.zeros(len(strengths))
    padded[: len(unsatisfied)] = unsatisfied
    return float(-np.sum(strengths) + 2 * padded @ strengths)


def tempered_energy(bonds: np.ndarray, sweeps: int, seed: int) -> float:
    """Lowest energy, in all, of couplings (2, L, L) by parallel tempering, with quenches of all configurations."""
    count, grid = bonds[0].size, bonds.shape[1:]
    graph = monte_carlo.make_graph(lattice_edges(grid), bonds.reshape(-1), count)
    ladder = monte_carlo.temperature_ladder(np.array([COLDEST]), HOTTEST, count)
    walkers = monte_carlo.start(graph, ladder, LADDERS, np.random.default_rng(seed))
    lanes, lowest = walkers.spins.shape[1], np.inf
    for _ in range(sweeps // BETWEEN):
        monte_carlo.advance(walkers, graph, ladder, BETWEEN)
        cold = monte_carlo.copy_walkers(walkers)
        for _ in range(QUENCH):
            monte_carlo.sweep(cold, graph, np.full(lanes, 1e6, np.float32), np.zeros(lanes, np.float32))
        lowest = min(lowest, lattice_energy(cold.spins.T.reshape(lanes, *grid), bonds, 2).min() * count)
    return float(lowest)


def main() -> None:
    """The table."""
    print("| couplings | lattice, free | of equal energy | e0 | sweeps | CPU s each: tempering, matching |")
    print("|---|---|---|---|---|---|")
    for law in LAWS:
        for length, sweeps in SIZES.items():
            couplings = lattice_couplings((length, length), law, "free", 7, np.arange(20)).astype(float)
            begin = time.process_time()
            exact = np.array([matching_energy(bonds) for bonds in couplings])
            middle = time.process_time()
            found = np.array([tempered_energy(bonds, sweeps, seed) for seed, bonds in enumerate(couplings)])
            spent = (time.process_time() - middle) / 20, (middle - begin) / 20
            equal = int((np.abs(found - exact) < EQUAL * np.abs(exact)).sum())
            e0 = exact / length**2
            error = e0.std(ddof=1) / np.sqrt(20)
            costs = f"{spent[0]:.2g}, {spent[1]:.2g}"
            print(
                f"| {law} | {length} x {length} | {equal} of 20 | {e0.mean():.4f}({error:.4f}) | {sweeps} | {costs} |"
            )


if __name__ == "__main__":
    main()
