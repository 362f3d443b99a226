r"""Heat bath of +-J couplings in words of 64 instances on a GPU, in Triton: all spins of one colour in one launch.

The law and the formulas are those of ``multispin``; the random words are Philox4x32-10 by counter (lane and site,
digits, sweep and colour, word), so a run is a function of its seed alone. The kernel is a plain function, so that this
file imports without Triton: its global ``tl`` is bound when :func:`kernel` compiles it.

Legend: W words of 64 instances, N spins, R = L T lanes (temperatures of ladders), n sites of a colour.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

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


@cache
def kernel() -> Any:
    """The compiled kernel; None where there is no Triton."""
    global tl
    try:
        import triton
        import triton.language as language
    except ImportError:
        return None
    tl = language
    return triton.jit(heat_bath, do_not_specialize=["seed", "step", "count", "spin_count", "lanes", "temperatures"])


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
    lanes = ladders * temperatures
    columns = min(BLOCK, 1 << (lanes - 1).bit_length())
    rows = max(1, BLOCK // columns)
    programs = words * -(-len(sites) // rows) * -(-lanes // columns)
    kernel()[(programs,)](
        spins, bonds.neighbours, bonds.negative, bonds.odd, sites, probabilities, seed, step, len(sites), spin_count,
        lanes, temperatures, PLACES=bonds.neighbours.shape[1], DIGITS=digits, TOGETHER=TOGETHER, SITES=rows,
        LANES=columns,
    )  # fmt: skip
