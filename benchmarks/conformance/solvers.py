"""Solvers against the Gaussian law, known mode by mode: orders, and evaluations for every P(k) within 1 %.

Spectra between 1e-4 and 1e2. The reference counts are those of theory section 7.1. Peers walk the same levels; they and
ours are linear here, so the impulse response gives the exact variance and there is no sampling error.
"""

import math

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import VESchedule
from azula.sample import DDIMSampler, EulerSampler, HeunSampler, xEABSampler
from diffusers import EDMDPMSolverMultistepScheduler

from benchmarks.conformance.row import Row
from physgen.diffusion.discretization.gaussian import largest_error
from physgen.diffusion.discretization.search import best_log_uniform, optimal_levels, steps_for
from physgen.diffusion.exact import GaussianField
from physgen.diffusion.inference.kernel_sampler import KernelSampler
from physgen.diffusion.inference.reverse_kernels import FourierCovariance
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import SAMPLERS, evaluations
from physgen.diffusion.sampling.solver import Solver

BROAD = torch.logspace(-4, 2, 64, dtype=torch.float64)
NARROW = torch.logspace(-1, 1, 16, dtype=torch.float64)
FIRST, LAST = 300.0, 3e-4  # 30 and 0.03 standard deviations of the extreme modes: 0.2 % of error from the two ends
LAW = "Gaussian modes, P from 1e-4 to 1e2"
REFERENCE = {"euler": 595, "ancestral": 1048, "euler_maruyama": 1841, "heun": 108, "dpmpp_2m": 36}  # theory, 7.1
WALKERS = {name: sampler for name, sampler in SAMPLERS.items() if isinstance(sampler, Solver) and sampler.order}


def rows():
    yield from counts()
    yield from peer_counts()
    yield from best_counts()
    yield from chosen()
    yield from orders()
    yield from peer_orders()
    yield from covariance()
    yield adaptive()
    yield langevin()


def fewest(error, tolerance=0.01, least=4, most=4096):
    """Least number of levels above 0 whose error is within the tolerance, for an error that falls with it."""
    below = 1
    while error(least) > tolerance and least < most:
        below, least = least, 2 * least
    while least - below > 1:
        middle = (below + least) // 2
        below, least = (below, middle) if error(middle) <= tolerance else (middle, least)
    return least


def counts():
    """Evaluations of every solver on log-uniform levels with far ends, and on its best log-uniform levels."""
    for name, walker in WALKERS.items():
        power = BROAD if walker.draws == 0 else BROAD[::9]  # a row of numbers for every noise
        levels = fewest(lambda n, w=walker, p=power: float(largest_error(w, log_uniform(FIRST, LAST, n), p)))
        cost = evaluations(name, log_uniform(FIRST, LAST, levels))
        # ends further out than the reference's cost up to ln(1e6)/ln(2e4) = 1.4 times its evaluations
        expected = REFERENCE.get(name, math.nan)
        kept = not cost > 1.45 * expected
        yield Row(
            "solvers", f"{name}, log-uniform levels: evaluations for 1 % in every P(k)", LAW, cost, expected,
            0.45 * expected, kept, cost=f"{cost} evaluations",
        )  # fmt: skip


def best_counts():
    """Log-uniform levels with the best ends; the reference does not count the errors of the ends, hence the 15 %."""
    for name in ("dpmpp_2m", "heun", "dpmpp_3m", "exponential_4m", "dpmpp_2m_sde"):
        levels = fewest(lambda n, name=name: best_log_uniform(BROAD, n, name)[1])
        cost = evaluations(name, log_uniform(FIRST, LAST, levels))
        expected = REFERENCE.get(name, math.nan)
        yield Row(
            "solvers", f"{name}, best log-uniform levels: evaluations for 1 % in every P(k)", LAW, cost, expected,
            0.15 * expected, not cost > 1.15 * expected, cost=f"{cost} evaluations",
        )  # fmt: skip


def chosen():
    for name in ("dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde"):
        levels, error = steps_for(BROAD, 0.01, name)
        cost = evaluations(name, levels)
        limit = {"dpmpp_2m": 10}.get(name, math.nan)
        yield Row(
            "solvers", f"{name}, chosen levels: evaluations for 1 % in every P(k)", LAW, cost, limit,
            0.0, not cost > limit and error <= 0.01, cost=f"{cost} evaluations",
        )  # fmt: skip
    for steps, bound in ((10, 0.0036), (16, 0.0004)):
        _, error = optimal_levels(BROAD, steps, neighbours=math.inf, hedge=0)
        yield Row(
            "solvers", "dpmpp_2m, chosen levels, no hedge, no bound on neighbours: largest error of P(k)", LAW, error,
            bound, bound, error <= bound, cost=f"{steps} evaluations",
        )  # fmt: skip


def variance_error(walk, levels, power):
    """Largest relative error of the variance P + s^2 at the last level above 0, from the response of linear modes."""
    end = walk(levels[:-1], power, float(levels[0]) * torch.ones_like(power))
    return float((end.square() / (power + levels[-2] ** 2) - 1).abs().max())


def order_of(error, coarse):
    """Measured order, and the error, at 2 ``coarse`` - 1 levels that halve the steps of log s."""
    one, other = (error(log_uniform(1e5, 0.5, n)) for n in (coarse, 2 * coarse - 1))
    return math.log2(one / other), other


def orders():
    for name, walker in WALKERS.items():

        def error(levels, walker=walker):
            noises = walker.draws * (len(levels) - 2)
            start = torch.zeros(1 + noises, len(NARROW), dtype=torch.float64)
            start[0] = levels[0]

            def noise(i):
                return torch.zeros(1 + noises, 1, dtype=torch.float64).index_fill_(0, torch.tensor([1 + i]), 1.0)

            end = walker.integrate(lambda y, s: y * (NARROW / (NARROW + s**2)), levels[:-1].tolist(), start, noise)
            return float((end.square().sum(0) / (NARROW + levels[-2] ** 2) - 1).abs().max())

        order, bias = order_of(error, 240)
        yield Row(
            "solvers", f"{name}: order of the variance", "Gaussian modes, P from 0.1 to 10, stopped at s = 0.5", order,
            walker.order, 0.15, abs(order - walker.order) < 0.15, order, f"error {bias:.1e} at 479 levels",
        )  # fmt: skip


class Wiener(Denoiser):
    """The exact denoiser of independent modes for azula, under its exponential schedule."""

    def __init__(self, power, levels):
        super().__init__()
        self.power = power
        self.schedule = VESchedule(sigma_min=float(levels[-1]), sigma_max=float(levels[0]))

    def forward(self, x_t, t, **kwargs):
        return DiracPosterior(mean=x_t * self.power / (self.power + self.schedule.sigma(t) ** 2))


def azula(kind, **options):
    def walk(levels, power, y):
        made = kind(Wiener(power, levels), steps=len(levels) - 1, silent=True, dtype=torch.float64, **options)
        return made(y[None])[0]

    return walk


def diffusers(order):
    def walk(levels, power, y):
        made = EDMDPMSolverMultistepScheduler(
            sigma_data=1.0, solver_order=order, final_sigmas_type="sigma_min", lower_order_final=False
        )
        made.set_timesteps(len(levels) - 1)
        made.sigmas = levels
        for s, t in zip(levels[:-1], made.timesteps, strict=True):
            denoised = y * (power / (power + s**2))
            # the scheduler wants the raw output F of EDM's preconditioning: D = x/(1 + s^2) + s F/sqrt(1 + s^2)
            y = made.step((denoised - y / (1 + s**2)) * torch.sqrt(1 + s**2) / s, t, y).prev_sample
        return y

    return walk


PEERS = {  # name, code, walk, order claimed, evaluations a step
    "Euler": ("azula", azula(EulerSampler), 1, 1),
    "DDIM": ("azula", azula(DDIMSampler), 1, 1),
    "Heun": ("azula", azula(HeunSampler), 2, 2),
    "exponential Adams-Bashforth 2": ("azula", azula(xEABSampler, order=2), 2, 1),
    "exponential Adams-Bashforth 3": ("azula", azula(xEABSampler, order=3), 3, 1),
    "DPM-Solver++(2M)": ("diffusers", diffusers(2), 2, 1),
    "DPM-Solver++(3M)": ("diffusers", diffusers(3), 3, 1),
}


def peer_counts():
    """Peers on the same log-uniform levels, closed by the same step to D."""
    for name, (code, walk, _, each) in PEERS.items():

        def error(n, walk=walk):
            levels = log_uniform(FIRST, LAST, n)[:-1]
            end = walk(levels, BROAD, FIRST * torch.ones_like(BROAD)) * BROAD / (BROAD + LAST**2)
            return float((end.square() / BROAD - 1).abs().max())

        cost = each * (fewest(error) - 1) + 1
        yield Row(
            "solvers", f"{name}, log-uniform levels: evaluations for 1 % in every P(k)", LAW, cost, math.nan, math.nan,
            True, cost=f"{cost} evaluations", code=code,
        )  # fmt: skip


def peer_orders():
    for name, (code, walk, claimed, _) in PEERS.items():
        order, bias = order_of(lambda levels, walk=walk: variance_error(walk, levels, NARROW), 120)
        yield Row(
            "solvers", f"{name}: order of the variance", "Gaussian modes, P from 0.1 to 10, stopped at s = 0.5", order,
            claimed, 0.15, abs(order - claimed) < 0.15, order, f"error {bias:.1e} at 239 levels", code,
        )  # fmt: skip


def covariance():
    half = torch.cat([BROAD.flip(0), BROAD[1:-1]])
    field = GaussianField(half[None])
    sampler = KernelSampler(FourierCovariance(field))
    impulse = torch.zeros(1, 1, len(half), dtype=torch.float64)
    impulse[..., 0] = math.sqrt(len(half))
    for steps in (1, 2, 10):
        levels = torch.cat([torch.linspace(10, 0.1, steps), torch.zeros(1)]).double()
        start = torch.zeros(1 + steps, 1, len(half), dtype=torch.float64)
        start[:1] = impulse
        start = sampler.start(start, float(levels[0]))

        def noise(i, shape=start.shape):
            kick = torch.zeros(shape, dtype=torch.float64)
            kick[1 + i] = impulse[0]
            return kick

        response = torch.fft.fft(sampler(field, levels, start, None, noise), norm="ortho")
        error = float((response.abs().square().sum((0, 1)) / half - 1).abs().max())
        yield Row(
            "solvers", "Fourier-covariance kernel: largest error of P(k)", LAW, error, 0.0, 1e-6, error < 1e-6,
            cost=f"{steps} evaluations",
        )  # fmt: skip


def adaptive():
    """Dormand-Prince: every mode at one standard deviation, so that the tolerance meets each of them."""
    half = torch.cat([BROAD.flip(0), BROAD[1:-1]])
    field, count = GaussianField(half[None]), 0

    def counted(y, s, condition=None):
        nonlocal count
        count += 1
        return field(y, s, condition)

    impulse = torch.zeros(1, 1, len(half), dtype=torch.float64)
    impulse[..., 0] = math.sqrt(len(half))
    response = SAMPLERS["dopri5"](counted, log_uniform(FIRST, LAST, 2), FIRST * impulse)
    modes = torch.fft.fft(response, norm="ortho").abs().square().flatten()
    error = float((modes / half - 1).abs().max())
    # the modes of P = 1e-4 have an amplitude of 0.01: a local error of 1e-5 is 2e-3 of their power
    return Row(
        "solvers", "dopri5, tolerance 1e-5: largest error of P(k)", LAW, error, 0.0, 0.01, error < 0.01,
        cost=f"{count} evaluations",
    )  # fmt: skip


def langevin():
    """No order is claimed: at a fixed share the large modes are left behind at small levels."""
    name = "annealed_langevin"
    levels = log_uniform(FIRST, LAST, 200)
    error = float(largest_error(SAMPLERS[name], levels, BROAD[::9]))
    return Row(
        "solvers", f"{name}, 200 levels x 5 steps (biased, order 0): largest error of P(k)", LAW, error, 0.0, math.nan,
        None, cost=f"{evaluations(name, levels)} evaluations",
    )  # fmt: skip
