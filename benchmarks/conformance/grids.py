"""Chosen noise levels beyond the Gaussian law they were chosen on: fields with an exact denoiser, 16 evaluations."""

import math
from dataclasses import replace

import torch

from benchmarks.conformance.row import Row
from physgen.diffusion.discretization.check import candidate_levels, convergence, most_converged
from physgen.diffusion.discretization.search import optimal_levels
from physgen.diffusion.exact import GaussianField, GaussianMixture, phi4_site
from physgen.diffusion.sampling.samplers import find_sampler

SIZE, STEPS = 48, 16
FOURIER = torch.fft.fft(torch.eye(SIZE, dtype=torch.complex128), norm="ortho")
K = torch.fft.fftfreq(SIZE, dtype=torch.float64).abs().clamp(min=1 / SIZE) * SIZE
STEEP = 100 * K**-4


def mixture(spectra, means=None):
    matrices = torch.stack([(FOURIER.conj().T @ (p[:, None] * FOURIER)).real for p in spectra])
    centres = torch.zeros(len(spectra), 1, SIZE, dtype=torch.float64) if means is None else means
    power = sum(spectra) / len(spectra)
    power = power + torch.fft.fft(centres, norm="ortho").abs().square().mean((0, 1))
    return GaussianMixture(centres, 0.5 * (matrices + matrices.mT)), power


def waves(amplitude):
    """A structure at six positions."""
    angle = 2 * torch.pi * (torch.arange(SIZE, dtype=torch.float64) / SIZE + torch.arange(6.0)[:, None] / 6)
    return amplitude * torch.cos(angle)[:, None]


LAWS = {
    "Gaussian field": (GaussianField(STEEP[None]), STEEP),
    "two amplitudes, variance 1 : 10": mixture([0.3 * STEEP, 3 * STEEP]),
    "two tilts": mixture([STEEP * K / 6, STEEP * 6 / K]),
    "a structure at six positions": mixture([0.2 * STEEP] * 6, waves(17.0)),
    "a dominant structure at six positions": mixture([0.02 * STEEP] * 6, waves(24.0)),
}


SITES = {
    "one-site phi^4, two wells, Binder cumulant 0.65": phi4_site(1.0, -6.0),
    "one-site phi^4, two wells, Binder cumulant 0.56": phi4_site(1.0, -3.0),
    "one-site phi^4, one well, Binder cumulant 0.19": phi4_site(1.0, 1.0),
}
COUNT, TRIED = 128, 16  # samples of the errors, and of the check, which has others


def rows():
    for law, (exact, power) in LAWS.items():
        ends = 1e3 * float(power.max().sqrt()), 1e-3 * float(power.min().sqrt())
        settings = {"ends": ends, "dtype": torch.float64}
        candidates = candidate_levels(power, STEPS)
        picked = most_converged(convergence(exact, candidates, (TRIED, 1, SIZE), 7, tile=TRIED, **settings))
        bare = {"no hedge": optimal_levels(power, STEPS, hedge=0)[0]}
        found = convergence(exact, candidates | bare, (COUNT, 1, SIZE), 0, tile=COUNT, **settings)
        yield from field_rows(law, found, picked)
    for name, site in SITES.items():
        yield from site_rows(name, site)


def field_rows(law, found, picked):
    even = found["log-uniform"]
    for name, measured in found.items():
        distance = f"mean distance {measured.distance:.2g}({measured.distance_error:.1g})"
        yield Row(
            "grids", f"dpmpp_2m, {name}: largest error of P(k); {distance}", law, measured.power, 0.0,
            measured.power_error, None, cost=f"{STEPS} evaluations",
        )  # fmt: skip
    error = math.hypot(*(max(f.power_error, 2 * f.distance_error) for f in (found[picked], even)))
    yield Row(
        "grids", f"safeguard on {TRIED} samples takes {picked}: its max(error of P, 2 distance) on {COUNT} others",
        f"{law}: not above that of log-uniform", found[picked].worst, even.worst, error,
        found[picked].worst <= even.worst + error, cost=f"{STEPS} evaluations",
    )  # fmt: skip


def site_rows(name, law):
    """The flow of one site is a monotone map of the start: its moments come from a quadrature, without sampling."""
    second, fourth = law.moment(2), law.moment(4)
    power = torch.tensor([second], dtype=torch.float64)
    candidates, (first, last) = candidate_levels(power, STEPS), (1e3 * second**0.5, 1e-3 * second**0.5)
    lattice = replace(law, shape=(1, SIZE))
    errors = convergence(lattice, candidates, (TRIED, 1, SIZE), 7, ends=(first, last), dtype=torch.float64)
    picked = most_converged(errors)
    start = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    weight = torch.softmax(-0.5 * start.square(), 0)
    moments = {}
    for choice, levels in candidates.items():
        x = find_sampler("dpmpp_2m")(law, levels, float(levels[0]) * start[:, None, None])[:, 0, 0]
        moments[choice] = [float((weight * x**n).sum()) / exact - 1 for n, exact in ((2, second), (4, fourth))]
    for choice, (two, four) in moments.items():
        yield Row(
            "grids", f"dpmpp_2m, {choice}: relative error of <phi^4>; of <phi^2> {two:+.2g}; "
            f"mean distance {errors[choice].distance:.2g}({errors[choice].distance_error:.1g})",
            name, four, 0.0, 0.0, None, cost=f"{STEPS} evaluations",
        )  # fmt: skip
    yield Row(
        "grids", f"safeguard on {TRIED} x {SIZE} sites takes {picked}: its relative error of <phi^4>",
        f"{name}: not above that of log-uniform", abs(moments[picked][1]), abs(moments["log-uniform"][1]), 1e-3,
        abs(moments[picked][1]) <= abs(moments["log-uniform"][1]) + 1e-3, cost=f"{STEPS} evaluations",
    )  # fmt: skip
