r"""Parallel tempering of +-J couplings in words of 64 instances, in torch on any device; same law as ``multispin``.

All instances, ladders, temperatures and all spins of one colour are updated at once (on a lattice of even lengths the
two colours are the checkerboard). The functions are those of ``multispin``, and the formulas on words are those of its
kernels; the random words are those of a ``torch.Generator`` of the device, on CUDA those of ``multispin_triton``, so a
run is a function of its seed, the kind of device and the number of words that run side by side.

Legend: W words of 64 instances (bit k of word w is instance 64 w + k), N spins, L ladders, T temperatures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from physgen.domains.spins import multispin, multispin_triton
from physgen.domains.spins.multispin_kernels import PLACES, add, choose, compare, local_class
from physgen.domains.spins.words import LANES

DIGITS = 32  # of a probability: all are compared, a device does not wait for an answer
LOWEST = -(2**63)


class Bonds(NamedTuple):
    """Couplings of any number of instances on one graph."""

    neighbours: Tensor  # (N, 6) int64, N for none
    negative: Tensor  # (W, N, 6) int64
    odd: Tensor  # (N,) int64, -1 where the number of neighbours is odd
    colours: tuple[Tensor, ...]  # sites of each colour: no two of them are neighbours
    ends: Tensor  # (M, 2) int64
    signs: Tensor  # (W, M) int64


class Walkers(NamedTuple):
    """The state of a run, changed in place."""

    spins: Tensor  # (W, N + 1, L, T) int64; row N is zero
    unsatisfied: Tensor  # (W, L, T, 64) int64, bonds
    accepted: Tensor  # (W, T - 1, 64) int64, exchanges of all ladders
    generator: torch.Generator
    sweeps: list[int]  # done so far


class Tables(NamedTuple):
    """Probabilities of a run."""

    digits: Tensor  # (2, DIGITS, 4, T) int64, as in :func:`multispin.heat_bath_digits`
    packed: Tensor  # (2, 4, T) int64, the same, bit k for digit k
    gaps: Tensor  # (T - 1,) float64, 2 J (beta_t - beta_{t+1})


def make_bonds(edges: np.ndarray, couplings: np.ndarray, spins: int, device: torch.device | str = "cpu") -> Bonds:
    """Couplings +-J (D, M) of any number of instances on edges (M, 2); InputError where words cannot hold them."""
    words = [
        multispin.make_bonds(edges, couplings[i : i + multispin.WORD], spins)
        for i in range(0, len(couplings), multispin.WORD)
    ]
    count = int(np.count_nonzero(couplings[0]))
    neighbours = words[0].neighbours // LANES
    colour = _colours(neighbours, spins)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array).view(np.int64)).to(device)

    return Bonds(
        neighbours=tensor(neighbours),
        negative=tensor(np.stack([word.negative for word in words])),
        odd=tensor(words[0].odd),
        colours=tuple(tensor(np.flatnonzero(colour == c)) for c in range(colour.max() + 1)),
        ends=tensor(words[0].ends[:count] // LANES),
        signs=tensor(np.stack([word.signs[:count] for word in words])),
    )


def _colours(neighbours: np.ndarray, spins: int) -> np.ndarray:
    """Colour (N,) of each site, the first that no neighbour has: the parity on a lattice of even lengths."""
    colour = np.full(spins + 1, -1)
    for site in range(spins):
        taken = set(colour[neighbours[site]].tolist())
        colour[site] = next(c for c in range(PLACES + 1) if c not in taken)
    return colour[:spins]


def start(bonds: Bonds, temperatures: np.ndarray, ladders: int, seed: int) -> Walkers:
    """Random configurations at every temperature of every ladder."""
    device, (count, spins, _) = bonds.negative.device, bonds.negative.shape
    generator = torch.Generator(device=device).manual_seed(seed)
    lanes = (ladders, len(temperatures))
    words = torch.zeros((count, spins + 1, *lanes), dtype=torch.int64, device=device)
    words[:, :spins].random_(LOWEST, None, generator=generator)
    accepted = torch.zeros((count, len(temperatures) - 1, multispin.WORD), dtype=torch.int64, device=device)
    return Walkers(words, _unsatisfied(words, bonds), accepted, generator, [0])


def tables(bonds: Bonds, coupling: float, temperatures: np.ndarray) -> Tables:
    """Probabilities for couplings +-``coupling`` at temperatures (T,)."""
    padded = np.pad(temperatures, (0, -len(temperatures) % LANES), constant_values=temperatures[-1])
    by_chunk = multispin.heat_bath_digits(coupling, padded)[:, :, :DIGITS]  # (C, 2, DIGITS, 4, 8)
    digits = by_chunk.transpose(1, 2, 3, 0, 4).reshape(2, DIGITS, 4, -1)[..., : len(temperatures)]
    gaps = -2 * coupling * np.diff(1 / np.asarray(temperatures, dtype=np.float64))
    device = bonds.negative.device
    words = torch.from_numpy(digits.view(np.int64)).to(device)
    return Tables(words, multispin_triton.packed(words), torch.from_numpy(gaps).to(device))


def advance(walkers: Walkers, bonds: Bonds, probabilities: Tables, sweeps: int) -> None:
    """``sweeps`` heat-bath sweeps, colour by colour, each followed by exchanges of even or of odd pairs, in place."""
    for _ in range(sweeps):
        for colour in range(len(bonds.colours)):
            _heat_bath(walkers, bonds, probabilities, colour)
        walkers.unsatisfied.copy_(_unsatisfied(walkers.spins, bonds))
        _exchange(walkers, probabilities.gaps, walkers.sweeps[0] % 2)
        walkers.sweeps[0] += 1


def _compiled(spins: Tensor) -> bool:
    return spins.device.type == "cuda" and multispin_triton.kernels() is not None


def _heat_bath(walkers: Walkers, bonds: Bonds, probabilities: Tables, colour: int) -> None:
    sites = bonds.colours[colour]
    if _compiled(walkers.spins):
        step = walkers.sweeps[0] * len(bonds.colours) + colour
        seed = walkers.generator.initial_seed()
        multispin_triton.update(walkers.spins, bonds, sites, probabilities.packed, seed, step, DIGITS)
        return
    digits = probabilities.digits
    pulls = walkers.spins[:, bonds.neighbours[sites]] ^ bonds.negative[:, sites][..., None, None]  # (W, n, 6, L, T)
    one, two, three, four, five, six = pulls.unbind(2)
    a, b = add.py_func(one, two, three)
    c, d = add.py_func(four, five, six)
    n1, n2 = add.py_func(b, d, a & c)
    odd = bonds.odd[sites]
    up, m0, m1 = local_class.py_func(a ^ c, n1, n2, odd[:, None, None])
    by_site = digits[odd & 1]  # (n, DIGITS, 4, T)
    against, undecided = torch.zeros_like(up), torch.full_like(up, -1)
    for k in range(DIGITS):
        word = torch.empty_like(up).random_(LOWEST, None, generator=walkers.generator)
        chosen = choose.py_func(m0, m1, *by_site[:, k, :, None].unbind(1))  # (n, 1, T) each
        against, undecided = compare.py_func(against, undecided, word, chosen)
    walkers.spins[:, sites] = up ^ against


def _unsatisfied(spins: Tensor, bonds: Bonds) -> Tensor:
    """Unsatisfied bonds of each instance, (W, L, T, 64)."""
    if _compiled(spins):
        return multispin_triton.unsatisfied(spins, bonds)
    words = spins[:, bonds.ends[:, 0]] ^ spins[:, bonds.ends[:, 1]] ^ bonds.signs[..., None, None]
    return count_bits(words)


def count_bits(words: Tensor) -> Tensor:
    """How many of M words have each bit set: (W, M, L, T) -> (W, L, T, 64), by adding numbers of one digit a word."""
    digits = [words]
    while digits[0].shape[1] > 1:
        half = digits[0].shape[1] // 2
        rest = [digit[:, 2 * half :] for digit in digits]
        carry, total = torch.zeros_like(digits[0][:, :half]), []
        for digit in digits:
            found, carry = add.py_func(digit[:, :half], digit[:, half : 2 * half], carry)
            total.append(found)
        zero = torch.zeros_like(rest[0])
        digits = [torch.cat(pair, dim=1) for pair in zip([*total, carry], [*rest, zero], strict=True)]
    place = torch.arange(multispin.WORD, device=words.device)
    return torch.stack([((digit[:, 0, ..., None] >> place) & 1) << n for n, digit in enumerate(digits)]).sum(0)


def _exchange(walkers: Walkers, gaps: Tensor, parity: int) -> None:
    """Exchange neighbouring temperatures, instance by instance, as in ``multispin``."""
    pairs = slice(parity, len(gaps), 2)
    if not len(gaps[pairs]):
        return
    warmer = slice(parity + 1, len(gaps) + 1, 2)
    here, there = walkers.unsatisfied[:, :, pairs], walkers.unsatisfied[:, :, warmer]  # (W, L, P, 64)
    more = there - here
    odds = torch.exp(-gaps[pairs, None] * more.clamp(min=0))
    drawn = torch.rand(odds.shape, dtype=torch.float64, device=odds.device, generator=walkers.generator)
    accepted = (drawn < odds).to(torch.int64)
    walkers.accepted[:, pairs] += accepted.sum(1)
    here += more * accepted
    there -= more * accepted
    mask = (accepted << torch.arange(multispin.WORD, device=odds.device)).sum(-1)  # (W, L, P)
    cold, warm = walkers.spins[..., pairs], walkers.spins[..., warmer]
    difference = (cold ^ warm) & mask[:, None]
    cold ^= difference
    warm ^= difference


def configurations(walkers: Walkers, levels: np.ndarray, instances: int) -> Tensor:
    """Configurations by temperature, (instances, len(levels), L, N) int8, at the given places of the ladder."""
    words = walkers.spins[:, :-1, :, torch.as_tensor(levels, device=walkers.spins.device)]  # (W, N, L, levels)
    place = torch.arange(multispin.WORD, device=words.device)
    spins = ((words[..., None] >> place) & 1).to(torch.int8) * 2 - 1  # (W, N, L, levels, 64)
    return spins.permute(0, 4, 3, 2, 1).flatten(0, 1)[:instances]
