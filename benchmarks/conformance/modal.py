"""The flow in the angles of Fourier modes: exact on Gaussian fields at any number of steps, its order on mixtures.

A frame is the spectrum whose modes the flow turns in; it is the law's own, a wrong one, or unit variance. Every sampler
whose name begins with ``modal`` is held against the same laws; ``dpmpp_2m`` walks the same levels beside it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.conformance.grids import LAWS as MIXTURES
from benchmarks.conformance.grids import SIZE
from benchmarks.conformance.row import Row
from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import SAMPLERS, find_sampler

NAMES = [name for name in SAMPLERS if name.startswith("modal")]
BROAD = torch.logspace(-4, 2, 64, dtype=torch.float64)  # power of the modes 0 ... 63 of 126 sites
GAUSSIAN = "Gaussian field, P from 1e-4 to 1e2"
# of P in modes a million times apart in power; of four unequal steps the weights cancel more digits (measured 6e-9)
ROUNDING = {"modal_2m": 1e-9, "modal_4m": 1e-7}
NEAR = 0.075  # of an order: 0.15 of two
COUNT, EVALUATIONS, FINE = 256, 16, 1024


@dataclass(frozen=True)
class Frame:
    """Power (sites//2 + 1,) of the modes of a periodic line, float64: what the flow asks of a prior spectrum."""

    power: Tensor
    sites: int

    def __call__(self, condition: Any = None) -> Tensor:
        return self.power

    def modes(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x)

    def field(self, modes: Tensor) -> Tensor:
        return torch.fft.irfft(modes, n=self.sites)


@dataclass(frozen=True)
class Framed:
    """An exact denoiser that states a frame, as a trained one states its prior spectrum."""

    law: Any
    spectrum: Frame

    def __call__(self, y: Tensor, s: Tensor, condition: Any = None) -> Tensor:
        return self.law(y, s, condition)


def rows() -> Iterator[Row]:
    for name in NAMES:
        yield from gaussian_rows(name)
        yield gaussian_order(name)
        yield site_order(name)
        for law in ("two amplitudes, variance 1 : 10", "two tilts"):
            yield from mixture_rows(name, law)


def framed(power: Tensor, frame: Tensor | None = None) -> Framed:
    """Gaussian modes (63 + 1,) of a line, in a frame of another spectrum where one is given."""
    sites = 2 * (len(power) - 1)
    law = GaussianField(torch.cat([power, power[1:-1].flip(0)])[None])
    return Framed(law, Frame(power if frame is None else frame, sites))


def response(name: str, denoiser: Framed, levels: Tensor) -> Tensor:
    """Power of the modes (sites//2 + 1,) that is drawn: the flow is linear, an impulse says it without error."""
    impulse = torch.zeros(1, 1, denoiser.spectrum.sites, dtype=torch.float64)
    impulse[..., 0] = 1.0
    walker = find_sampler(name)
    walker = walker.of(denoiser) if hasattr(walker, "of") else walker
    start = walker.start(impulse, float(levels[0])) if hasattr(walker, "start") else float(levels[0]) * impulse
    return torch.fft.rfft(walker(denoiser, levels, start)).abs().square().flatten()


def gaussian_rows(name: str) -> Iterator[Row]:
    """Levels far inside the range of sqrt(P), 1 to 16 steps: other solvers lose the modes beyond the first level."""
    for steps in (1, 2, 16):
        levels = log_uniform(3.0, 0.3, steps + 1) if steps > 1 else torch.tensor([3.0, 0.0], dtype=torch.float64)
        levels = levels[-steps - 1 :]
        error = float((response(name, framed(BROAD), levels) / BROAD - 1).abs().max())
        yield Row(
            "modal", f"{name}, levels from 3 to 0.3 and 0: largest error of P(k)", GAUSSIAN, error, 0.0, ROUNDING[name],
            error < ROUNDING[name], cost=f"{steps} evaluations",
        )  # fmt: skip
    error = float((response("dpmpp_2m", framed(BROAD), levels) / BROAD - 1).abs().max())
    yield Row(
        "modal", "dpmpp_2m on the same levels: largest error of P(k)", GAUSSIAN, error, 0.0, math.nan, None,
        cost="16 evaluations",
    )  # fmt: skip


def gaussian_order(name: str) -> Row:
    """A frame that is wrong in every mode, by factors between 1/3 and 3: the rest of the denoiser is not zero."""
    narrow = torch.logspace(-1, 1, 64, dtype=torch.float64)
    wrong = narrow * 3.0 ** torch.sin(torch.arange(64, dtype=torch.float64))
    denoiser, claimed = framed(narrow, wrong), find_sampler(name).order

    # against finer levels from the same start, whose own error is (P' - P)/s^2
    ends = {n: response(name, denoiser, log_uniform(1e3, 1e-3, n)) for n in (240, 480, 3840)}

    def error(count: int) -> float:
        return float((ends[count] / ends[3840] - 1).abs().max()) / (1 - (count / 3840) ** claimed)

    coarse, fine = error(240), error(480)
    order = math.log2(coarse / fine)
    return Row(
        "modal", f"{name}: order of P(k) in a frame that is wrong by 1/3 to 3", "Gaussian field, P from 0.1 to 10",
        order, claimed, NEAR * claimed, abs(order - claimed) < NEAR * claimed, order, f"error {fine:.1e} at 480 levels",
    )  # fmt: skip


def site_order(name: str) -> Row:
    """The flow of one value is a map; its distance from that of the finest levels is the error, without sampling."""
    means = torch.tensor([-1.0, 0.6], dtype=torch.float64)[:, None, None]
    law = GaussianMixture(means, torch.tensor([0.15, 0.3], dtype=torch.float64) ** 2, torch.tensor([0.3, 0.7]))
    y, claimed = 80.0 * torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None, None], find_sampler(name).order
    ends = {n: find_sampler(name)(law, log_uniform(80.0, 0.002, n), y) for n in (256, 512, 8192)}
    errors = [float((ends[n] - ends[8192]).abs().mean()) / (1 - (n / 8192) ** claimed) for n in (256, 512)]
    order = math.log2(errors[0] / errors[1])
    return Row(
        "modal", f"{name}: order of the end of the flow, frame of unit variance", "mixture of two Gaussians, one value",
        order, claimed, NEAR * claimed, abs(order - claimed) < NEAR * claimed, order,
        f"error {errors[1]:.1e} at 512 levels",
    )  # fmt: skip


def mixture_rows(name: str, law: str) -> Iterator[Row]:
    """Fields that are Gaussian of one of two spectra, in the frame of their mean power."""
    exact, power = MIXTURES[law]
    half = power[: SIZE // 2 + 1]
    denoiser = Framed(exact, Frame(half, SIZE))
    first, last = 30 * float(power.max().sqrt()), 0.03 * float(power.min().sqrt())
    white = torch.randn(COUNT, 1, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = denoiser.spectrum.field((half + first**2).sqrt() * denoiser.spectrum.modes(white))
    truth = find_sampler(name).of(denoiser)(denoiser, log_uniform(first, last, FINE), start)
    for which in (name, "dpmpp_2m"):
        walker = find_sampler(which)
        bound = walker.of(denoiser) if hasattr(walker, "of") else walker

        def distances(steps: int, bound: Any = bound) -> Tensor:
            """Distance of each field from where finer levels lead, over the rms of fields."""
            found = bound(denoiser, log_uniform(first, last, steps), start)
            return (found - truth).square().mean((1, 2)).sqrt() / truth.square().mean().sqrt()

        measured = distances(EVALUATIONS)
        error = float(measured.std() / math.sqrt(COUNT))
        yield Row(
            "modal", f"{which}, log-uniform levels: distance from the end of {FINE} levels over the rms of fields", law,
            float(measured.mean()), 0.0, error, None, cost=f"{EVALUATIONS} evaluations",
        )  # fmt: skip
        if which == name:
            claimed = find_sampler(name).order
            coarse, fine = (float(distances(n).mean()) / (1 - (n / FINE) ** claimed) for n in (64, 128))
            order = math.log2(coarse / fine)
            yield Row(
                "modal", f"{name}: order of the distance, 64 to 128 levels", law, order, claimed, claimed / 8,
                abs(order - claimed) < claimed / 8, order, f"distance {fine:.1e} at 128 levels",
            )  # fmt: skip
