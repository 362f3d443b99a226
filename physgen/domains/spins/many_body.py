r"""Glasses whose spins do not interact in pairs: three at a time, or all at once (random energies).

*p-spin, p = 3*: :math:`H = -\sum_{i<j<k} J_{ijk} s_i s_j s_k`, all triples, J of mean 0 and variance
:math:`p!/2N^{p-1} = 3/N^2`. The ``edges`` of such an ensemble have three ends.
*Random energies*: each of the 2^N states has an energy of its own, Gaussian of mean 0 and variance N/2, which is the
limit of large p. State j has spin i up where bit i of j is 1.

Neither is symmetric under a flip of all spins: :math:`H(-s) = -H(s)` and nothing at all.
Source: Gardner, Nucl. Phys. B 257, 747 (1985); Derrida, Phys. Rev. B 24, 2613 (1981).

Legend: D disorder instances, N spins, M triples.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from physgen.domains.spins.couplings import disorder_rng, draw_couplings
from physgen.domains.spins.mean_field.random_energy import random_energy_levels
from physgen.errors import InputError

MOST_SPINS = {"p_spin": 128, "random_energy": 20}  # 341 376 triples, 2^20 levels
CHUNK = 2**22  # numbers of a block of local fields


def check_many_body(model: str, spins: int, method: str, couplings: str, in_field: bool) -> None:
    """Raise InputError where a model of this file cannot be had with these settings; other models pass."""
    most = MOST_SPINS.get(model)
    if most is None:
        return
    least = 3 if model == "p_spin" else 2
    if not least <= spins <= most:
        held = "all triples are" if model == "p_spin" else "all 2^N energies are"
        raise InputError(f"length={spins} of model {model}: {held} held, so it takes {least} to {most} spins")
    if model == "p_spin":
        return
    if method not in ("auto", "enumeration"):
        raise InputError(f"method {method!r} cannot draw random energies, which are enumerated: leave method out")
    if couplings != "gaussian":
        raise InputError(f"couplings {couplings!r} have no effect on model {model!r}: leave them out")
    if in_field:
        raise InputError("random energies are all there is: leave uniform_field and random_field out")


def all_triples(spins: int) -> np.ndarray:
    """Triples (N(N-1)(N-2)/6, 3) int32, i < j < k, in lexicographic order."""
    return np.array(list(itertools.combinations(range(spins), 3)), dtype=np.int32)


def triple_couplings(spins: int, law: str, seed: int, disorder_ids: np.ndarray) -> np.ndarray:
    """Couplings of mean 0 and variance 3/N^2 of all triples, (len(disorder_ids), M) float32."""
    count = math.comb(spins, 3)
    drawn = [draw_couplings(law, (count,), disorder_rng(seed, disorder)) for disorder in disorder_ids]
    return (np.stack(drawn) * math.sqrt(3) / spins).astype(np.float32)


def level_energies(spins: int, seed: int, disorder_ids: np.ndarray) -> np.ndarray:
    """Total energies of all states, (len(disorder_ids), 2^N) float32, of mean 0 and variance N/2."""
    drawn = [random_energy_levels(spins, disorder_rng(seed, disorder)) for disorder in disorder_ids]
    return np.stack(drawn).astype(np.float32)


def state_numbers(spins: np.ndarray) -> np.ndarray:
    """Numbers (...) int64 of states (..., N) of +-1."""
    return np.asarray((spins > 0) @ (1 << np.arange(spins.shape[-1], dtype=np.int64)))


def states_of(numbers: np.ndarray, spins: int) -> np.ndarray:
    """States (..., N) int8 of +-1 of their numbers (...)."""
    bits = np.asarray(numbers)[..., None] >> np.arange(spins) & 1
    return (2 * bits - 1).astype(np.int8)


def coupling_tensor(edges: np.ndarray, couplings: np.ndarray, spins: int) -> np.ndarray:
    r"""Symmetric :math:`J_{ijk}` (N, N, N) float32 of triples (M, 3), zero where two indices are equal."""
    tensor = np.zeros((spins, spins, spins), dtype=np.float32)
    values = np.asarray(couplings, dtype=np.float32)
    for order in itertools.permutations(range(3)):
        i, j, k = (edges[:, place] for place in order)
        np.add.at(tensor, (i, j, k), values)
    return tensor


def triple_fields(values: np.ndarray, tensor: np.ndarray) -> np.ndarray:
    r"""Local fields :math:`h_i = \sum_{j<k} J_{ijk} v_j v_k` (..., N) float64 of values (..., N), spins say."""
    count = values.shape[-1]
    flat = values.reshape(-1, count).astype(np.float64)
    matrix, found = tensor.reshape(count, count * count).astype(np.float64), np.empty_like(flat)
    rows = max(1, CHUNK // count**2)
    for start in range(0, len(flat), rows):
        part = flat[start : start + rows]
        pairs = (part @ matrix).reshape(len(part), count, count)
        found[start : start + rows] = np.einsum("rij,rj->ri", pairs, part) / 2
    return found.reshape(values.shape)


def level_fields(spins: np.ndarray, levels: np.ndarray) -> np.ndarray:
    r"""Local fields :math:`h_i = \frac12 [E(s_i = -1) - E(s_i = +1)]` (..., N) float64 of states (..., N)."""
    numbers = state_numbers(spins)[..., None]
    bit = 1 << np.arange(spins.shape[-1], dtype=np.int64)
    energies = np.asarray(levels, dtype=np.float64)
    return (energies[numbers & ~bit] - energies[numbers | bit]) / 2
