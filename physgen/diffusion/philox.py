r"""Random numbers by counter: Philox4x32-10, and what is made of its words. The definition, in plain torch.

A word is a function of its address and of nothing else. With the 64-bit key :math:`(k_0, k_1)` of a stream, the
words :math:`w_0 \dots w_3` of the places 4 b ... 4 b + 3 of the field of a sample are

.. math:: (w_0, w_1, w_2, w_3) = \mathrm{Philox}_{4\times32\text{-}10}\big((c_0, c_1, c_2, c_3), (k_0, k_1)\big),

.. math:: c_0 = b, \quad c_1 = step + 2^{31} plane, \quad c_2 = index \bmod 2^{32}, \quad
          c_3 = \lfloor index / 2^{32} \rfloor \bmod 2^{32},

so a field has at most :math:`2^{34}` values, a step is below :math:`2^{31}`, and an index is any 64-bit whole number.
The plane 1 holds further digits of the words of plane 0. One round maps (with high and low halves of 64-bit products)

.. math:: (c_0, c_1, c_2, c_3) \to (\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0, \mathrm{lo}(M_1 c_2),
          \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1, \mathrm{lo}(M_0 c_0)),

and after it the keys grow by :math:`W_0, W_1`. Source: Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy
as 1, 2, 3*, SC11 (2011), doi 10.1145/2063384.2063405; it passes BigCrush, and the known-answer vectors of its authors.

Float32 normal numbers take sums, products and square roots alone, each rounded: this file, the compiled code
(:mod:`physgen.diffusion.philox_numba`) and the GPU's (:mod:`physgen.diffusion.philox_triton`) do them in the same
order, so that all give the same bits.

Shapes: B samples, n values of one sample, b = ceil(n/4) blocks. Words are int64 in [0, 2^32), for lack of unsigned
arithmetic in torch; a product of two words wraps to the right 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # M_0, M_1
WEYL = (0x9E3779B9, 0xBB67AE85)  # W_0, W_1
ROUNDS = 10
MASK = 0xFFFFFFFF
PLACES = 2**34  # of one sample
STEPS = 2**31
PLANE = 2**31  # in c_1
SLABS = {"cpu": 2**13}  # blocks that plain torch makes at once, so that its temporaries stay in the second cache
LARGEST_SLAB = 2**20  # elsewhere: some ten temporaries of 8 MB

# Float32 polynomials of Cephes (S. L. Moshier, netlib.org/cephes, logf.c and sinf.c), errors below 2^-24
LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
LN2_LOW, LN2_HIGH = -2.12194440e-4, 0.693359375
SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
TURN = math.pi / 2**31  # a word as an angle
BITS_OF_ONE, BITS_OF_ROOT_HALF = 0x3F800000, 0x3F3504F3

Key = tuple[int, int]
Counter = tuple[Tensor, Tensor, Tensor, Tensor]


class Engine(NamedTuple):
    """Who makes the numbers: ``words(key, index, second, count)``, and the others of the same arguments.

    ``index`` (B,) int64 lies on the device of the engine, ``second`` is c_1, ``count`` is n. Words (B, n) are int64,
    ``normals`` float32, the same bits from each engine; ``wide`` are normal numbers in float64, the same up to
    rounding.
    """

    name: str
    words: Callable[[Key, Tensor, int, int], Tensor]
    normals: Callable[[Key, Tensor, int, int], Tensor]
    wide: Callable[[Key, Tensor, int, int], Tensor]


def philox(counter: Counter, key: Key) -> Counter:
    """The four words of counters of four words each, int64 tensors that broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32 & MASK) ^ c1 ^ k0, p1 & MASK, (p0 >> 32 & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return c0, c1, c2, c3


def words(key: Key, index: Tensor, second: int, count: int) -> Tensor:
    """The words (B, n) of the samples ``index``, in plain torch."""
    made = torch.empty(len(index), count, dtype=torch.int64, device=index.device)
    for part, four in _blocks(key, index, second, made):
        part.copy_(_in_place_order(four, part.shape[1]))
    return made


def normals(key: Key, index: Tensor, second: int, count: int) -> Tensor:
    """Float32 normal numbers (B, n) of the samples ``index``, in plain torch; :func:`wide_normals` has the equation."""
    made = torch.empty(len(index), count, dtype=torch.float32, device=index.device)
    for part, (w0, w1, w2, w3) in _blocks(key, index, second, made):
        part.copy_(_in_place_order((*_box_muller(w0, w1), *_box_muller(w2, w3)), part.shape[1]))
    return made


def wide_from(words: Callable[[Key, Tensor, int, int], Tensor]) -> Callable[[Key, Tensor, int, int], Tensor]:
    """``wide`` of an engine by :func:`wide_normals` of its words."""
    return lambda key, index, second, count: wide_normals(words(key, index, second, count + count % 2))[:, :count]


TORCH = Engine("torch", words, normals, wide_from(words))


def wide_normals(drawn: Tensor) -> Tensor:
    r"""Float64 normal numbers (B, n) of words (B, n), n even: of each pair (a, b) by Box and Muller

    .. math:: \sqrt{-2 \ln u}\,(\cos 2 \pi v, \sin 2 \pi v), \quad u = (a + 1/2)/2^{32}, \quad v = (b + 1/2)/2^{32}.

    The largest is :math:`\sqrt{66 \ln 2} = 6.76`; the frequency beyond 6.5 is right to 2 %. The angle is reduced to
    :math:`\pm\pi/4` and the logarithm taken of 1 - u near 1, so that small numbers are as exact as large ones.
    """
    a, b = drawn.unflatten(1, (-1, 2)).unbind(2)
    upper, part = _part(a, torch.float64)
    radius = (-2 * torch.where(upper, torch.log1p(-part), torch.log(part))).sqrt()
    quarter, rest = _quarters(b)
    angle = (rest.double() + 0.5) * TURN
    return torch.stack(_turned(radius, quarter, angle.cos(), angle.sin()), 2).flatten(1)


def uniforms(high: Tensor, low: Tensor | None) -> Tensor:
    r"""Uniform numbers, the centres :math:`(k + 1/2)/2^m` of :math:`2^m` bins: m = 23 in float32, 52 in float64.

    All are representable, none is 0 or 1; float32 and float64 lie in the same bin of width :math:`2^{-23}`.

    Args:
        high: words of plane 0. low: those of plane 1 for float64, None for float32.
    """
    if low is None:
        return ((high >> 9) * 2 + 1).float() * 2.0**-24
    return ((high << 20 | low >> 12) * 2 + 1).double() * 2.0**-53


def integers(high: Tensor, low: Tensor, below: int) -> Tensor:
    r"""Whole numbers from 0 to below - 1, :math:`\lfloor below \cdot w / 2^{64} \rfloor` of 64 bits w in two planes.

    A probability differs from 1/below by less than :math:`2^{-64}`; ``below`` is at most :math:`2^{31}`.
    """
    return high * below + (low * below >> 32) >> 32


def _blocks(key: Key, index: Tensor, second: int, made: Tensor) -> Iterator[tuple[Tensor, Counter]]:
    """Parts of ``made`` (B, n) and the words of their blocks, a slab at a time."""
    count, slab = -(-made.shape[1] // 4), SLABS.get(index.device.type, LARGEST_SLAB)
    across = max(min(count, slab), 1)
    along, c1 = slab // across, torch.full((1, 1), second, device=index.device)
    for first in range(0, len(made), along):
        rows = index[first : first + along, None]
        for start in range(0, count, across):
            part = made[first : first + along, 4 * start : 4 * (start + across)]
            place = torch.arange(start, start - (-part.shape[1] // 4), device=index.device)
            yield part, philox((place.expand(len(rows), -1), c1, rows & MASK, rows >> 32 & MASK), key)


def _in_place_order(parts: Counter, count: int) -> Tensor:
    return torch.stack(parts, -1).flatten(1)[:, :count]


def _part(a: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Whether u > 1/2, and the smaller of u and 1 - u."""
    upper = a >= 2**31
    return upper, (torch.where(upper, MASK - a, a).to(dtype) + 0.5) * 2.0**-32


def _quarters(b: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest quarter turn of an angle, 0 to 4, and what is left, -2^29 to 2^29 - 1."""
    quarter = b + 2**29 >> 30
    return quarter, b - (quarter << 30)


def _turned(radius: Tensor, quarter: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    odd = quarter % 2 == 1
    along, across = radius * torch.where(odd, sine, cosine), radius * torch.where(odd, cosine, sine)
    left, down = (quarter == 1) | (quarter == 2), (quarter == 2) | (quarter == 3)
    return torch.where(left, -along, along), torch.where(down, -across, across)


def _box_muller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two float32 normal numbers of two words; the order of operations is part of the definition."""
    upper, part = _part(a, torch.float32)
    bits = torch.where(upper, 1 - part, part).view(torch.int32) + (BITS_OF_ONE - BITS_OF_ROOT_HALF)
    exponent = (bits >> 23) - 127
    mantissa = ((bits & 0x7FFFFF) + BITS_OF_ROOT_HALF).view(torch.float32)
    f = torch.where(exponent == 0, -part, mantissa - 1)
    e, square = exponent.float(), f * f
    tail = _polynomial(LOG, f) * f * square + e * LN2_LOW - square * 0.5
    radius = (((f + tail) + e * LN2_HIGH) * -2).double().sqrt().float()  # torch's float32 root errs by a bit
    quarter, rest = _quarters(b)
    x = (rest.float() + 0.5) * TURN
    square = x * x
    sine = _polynomial(SINE, square) * square * x + x
    cosine = _polynomial(COSINE, square) * square * square - square * 0.5 + 1
    return _turned(radius, quarter, cosine, sine)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    value = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value
