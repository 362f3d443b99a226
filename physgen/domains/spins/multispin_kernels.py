r"""Numba kernels of multispin coding: heat bath on 64 instances of +-J couplings at once, one instance a bit.

Legend: N spins, 6 places for neighbours, R lanes in C chunks of 8, T temperatures; a *lane* is one temperature of one
ladder, and a word holds that lane of 64 *different* instances, bit k that of instance k. Bits say "up" (s = +1), and
"negative" for couplings.

Every bit has random numbers of its own: word b of a stream is binary digit b of 64 independent uniform numbers U, one
an instance, which are compared with the heat-bath probability digit by digit. So the instances of a word are as
independent as those of two runs, and bit k does not depend on what stands in the other bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from physgen.domains.spins.words import LANES, any_bit, load, spread, store

PLACES = 6  # neighbours of a spin, at most
DIGITS = 48  # of a probability
AT_ONCE = 12  # digits compared always; a further one is needed with probability 2^-12 per bit
SUMMED = 15  # bonds counted at a time
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
ONE, ALL = np.uint64(1), np.uint64(2**64 - 1)
R17, R21, R27, R28, R30, R31, R36, R47, R49, R15, R11 = (
    np.uint64(shift) for shift in (17, 21, 27, 28, 30, 31, 36, 47, 49, 15, 11)
)


class Bonds(NamedTuple):
    """+-J couplings of up to 64 instances on one graph; an offset is 8 times a site, N for none."""

    neighbours: np.ndarray  # (N, 6) int64 offsets
    negative: np.ndarray  # (N, 6) uint64; at places without neighbour a constant that centres the count at 3
    odd: np.ndarray  # (N,) uint64, all ones where the number of neighbours is odd
    order: np.ndarray  # (N,) int64, sites as a sweep visits them
    ends: np.ndarray  # (M, 2) int64 offsets of the bonds, padded to a multiple of SUMMED
    signs: np.ndarray  # (M,) uint64, set where a bond is negative; zero in the padding


class Walkers(NamedTuple):
    """The state of a run: all arrays, changed in place. Lane ``ladder * T + t`` holds temperature t for ever."""

    spins: np.ndarray  # (C, N + 2, 8) uint64; row N is zero, row N + 1 marks who comes from the hottest temperature
    generators: np.ndarray  # (C, 2, 8) uint64, of xoroshiro128++
    exchange: np.ndarray  # (2,) uint64, the generator of exchanges
    unsatisfied: np.ndarray  # (8 C, 64) int32, bonds, by lane and instance
    attempts: np.ndarray  # (T - 1,) int64, for each instance
    accepted: np.ndarray  # (T - 1, 64) int64
    trips: np.ndarray  # (ladders, 64) int64, round trips
    sweeps: np.ndarray  # (1,) int64, done so far


# --- formulas on words: for uint64, for eight of them, and (their Python originals) for tensors of int64 ---


@njit(nogil=True, cache=True)
def add(a, b, c):  # type: ignore[no-untyped-def]
    """Full adder: sum and carry of three bits."""
    return a ^ b ^ c, (a & b) | (c & (a | b))


@njit(nogil=True, cache=True)
def local_class(n0, n1, n2, odd):  # type: ignore[no-untyped-def]
    r"""The local field h from the binary digits of n, the number of neighbours that pull up, counted so that
    h = 2n - 6, or 2n - 5 at an odd site.

    Returns:
        ``up`` (the sign of h, up for n = 3 = h/2 + 3) and the two digits of m, with \|h\| = 2m or 2m + 1.
    """
    up = n2 | (n1 & n0)
    return up, ~(n0 ^ (odd & ~up)), (up & (n1 ^ n0)) | ~(up | n1 | (odd & n0))


@njit(nogil=True, cache=True)
def choose(m0, m1, p0, p1, p2, p3):  # type: ignore[no-untyped-def]
    """Of four words the one of number m, bit by bit."""
    low, high = p0 ^ ((p0 ^ p1) & m0), p2 ^ ((p2 ^ p3) & m0)
    return low ^ ((low ^ high) & m1)


@njit(nogil=True, cache=True)
def compare(below, undecided, digit, probability):  # type: ignore[no-untyped-def]
    """U < p after one more binary digit of both."""
    return below | (undecided & probability & ~digit), undecided & ~(probability ^ digit)


# --- random words --------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _next(s0, s1):  # type: ignore[no-untyped-def]
    """xoroshiro128++ (Blackman and Vigna, ACM TOMS 47, 36, 2021): the word, and the state after it."""
    total = s0 + s1
    word = ((total << R17) | (total >> R47)) + s0
    s1 = s1 ^ s0
    return word, ((s0 << R49) | (s0 >> R15)) ^ s1 ^ (s1 << R21), (s1 << R28) | (s1 >> R36)


@njit(nogil=True, cache=True)
def _reserve(state, number):  # type: ignore[no-untyped-def]
    """Word ``number`` of SplitMix64 from a state: digits that few need, without a step of the main generator."""
    z = state + GOLDEN * np.uint64(number)
    z = (z ^ (z >> R30)) * MIX_1
    z = (z ^ (z >> R27)) * MIX_2
    return z ^ (z >> R31)


@njit(nogil=True, cache=True)
def _digit(m0, m1, digits, k):  # type: ignore[no-untyped-def]
    """Digit k of the probability of each bit, by its class."""
    place = 4 * LANES * k
    low, high = load(digits, place), load(digits, place + LANES)
    return choose(m0, m1, low, high, load(digits, place + 2 * LANES), load(digits, place + 3 * LANES))


# --- one sweep -----------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def sweep(every: np.ndarray, generators: np.ndarray, bonds: Bonds, digits: np.ndarray) -> None:
    """One heat-bath sweep of every lane.

    Args:
        every, generators: of :class:`Walkers`.
        digits: (C, 2, DIGITS, 4, 8) uint64, for even and odd sites the binary digits, highest first, of the
            probabilities that a spin stands against a local field of class m = 0 ... 3, by lane.
    """
    for chunk in range(every.shape[0]):
        spins, generator = every[chunk], generators[chunk]
        s0, s1 = load(generator, 0), load(generator, LANES)
        for site in bonds.order:
            at, sign, odd = bonds.neighbours[site], bonds.negative[site], bonds.odd[site]
            a, b = add(load(spins, at[0]) ^ sign[0], load(spins, at[1]) ^ sign[1], load(spins, at[2]) ^ sign[2])
            c, d = add(load(spins, at[3]) ^ sign[3], load(spins, at[4]) ^ sign[4], load(spins, at[5]) ^ sign[5])
            n1, n2 = add(b, d, a & c)
            up, m0, m1 = local_class(a ^ c, n1, n2, spread(odd))
            p = digits[chunk, np.int64(odd & ONE)]
            against, undecided = spread(np.uint64(0)), spread(ALL)
            for k in range(AT_ONCE):
                word, s0, s1 = _next(s0, s1)
                chosen = _digit(m0, m1, p, k)
                against, undecided = compare(against, undecided, word, chosen)
            k = AT_ONCE
            while any_bit(undecided) and k < DIGITS:
                chosen = _digit(m0, m1, p, k)
                against, undecided = compare(against, undecided, _reserve(s0, k), chosen)
                k += 1
            store(spins, LANES * site, up ^ against)
        store(generator, 0, s0)
        store(generator, LANES, s1)


# --- counting ------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _seven(spins, ends, signs, m):  # type: ignore[no-untyped-def]
    """Binary digits of the number of ones among the words of bonds m ... m + 6."""
    a, b = add(_bond(spins, ends, signs, m), _bond(spins, ends, signs, m + 1), _bond(spins, ends, signs, m + 2))
    c, d = add(_bond(spins, ends, signs, m + 3), _bond(spins, ends, signs, m + 4), _bond(spins, ends, signs, m + 5))
    ones, e = add(a, c, _bond(spins, ends, signs, m + 6))
    twos, fours = add(b, d, e)
    return ones, twos, fours


@njit(nogil=True, cache=True)
def _bond(spins, ends, signs, m):  # type: ignore[no-untyped-def]
    """Set where the two spins of a bond are unequal (equal, if it is negative)."""
    return load(spins, ends[m, 0]) ^ load(spins, ends[m, 1]) ^ signs[m]


@njit(nogil=True, cache=True)
def count(words: np.ndarray, ends: np.ndarray, signs: np.ndarray, out: np.ndarray) -> None:
    """Unsatisfied bonds of each lane and instance, by counters of one binary digit a word.

    Args:
        words: (C, rows, 8) uint64.
        ends, signs: of the bonds, as in :class:`Bonds`.
        out: (8 C, 64) int32.
    """
    width = 5
    while (1 << width) <= len(ends):
        width += 1
    counter = np.empty(width * LANES, np.uint64)
    for chunk in range(words.shape[0]):
        spins = words[chunk]
        counter[:] = 0
        for m in range(0, len(ends), SUMMED):
            a0, a1, a2 = _seven(spins, ends, signs, m)
            b0, b1, b2 = _seven(spins, ends, signs, m + 7)
            d0, carry = add(a0, b0, _bond(spins, ends, signs, m + 14))
            d1, carry = add(a1, b1, carry)
            d2, d3 = add(a2, b2, carry)
            total, carry = add(load(counter, 0), d0, d0 ^ d0)
            store(counter, 0, total)
            total, carry = add(load(counter, LANES), d1, carry)
            store(counter, LANES, total)
            total, carry = add(load(counter, 2 * LANES), d2, carry)
            store(counter, 2 * LANES, total)
            total, carry = add(load(counter, 3 * LANES), d3, carry)
            store(counter, 3 * LANES, total)
            for digit in range(4, width):
                total = load(counter, LANES * digit)
                store(counter, LANES * digit, total ^ carry)
                carry = total & carry
        for lane in range(LANES):
            row = out[LANES * chunk + lane]
            row[:] = 0
            for digit in range(width):
                word = counter[LANES * digit + lane]
                for k in range(64):
                    row[k] += np.int32((word >> np.uint64(k)) & ONE) << np.int32(digit)


@njit(nogil=True, cache=True)
def products(spins: np.ndarray, pairs: np.ndarray, levels: int, out: np.ndarray) -> None:
    """Where the two ladders of a pair differ: lane ``pair * T + t`` of out (C', N + 2, 8), whose row N stays zero."""
    for p in range(len(pairs)):
        for t in range(levels):
            a, b, to = pairs[p, 0] * levels + t, pairs[p, 1] * levels + t, p * levels + t
            one, other, found = spins[a // LANES], spins[b // LANES], out[to // LANES]
            for site in range(out.shape[1] - 2):
                found[site, to % LANES] = one[site, a % LANES] ^ other[site, b % LANES]


# --- exchange of temperatures --------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _exchange(walkers: Walkers, odds: np.ndarray, parity: int) -> None:
    r"""Exchange neighbouring temperatures of an instance with probability :math:`\min(1, e^{\Delta\beta\Delta E})`.

    ``odds`` (T - 1, K): that probability where the warmer lane has 0 ... K - 1 unsatisfied bonds more. A number is
    drawn for every instance, so that none depends on another.
    """
    levels, last = len(odds) + 1, odds.shape[1] - 1
    s0, s1 = walkers.exchange
    for ladder in range(walkers.trips.shape[0]):
        for t in range(parity, levels - 1, 2):
            cold = ladder * levels + t
            here, there = walkers.unsatisfied[cold], walkers.unsatisfied[cold + 1]
            mask = np.uint64(0)
            for k in range(64):
                word, s0, s1 = _next(s0, s1)
                more = there[k] - here[k]
                accepted = np.float64(word >> R11) * 2.0**-53 < odds[t, min(max(more, 0), last)]  # odds[t, 0] is 1
                mask |= np.uint64(accepted) << np.uint64(k)
                walkers.accepted[t, k] += accepted
                moved = more * np.int32(accepted)
                here[k] += moved
                there[k] -= moved
            one, other = walkers.spins[cold // LANES], walkers.spins[(cold + 1) // LANES]
            i, j = cold % LANES, (cold + 1) % LANES
            for row in range(one.shape[0]):
                difference = (one[row, i] ^ other[row, j]) & mask
                one[row, i] ^= difference
                other[row, j] ^= difference
    walkers.exchange[0], walkers.exchange[1] = s0, s1
    for t in range(parity, levels - 1, 2):
        walkers.attempts[t] += walkers.trips.shape[0]


@njit(nogil=True, cache=True)
def _count_trips(walkers: Walkers, levels: int) -> None:
    """A round trip ends at the coldest temperature for who was at the hottest since it was last there."""
    mark = walkers.spins.shape[1] - 1
    for ladder in range(walkers.trips.shape[0]):
        cold, hot = ladder * levels, ladder * levels + levels - 1
        walkers.spins[hot // LANES, mark, hot % LANES] = ALL
        back = walkers.spins[cold // LANES, mark, cold % LANES]
        if back:
            for k in range(64):
                walkers.trips[ladder, k] += np.int64((back >> np.uint64(k)) & ONE)
            walkers.spins[cold // LANES, mark, cold % LANES] = 0


@njit(nogil=True, cache=True)
def advance(walkers: Walkers, bonds: Bonds, digits: np.ndarray, odds: np.ndarray, sweeps: int) -> None:
    """``sweeps`` heat-bath sweeps, each followed by exchanges of even or of odd pairs, in place."""
    for _ in range(sweeps):
        sweep(walkers.spins, walkers.generators, bonds, digits)
        count(walkers.spins, bonds.ends, bonds.signs, walkers.unsatisfied)
        _exchange(walkers, odds, walkers.sweeps[0] % 2)
        _count_trips(walkers, len(odds) + 1)
        walkers.sweeps[0] += 1
