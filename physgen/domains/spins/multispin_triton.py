r"""Heat bath of +-J couplings in words of 64 instances on a GPU, in Triton: all spins of one colour in one launch.

The law and the formulas are those of ``multispin``; the random words are Philox4x32-10 by counter (lane and site,
digits, sweep and colour, word), so a run is a function of its seed alone. The kernel is a plain function, so that this
file imports without Triton: its global ``tl`` is bound when :func:`kernels` compiles it.

Legend: W words of 64 instances, N spins, R = L T lanes (temperatures of ladders), n sites of a colour.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import torch
from torch import Tensor

from physgen.networks.jitted import jitted, present

SIZES = ["seed", "step", "count", "spin_count", "bonds", "lanes", "temperatures"]  # a 1 would be a constant
COUNTED = 127  # bonds that one program counts: seven binary digits
BLOCK = 128  # words that a program updates, at least
TOGETHER = 4  # digits that are compared between two looks at who is undecided

tl: Any = None  # triton.language


def heat_bath(spins, neighbours, negative, odd, sites, digits, seed, step, count, spin_count, lanes, temperatures, PLACES: tl.constexpr, DIGITS: tl.constexpr, TOGETHER: tl.constexpr, SITES: tl.constexpr, LANES: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """New values of a block of sites of one colour, in one word of instances, at a block of lanes."""
    blocks = (count + SITES - 1) // SITES
    columns = (lanes + LANES - 1) // LANES
    program = tl.program_id(0)
    word = program // (blocks * columns)
    order = program // columns % blocks * SITES + tl.arange(0, SITES)
    lane = program % columns * LANES + tl.arange(0, LANES)
    exists = (order < count)[:, None] & (lane < lanes)[None, :]
    site = tl.load(sites + order, mask=order < count, other=0)
    own = spins + word.to(tl.int64) * (spin_count + 1) * lanes + lane[None, :]
    n0 = tl.zeros([SITES, LANES], tl.int64)
    n1, n2 = n0, n0
    for place in tl.static_range(PLACES):  # the binary digits of how many pull up
        near = tl.load(neighbours + site * PLACES + place)
        sign = tl.load(negative + (word.to(tl.int64) * spin_count + site) * PLACES + place)
        pull = tl.load(own + near[:, None] * lanes, mask=exists, other=0) ^ sign[:, None]
        carry = n0 & pull
        n0 = n0 ^ pull
        n2 = n2 | (n1 & carry)
        n1 = n1 ^ carry
    other = tl.load(odd + site)[:, None]
    up = n2 | (n1 & n0)
    m0 = ~(n0 ^ (other & ~up))
    m1 = (up & (n1 ^ n0)) | ~(up | n1 | (other & n0))
    table = (
        digits + (other & 1) * 4 * temperatures + (lane % temperatures)[None, :]
    )  # (2, 4, T), the first digit lowest
    p0, p1 = tl.load(table), tl.load(table + temperatures)
    p2, p3 = tl.load(table + 2 * temperatures), tl.load(table + 3 * temperatures)
    against = tl.zeros([SITES, LANES], tl.int64)
    undecided = tl.where(exists, ~against, 0)
    place_low = (site[:, None] * lanes + lane[None, :]).to(tl.uint32)
    number = tl.zeros_like(place_low) + word.to(tl.uint32)
    when = tl.zeros_like(place_low) + step.to(tl.uint32)
    k = 0
    while (k < DIGITS) & (tl.max(tl.max((undecided != 0).to(tl.int32), 1), 0) > 0):
        for pair in tl.static_range(TOGETHER // 2):
            a, b, c, d = tl.philox(seed, place_low, number, when, tl.zeros_like(place_low) + (k // 2 + pair))
            for half in tl.static_range(2):
                at = k + 2 * pair + half
                drawn = a.to(tl.int64) | (b.to(tl.int64) << 32)
                if half:
                    drawn = c.to(tl.int64) | (d.to(tl.int64) << 32)
                low = -((p0 >> at) & 1)
                low = low ^ ((low ^ -((p1 >> at) & 1)) & m0)
                high = -((p2 >> at) & 1)
                high = high ^ ((high ^ -((p3 >> at) & 1)) & m0)
                digit = low ^ ((low ^ high) & m1)
                against = against | (undecided & digit & ~drawn)
                undecided = undecided & ~(digit ^ drawn)
        k += TOGETHER
    tl.store(own + site[:, None] * lanes, up ^ against, mask=exists)


def count(spins, ends, signs, out, bonds, spin_count, lanes, PIECE: tl.constexpr, BITS: tl.constexpr, LANES: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Adds to out (W, R, 64) how many of a piece of the bonds each instance of a word does not satisfy."""
    pieces = (bonds + PIECE - 1) // PIECE
    columns = (lanes + LANES - 1) // LANES
    program = tl.program_id(0)
    word = (program // (pieces * columns)).to(tl.int64)
    first = program // columns % pieces * PIECE
    lane = program % columns * LANES + tl.arange(0, LANES)
    exists = lane < lanes
    own = spins + word * (spin_count + 1) * lanes + lane
    b0 = tl.zeros([LANES], tl.int64)
    b1, b2, b3, b4, b5, b6 = b0, b0, b0, b0, b0, b0
    for bond in range(first, tl.minimum(first + PIECE, bonds)):
        one = tl.load(own + tl.load(ends + 2 * bond) * lanes, mask=exists, other=0)
        two = tl.load(own + tl.load(ends + 2 * bond + 1) * lanes, mask=exists, other=0)
        carry = one ^ two ^ tl.load(signs + word * bonds + bond)
        b0, carry = b0 ^ carry, b0 & carry
        b1, carry = b1 ^ carry, b1 & carry
        b2, carry = b2 ^ carry, b2 & carry
        b3, carry = b3 ^ carry, b3 & carry
        b4, carry = b4 ^ carry, b4 & carry
        b5, b6 = b5 ^ carry, b6 ^ (b5 & carry)
    bit = tl.arange(0, BITS)[None, :]
    total = (b0[:, None] >> bit) & 1
    total += ((b1[:, None] >> bit) & 1) << 1
    total += ((b2[:, None] >> bit) & 1) << 2
    total += ((b3[:, None] >> bit) & 1) << 3
    total += ((b4[:, None] >> bit) & 1) << 4
    total += ((b5[:, None] >> bit) & 1) << 5
    total += ((b6[:, None] >> bit) & 1) << 6
    place = out + (word * lanes + lane)[:, None] * BITS + bit
    tl.atomic_add(place, total, mask=exists[:, None])


@cache
def kernels() -> dict[str, Any] | None:
    """The kernels, compiled at their first use; None where there is no Triton."""
    return jitted(sys.modules[__name__], (heat_bath, count), SIZES)


def packed(digits: Tensor) -> Tensor:
    """Digits (2, DIGITS, 4, T) of probabilities, each a word of equal bits, as one number (2, 4, T) int64."""
    place = torch.arange(digits.shape[1], device=digits.device)[:, None, None]
    return ((digits & 1) << place).sum(1)


def update(spins: Tensor, bonds: Any, sites: Tensor, probabilities: Tensor, seed: int, step: int, digits: int) -> None:
    """One heat bath of the spins (W, N + 1, L, T) on the sites of one colour, in place.

    Args:
        bonds: of ``multispin_device``. probabilities: (2, 4, T) of :func:`packed`, of so many ``digits``.
        seed: 64 bits. step: a number of its own for each colour of each sweep.
    """
    words, spin_count, (ladders, temperatures) = spins.shape[0], spins.shape[1] - 1, spins.shape[2:]
    lanes, columns = ladders * temperatures, _columns(ladders * temperatures)
    rows = max(1, BLOCK // columns)
    programs = words * -(-len(sites) // rows) * -(-lanes // columns)
    present(kernels())["heat_bath"][(programs,)](
        spins, bonds.neighbours, bonds.negative, bonds.odd, sites, probabilities, seed, step, len(sites), spin_count,
        lanes, temperatures, PLACES=bonds.neighbours.shape[1], DIGITS=digits, TOGETHER=TOGETHER, SITES=rows,
        LANES=columns,
    )  # fmt: skip


def _columns(lanes: int) -> int:
    """Lanes that a program takes: a power of 2."""
    return min(BLOCK, 1 << (lanes - 1).bit_length())


def unsatisfied(spins: Tensor, bonds: Any) -> Tensor:
    """Unsatisfied bonds of each instance, (W, L, T, 64) int64, of spins (W, N + 1, L, T)."""
    words, spin_count, (ladders, temperatures) = spins.shape[0], spins.shape[1] - 1, spins.shape[2:]
    lanes, number = ladders * temperatures, len(bonds.ends)
    out = torch.zeros(words, ladders, temperatures, 64, dtype=torch.int64, device=spins.device)
    columns = _columns(lanes)
    programs = words * -(-number // COUNTED) * -(-lanes // columns)
    present(kernels())["count"][(programs,)](
        spins, bonds.ends, bonds.signs, out, number, spin_count, lanes, PIECE=COUNTED, BITS=64, LANES=columns
    )
    return out
