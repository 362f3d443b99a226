r"""What a model of spins is made of beside bonds on a full lattice: dilution, random graphs, external fields.

Each is drawn from a stream of random numbers of its own, so that the couplings of an instance do not depend on whether
it is diluted or stands in a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.contract import Domain
from physgen.domains.spins.couplings import (
    complete_graph,
    complete_graph_couplings,
    disorder_rng,
    draw_couplings,
    lattice_couplings,
)
from physgen.domains.spins.layout import Disorder, of_levels
from physgen.domains.spins.many_body import all_triples, check_many_body, level_energies, triple_couplings
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

DILUTION_STREAM, FIELD_STREAM, GRAPH_STREAM = 11, 12, 13
# models whose ``length`` counts all spins
ON_GRAPHS = ("sherrington_kirkpatrick", "random_regular", "p_spin", "random_energy")
SWITCHES = 20  # exchanges of ends for each edge, after which a random regular graph is forgotten


@dataclass(frozen=True)
class Ingredients(Domain):
    """Settings of a model of spins; the others are those of :class:`physgen.domains.spins.Spins`."""

    degree: int = field(default=3, metadata={"help": "random_regular: neighbours of each spin", "min": 2})
    bond_fraction: float = field(
        default=1.0, metadata={"help": "probability that a bond of the lattice is there", "min": 0.01, "max": 1}
    )
    uniform_field: float = field(default=0.0, metadata={"help": "external field on every spin", "unit": "J"})
    random_field: float = field(
        default=0.0, metadata={"help": "standard deviation of a Gaussian external field, of mean 0", "unit": "J"}
    )

    def __post_init__(self) -> None:
        model, spins = getattr(self, "model", ""), getattr(self, "length", 0)
        if self.bond_fraction < 1 and model in ON_GRAPHS:
            raise InputError(f"bond_fraction={self.bond_fraction:g} dilutes a lattice, {model} has none: leave it 1")
        if model in ON_GRAPHS and getattr(self, "method", "") == "transfer_matrix":
            raise InputError("method 'transfer_matrix' needs a lattice: take parallel_tempering for this model")
        settings = (getattr(self, "method", ""), getattr(self, "couplings", ""))
        check_many_body(model, spins, *settings, self.in_field)
        if self.random_field < 0:
            raise InputError(f"random_field={self.random_field:g} J is a standard deviation: give 0 or more")
        if model == "random_regular" and (self.degree >= spins or self.degree * spins % 2):
            raise InputError(
                f"degree={self.degree} on length={spins} spins: a regular graph needs degree < length and an even "
                "degree * length"
            )

    @classmethod
    def load_conditions(cls, path: Path, dimension: int) -> xr.Dataset:
        """Couplings from a text file, a matrix or dimod JSON; see ``coupling_files.py``."""
        from physgen.domains.spins.load_couplings import couplings_like

        return couplings_like(path, dimension)

    @classmethod
    def compare_sizes(cls, ensembles: Sequence[xr.Dataset]) -> dict[str, xr.Dataset]:
        """Binder ratio and correlation length over L against temperature, and where sizes cross."""
        from physgen.domains.spins.crossings import all_crossings

        return all_crossings(ensembles)

    @property
    def in_field(self) -> bool:
        """Whether there is an external field."""
        return bool(self.uniform_field or self.random_field)


def draw_disorder(domain: Spins, seed: int) -> Disorder:
    """The bonds and fields of every instance of a domain; instance i depends on (seed, i) alone."""
    ids, law = np.arange(domain.instances), "ferromagnet" if domain.model == "ferromagnet" else domain.couplings
    edges = None
    if domain.model == "sherrington_kirkpatrick":
        edges = complete_graph(domain.length)
        couplings = complete_graph_couplings(domain.length, law, seed, ids)
    elif domain.model == "p_spin":
        edges, couplings = all_triples(domain.length), triple_couplings(domain.length, law, seed, ids)
    elif domain.model == "random_energy":
        return of_levels(level_energies(domain.length, seed, ids))
    elif domain.model == "random_regular":
        edges, couplings = regular_couplings(domain.length, domain.degree, law, seed, ids)
    else:
        shape = (domain.length,) * domain.dimension
        couplings = lattice_couplings(shape, law, domain.boundary, seed, ids)
        if domain.bond_fraction < 1:
            couplings = diluted(couplings, domain.bond_fraction, seed, ids)
    grid = (domain.length,) if edges is not None else couplings.shape[2:]
    outer = external_fields(grid, domain.uniform_field, domain.random_field, seed, ids) if domain.in_field else None
    return Disorder(couplings, edges, outer)


def diluted(couplings: np.ndarray, fraction: float, seed: int, disorder_ids: np.ndarray) -> np.ndarray:
    """Couplings (D, ...) of which each is kept with probability ``fraction`` and else is 0."""
    kept = [disorder_rng(seed, i, DILUTION_STREAM).random(couplings.shape[1:]) < fraction for i in disorder_ids]
    return np.where(np.stack(kept), couplings, couplings.dtype.type(0))


def external_fields(
    grid: tuple[int, ...], uniform: float, random: float, seed: int, disorder_ids: np.ndarray
) -> np.ndarray:
    r"""Fields :math:`h_i = h + \sigma g_i`, g standard normal, (len(disorder_ids), \*grid) float32, units of J."""
    drawn = [disorder_rng(seed, i, FIELD_STREAM).standard_normal(grid) for i in disorder_ids]
    return (uniform + random * np.stack(drawn)).astype(np.float32)


def regular_couplings(
    spins: int, degree: int, law: str, seed: int, disorder_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Couplings of variance 1 on a random regular graph for each instance.

    Returns:
        ``edges`` (M, 2) int32, the edges of all instances, and ``couplings`` (D, M) float32, 0 where an instance has no
        such edge.
    """
    graphs = [regular_graph(spins, degree, disorder_rng(seed, i, GRAPH_STREAM)) for i in disorder_ids]
    keys = [graph[:, 0].astype(np.int64) * spins + graph[:, 1] for graph in graphs]
    union = np.unique(np.concatenate(keys))
    couplings = np.zeros((len(graphs), len(union)), dtype=np.float32)
    for row, own, i in zip(couplings, keys, disorder_ids, strict=True):
        row[np.searchsorted(union, own)] = draw_couplings(law, own.shape, disorder_rng(seed, i))
    return np.stack([union // spins, union % spins], axis=1).astype(np.int32), couplings


def regular_graph(spins: int, degree: int, rng: np.random.Generator) -> np.ndarray:
    """Edges (N degree / 2, 2) int32, i < j, sorted, of a random graph without loops and parallel edges.

    A ring of neighbours is shuffled by exchanges {a, b}, {c, d} -> {a, d}, {c, b}, refused where they would make a loop
    or a parallel edge. The moves are symmetric and join all regular graphs, so the law tends to the uniform one.

    Raises:
        InputError: no such graph.
    """
    if degree >= spins or degree * spins % 2:
        raise InputError(f"no regular graph of degree {degree} has {spins} spins: degree < spins, their product even")
    site = np.arange(spins)
    steps = [(site, (site + step) % spins) for step in range(1, degree // 2 + 1)]
    if degree % 2:
        steps.append((site[: spins // 2], site[: spins // 2] + spins // 2))
    edges = [tuple(sorted(pair)) for ends in steps for pair in zip(*(e.tolist() for e in ends), strict=True)]
    present = set(edges)
    pairs = rng.integers(0, len(edges), (SWITCHES * len(edges), 2)).tolist()
    flips = rng.integers(0, 2, SWITCHES * len(edges)).tolist()
    for (first, second), flip in zip(pairs, flips, strict=True):
        (a, b), (c, d) = edges[first], edges[second][::-1] if flip else edges[second]
        new = (min(a, d), max(a, d)), (min(c, b), max(c, b))
        if a == d or c == b or new[0] in present or new[1] in present or new[0] == new[1]:
            continue
        present -= {edges[first], edges[second]}
        present |= set(new)
        edges[first], edges[second] = new
    return np.array(sorted(edges), dtype=np.int32)
