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

Shapes: B samples, n values of one sample, b = ceil(n/4) blocks. Words are int64 in [0, 2^32), for lack of unsigned
arithmetic in torch; a product of two words wraps to the right 64 bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # M_0, M_1
WEYL = (0x9E3779B9, 0xBB67AE85)  # W_0, W_1
ROUNDS = 10
MASK = 0xFFFFFFFF
PLACES = 2**34  # of one sample
STEPS = 2**31

Key = tuple[int, int]
Counter = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Counter, key: Key) -> Counter:
    """The four words of counters of four words each, int64 tensors that broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32 & MASK) ^ c1 ^ k0, p1 & MASK, (p0 >> 32 & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return c0, c1, c2, c3


def blocks(key: Key, index: Tensor, step: int, count: int, plane: int = 0) -> Counter:
    """The words (B, b) of b = ``count`` blocks of the samples ``index`` (B,) int64, on its device."""
    place = torch.arange(count, device=index.device)
    index = index[:, None]
    second = torch.tensor(step + (plane << 31), device=index.device)
    return philox((place.expand(len(index), -1), second, index & MASK, index >> 32 & MASK), key)


def words(key: Key, index: Tensor, step: int, count: int, plane: int = 0) -> Tensor:
    """The words (B, n) of n = ``count`` places of the samples ``index`` (B,)."""
    return _in_place_order(blocks(key, index, step, -(-count // 4), plane), count)


def normals(key: Key, index: Tensor, step: int, count: int, dtype: torch.dtype) -> Tensor:
    r"""Standard normal numbers (B, n): of each pair of words (a, b) by Box and Muller

    .. math:: \sqrt{-2 \ln u}\,(\cos 2 \pi v, \sin 2 \pi v), \quad u = (a + 1/2)/2^{32}, \quad v = (b + 1/2)/2^{32}.

    The largest is :math:`\sqrt{66 \ln 2} = 6.76`; the frequency beyond 6.5 is right to 1 %. Near u = 1 the logarithm
    is taken of 1 - u, and the angle is reduced to :math:`\pm\pi/4` in whole numbers: each number has the relative
    rounding of its dtype, and float32 gives the rounded float64 numbers to a few units in the last place.
    """
    w0, w1, w2, w3 = blocks(key, index, step, -(-count // 4))
    first, second = _box_muller(w0, w1, dtype), _box_muller(w2, w3, dtype)
    return _in_place_order((*first, *second), count)


def uniforms(key: Key, index: Tensor, step: int, count: int, dtype: torch.dtype) -> Tensor:
    r"""Uniform numbers (B, n), the centres :math:`(k + 1/2)/2^m` of :math:`2^m` bins: m = 23 in float32, 52 in float64.

    All are representable, none is 0 or 1; float32 and float64 lie in the same bin of width :math:`2^{-23}`.
    """
    high = words(key, index, step, count)
    if dtype == torch.float32:
        return ((high >> 9) * 2 + 1).to(dtype) * 2.0**-24
    low = words(key, index, step, count, plane=1)
    return (((high << 20 | low >> 12) * 2 + 1).double() * 2.0**-53).to(dtype)


def integers(key: Key, index: Tensor, step: int, count: int, high: int) -> Tensor:
    r"""Whole numbers (B, n) int64 from 0 to high - 1: :math:`\lfloor high \cdot w / 2^{64} \rfloor` of 64 bits w.

    A probability differs from 1/high by at most :math:`2^{-64}`; high is at most :math:`2^{31}`.
    """
    upper, lower = (words(key, index, step, count, plane) for plane in (0, 1))
    return upper * high + (lower * high >> 32) >> 32


def _in_place_order(parts: Counter, count: int) -> Tensor:
    return torch.stack(parts, -1).flatten(1)[:, :count]


def _box_muller(a: Tensor, b: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    upper = a >= 2**31
    # a + 1/2, or 2^32 - 1/2 - a where u > 1/2: small where the logarithm is small
    part = (torch.where(upper, MASK - a, a).to(dtype) + 0.5) * 2.0**-32
    radius = (-2 * torch.where(upper, torch.log1p(-part), torch.log(part))).sqrt()
    quarter = b + 2**29 >> 30  # the nearest quarter turn, 0 to 4
    angle = ((b - (quarter << 30)).to(dtype) + 0.5) * (math.pi / 2**31)
    cosine, sine = angle.cos(), angle.sin()
    odd = quarter % 2 == 1
    along, across = torch.where(odd, sine, cosine), torch.where(odd, cosine, sine)
    flip_cosine, flip_sine = (quarter == 1) | (quarter == 2), (quarter == 2) | (quarter == 3)
    return radius * torch.where(flip_cosine, -along, along), radius * torch.where(flip_sine, -across, across)
