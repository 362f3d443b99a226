r"""The fused layer of :mod:`physgen.networks.fused` on a GPU, in Triton: statistics, then one pass; backwards the same.

The equations and the order of sums are those of kernels.cpp: pieces of a sample's sites in float32, between pieces in
float64, all fixed by the shape of one sample, so that the batch changes no bit. Backwards, the slope at the modulated
field is made twice rather than kept: that costs arithmetic, of which a GPU has plenty, and saves passes over memory.

The kernels are plain functions, so that this file imports without Triton: their global ``tl`` is bound when
:func:`kernels` compiles them. Fields are channels last, (B, D, H, W, C) with size 1 for axes that a lattice lacks.

Legend: B batch, C channels, G = C/8 groups, P pieces of a sample's sites.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from physgen.networks.jitted import jitted

SIZES = ["batch", "depth", "height", "width", "sites", "pieces", "chunks"]  # a 1 among them would be a constant

tl: Any = None  # triton.language


def add_moments(x, sums, sites, pieces, CHANNELS: tl.constexpr, PIECE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Sums (B, P, 2, C) of x - x_0 and its square over a piece, x_0 the value at the first site of the sample."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    program = tl.program_id(0)
    sample, piece = (program // blocks // pieces).to(tl.int64), program // blocks % pieces
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    start = x + sample * sites * CHANNELS
    origin = tl.load(start + channel).to(tl.float32)
    one = tl.zeros([ROWS, COLUMNS], tl.float32)
    two = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, PIECE, ROWS):
        site = piece * PIECE + first + tl.arange(0, ROWS)
        inside = (site < sites)[:, None]
        place = start + site.to(tl.int64)[:, None] * CHANNELS + channel[None, :]
        v = tl.where(inside, tl.load(place, mask=inside, other=0.0).to(tl.float32) - origin[None, :], 0.0)
        one += v
        two += v * v
    to = sums + (sample * pieces + piece) * 2 * CHANNELS + channel
    tl.store(to, tl.sum(one, 0))
    tl.store(to + CHANNELS, tl.sum(two, 0))


def totals_of(sums, sample, channel, pieces, CHANNELS: tl.constexpr, GROUP: tl.constexpr, STEP: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Both sums (B, P, 2, C) over the pieces of a sample, in float64, for a group of channels."""
    one = tl.zeros([STEP, GROUP], tl.float64)
    two = tl.zeros([STEP, GROUP], tl.float64)
    for first in range(0, pieces, STEP):
        piece = first + tl.arange(0, STEP)
        place = sums + (sample * pieces + piece)[:, None] * 2 * CHANNELS + channel[None, :]
        inside = (piece < pieces)[:, None]
        one += tl.load(place, mask=inside, other=0.0).to(tl.float64)
        two += tl.load(place + CHANNELS, mask=inside, other=0.0).to(tl.float64)
    return tl.sum(one, 0), tl.sum(two, 0)


def normalise(x, offset, sums, gain, bias, moments, normals, constants, sites, pieces, CHANNELS: tl.constexpr, MODULATED: tl.constexpr, OFFSET: tl.constexpr, GROUP: tl.constexpr, STEP: tl.constexpr, EPSILON: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """From the sums: moments (2, B, G) of a group and sums (B, C) of the normalised field, float64, and constants
    (3, B, C): centre, scale, shift."""
    groups: tl.constexpr = CHANNELS // GROUP
    sample, group = (tl.program_id(0) // groups).to(tl.int64), tl.program_id(0) % groups
    batch = tl.num_programs(0) // groups
    channel = group * GROUP + tl.arange(0, GROUP)
    total, squares = totals_of(sums, sample, channel, pieces, CHANNELS, GROUP, STEP)
    count = tl.zeros([GROUP], tl.float64) + sites
    own = tl.zeros([GROUP], tl.float64)
    if OFFSET:
        own += tl.load(offset + channel).to(tl.float64)
    origin = tl.load(x + sample * sites * CHANNELS + channel).to(tl.float64) + own
    centre = tl.sum(origin + total / count, 0) / GROUP
    off = origin - centre
    spread = tl.sum(squares / count + 2 * off * total / count + off * off, 0) / GROUP
    rate = 1 / tl.sqrt(tl.where(spread < 0, 0.0, spread) + EPSILON)
    tl.store(moments + sample * groups + group, centre)
    tl.store(moments + (batch + sample) * groups + group, rate)
    tl.store(normals + sample * CHANNELS + channel, rate * (total + count * off))
    factor = tl.zeros([GROUP], tl.float64) + rate
    shift = tl.zeros([GROUP], tl.float64)
    if MODULATED:
        factor = factor * (1 + tl.load(gain + sample * CHANNELS + channel).to(tl.float64))
        shift = tl.load(bias + sample * CHANNELS + channel).to(tl.float64)
    place = constants + sample * CHANNELS + channel
    tl.store(place, (centre - own).to(tl.float32))
    tl.store(place + batch * CHANNELS, factor.to(tl.float32))
    tl.store(place + 2 * batch * CHANNELS, shift.to(tl.float32))


def activate(x, constants, y, batch, depth, height, width, CHANNELS: tl.constexpr, PAD_D: tl.constexpr, PAD: tl.constexpr, PAD_W: tl.constexpr, PERIODIC: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """y at a block of sites of the padded field: the SiLU of (x - centre) scale + shift at the site that it copies."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    over_h, over_w = height + 2 * PAD, width + 2 * PAD_W
    padded = (depth + 2 * PAD_D) * over_h * over_w
    chunks = (padded + ROWS - 1) // ROWS
    program = tl.program_id(0)
    sample = (program // blocks // chunks).to(tl.int64)
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    site = (program // blocks % chunks) * ROWS + tl.arange(0, ROWS)
    d = site // (over_h * over_w) - PAD_D
    h = site // over_w % over_h - PAD
    w = site % over_w - PAD_W
    exists = site < padded
    inner = exists
    if PERIODIC:
        d = tl.where(d < 0, d + depth, tl.where(d >= depth, d - depth, d))
        h = tl.where(h < 0, h + height, tl.where(h >= height, h - height, h))
        w = tl.where(w < 0, w + width, tl.where(w >= width, w - width, w))
    else:
        inner = exists & (d >= 0) & (d < depth) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
    source = sample * depth * height * width + (d * height + h) * width + w
    v = tl.load(x + source[:, None] * CHANNELS + channel[None, :], mask=inner[:, None], other=0.0).to(tl.float32)
    place = constants + sample * CHANNELS + channel
    centre = tl.load(place)[None, :]
    scale = tl.load(place + batch * CHANNELS)[None, :]
    shift = tl.load(place + 2 * batch * CHANNELS)[None, :]
    field = (v - centre) * scale + shift
    field = tl.where(inner[:, None], field / (1 + tl.exp(-field)), 0.0)
    to = y + (sample * padded + site)[:, None] * CHANNELS + channel[None, :]
    tl.store(to, field.to(y.dtype.element_ty), mask=exists[:, None])


def slopes_of(gradient, x, offset, moments, gain, bias, sample, site, channel, batch, depth, height, width, CHANNELS: tl.constexpr, PAD_D: tl.constexpr, PAD: tl.constexpr, PAD_W: tl.constexpr, PERIODIC: tl.constexpr, MODULATED: tl.constexpr, OFFSET: tl.constexpr, GROUP: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Slope at the modulated field, and the normalised field, of a block of sites and channels; 0 outside."""
    sites = depth * height * width
    inside = site < sites
    d, h, w = site // (height * width), site // width % height, site % width
    over_h, over_w = height + 2 * PAD, width + 2 * PAD_W
    start = gradient + sample * (depth + 2 * PAD_D) * over_h * over_w * CHANNELS + channel[None, :]
    place = ((d + PAD_D) * over_h + h + PAD) * over_w + w + PAD_W
    arrives = tl.load(start + place.to(tl.int64)[:, None] * CHANNELS, mask=inside[:, None], other=0.0).to(tl.float32)
    if PERIODIC:  # the second image along each axis, for sites near an end
        jump_d = tl.where(d < PAD_D, depth, -depth) * over_h * over_w
        jump_h = tl.where(h < PAD, height, -height) * over_w
        jump_w = tl.where(w < PAD_W, width, -width)
        has_d = inside & ((d < PAD_D) | (d >= depth - PAD_D))
        has_h = inside & ((h < PAD) | (h >= height - PAD))
        has_w = inside & ((w < PAD_W) | (w >= width - PAD_W))
        for along_d in tl.static_range(1 + (PAD_D > 0)):
            for along_h in tl.static_range(1 + (PAD > 0)):
                for along_w in tl.static_range(1 + (PAD_W > 0)):
                    if along_d + along_h + along_w > 0:
                        has, image = inside, place
                        if along_d:
                            has, image = has & has_d, image + jump_d
                        if along_h:
                            has, image = has & has_h, image + jump_h
                        if along_w:
                            has, image = has & has_w, image + jump_w
                        there = start + image.to(tl.int64)[:, None] * CHANNELS
                        arrives += tl.load(there, mask=has[:, None], other=0.0).to(tl.float32)
    groups: tl.constexpr = CHANNELS // GROUP
    place_of_moment = moments + sample * groups + channel // GROUP
    centre = tl.load(place_of_moment).to(tl.float32)
    if OFFSET:
        centre = centre - tl.load(offset + channel).to(tl.float32)
    rate = tl.load(place_of_moment + batch * groups).to(tl.float32)
    source = x + (sample * sites + site)[:, None] * CHANNELS + channel[None, :]
    raw = tl.load(source, mask=inside[:, None], other=0.0).to(tl.float32)
    normal = (raw - centre[None, :]) * rate[None, :]
    field = normal
    if MODULATED:
        scale = 1 + tl.load(gain + sample * CHANNELS + channel).to(tl.float32)
        shift = tl.load(bias + sample * CHANNELS + channel).to(tl.float32)
        field = normal * scale[None, :] + shift[None, :]
    gate = 1 / (1 + tl.exp(-field))
    slope = arrives * gate * (1 + field * (1 - gate))
    return tl.where(inside[:, None], slope, 0.0), normal, raw


def add_slopes(gradient, x, offset, moments, gain, bias, sums, batch, depth, height, width, pieces, CHANNELS: tl.constexpr, PAD_D: tl.constexpr, PAD: tl.constexpr, PAD_W: tl.constexpr, PERIODIC: tl.constexpr, MODULATED: tl.constexpr, OFFSET: tl.constexpr, GROUP: tl.constexpr, PIECE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Sums (B, P, 2, C) of the slope, and of the slope times the normalised field, over a piece."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    program = tl.program_id(0)
    sample, piece = (program // blocks // pieces).to(tl.int64), program // blocks % pieces
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    one = tl.zeros([ROWS, COLUMNS], tl.float32)
    two = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, PIECE, ROWS):
        site = piece * PIECE + first + tl.arange(0, ROWS)
        slope, normal, _raw = slopes_of(gradient, x, offset, moments, gain, bias, sample, site, channel, batch, depth, height, width, CHANNELS, PAD_D, PAD, PAD_W, PERIODIC, MODULATED, OFFSET, GROUP)  # fmt: skip # noqa: E501
        one += slope
        two += slope * normal
    to = sums + (sample * pieces + piece) * 2 * CHANNELS + channel
    tl.store(to, tl.sum(one, 0))
    tl.store(to + CHANNELS, tl.sum(two, 0))


def combine(sums, offset, moments, normals, gain, of_gain, of_bias, of_offset, constants, sites, pieces, CHANNELS: tl.constexpr, MODULATED: tl.constexpr, OFFSET: tl.constexpr, GROUP: tl.constexpr, STEP: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Slopes of gain, bias and offset (B, C), and constants (3, B, C): that of x is factor slope + tilt x + rest."""
    groups: tl.constexpr = CHANNELS // GROUP
    sample, group = (tl.program_id(0) // groups).to(tl.int64), tl.program_id(0) % groups
    batch = tl.num_programs(0) // groups
    channel = group * GROUP + tl.arange(0, GROUP)
    plain, weighted = totals_of(sums, sample, channel, pieces, CHANNELS, GROUP, STEP)
    scale = tl.zeros([GROUP], tl.float64) + 1
    if MODULATED:
        tl.store(of_bias + sample * CHANNELS + channel, plain.to(of_bias.dtype.element_ty))
        tl.store(of_gain + sample * CHANNELS + channel, weighted.to(of_gain.dtype.element_ty))
        scale += tl.load(gain + sample * CHANNELS + channel).to(tl.float64)
    count = tl.zeros([GROUP], tl.float64) + sites
    mean = tl.sum(scale * plain / count, 0) / GROUP
    along = tl.sum(scale * weighted / count, 0) / GROUP
    centre = tl.zeros([GROUP], tl.float64) + tl.load(moments + sample * groups + group)
    rate = tl.load(moments + (batch + sample) * groups + group)
    if OFFSET:
        centre -= tl.load(offset + channel).to(tl.float64)
        normal = tl.load(normals + sample * CHANNELS + channel)
        tl.store(of_offset + sample * CHANNELS + channel, rate * (scale * plain - count * mean - along * normal))
    place = constants + sample * CHANNELS + channel
    each = tl.zeros([GROUP], tl.float64)
    tl.store(place, (each + rate * scale).to(tl.float32))
    tl.store(place + batch * CHANNELS, (each - rate * rate * along).to(tl.float32))
    tl.store(place + 2 * batch * CHANNELS, (each + rate * rate * along * centre - rate * mean).to(tl.float32))


def slope_of_x(gradient, x, offset, moments, gain, bias, constants, beside, out, batch, depth, height, width, chunks, CHANNELS: tl.constexpr, PAD_D: tl.constexpr, PAD: tl.constexpr, PAD_W: tl.constexpr, PERIODIC: tl.constexpr, MODULATED: tl.constexpr, OFFSET: tl.constexpr, GROUP: tl.constexpr, BESIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """The gradient of x at a block of sites, and what arrives at x beside it."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    program = tl.program_id(0)
    sample = (program // blocks // chunks).to(tl.int64)
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    site = (program // blocks % chunks) * ROWS + tl.arange(0, ROWS)
    slope, _normal, raw = slopes_of(gradient, x, offset, moments, gain, bias, sample, site, channel, batch, depth, height, width, CHANNELS, PAD_D, PAD, PAD_W, PERIODIC, MODULATED, OFFSET, GROUP)  # fmt: skip # noqa: E501
    sites = depth * height * width
    place = constants + sample * CHANNELS + channel
    factor = tl.load(place)[None, :]
    tilt = tl.load(place + batch * CHANNELS)[None, :]
    offset = tl.load(place + 2 * batch * CHANNELS)[None, :]
    value = slope * factor + raw * tilt + offset
    to = (sample * sites + site)[:, None] * CHANNELS + channel[None, :]
    if BESIDE:
        value += tl.load(beside + to, mask=(site < sites)[:, None], other=0.0).to(tl.float32)
    tl.store(out + to, value.to(out.dtype.element_ty), mask=(site < sites)[:, None])


@cache
def kernels() -> dict[str, Any] | None:
    """The kernels, compiled at their first use; None where there is no Triton."""
    launched = (add_moments, normalise, activate, add_slopes, combine, slope_of_x)
    return jitted(sys.modules[__name__], launched, SIZES, called=(totals_of, slopes_of))
