r"""Collapse of the backward process on single data: excess entropy, order parameter of condensation, collapse time.

The posterior of n data given :math:`y = a_\nu + s z` has weights :math:`w_\mu \propto e^{-|y - a_\mu|^2/2s^2}`, those
of a random energy model. It condenses on the datum :math:`\nu` below the collapse time. Three estimates of the excess
entropy :math:`f(t) = (\ln n - I(t))/d` (:mod:`physgen.diagnostics.regimes.closed_forms`) differ in the density that
stands for the unknown :math:`p_t`, and each is biased to one side:

* *empirical* :math:`f^e`, the mixture of all data: :math:`f^e = E[-\ln w_\nu]/d`. In the mean over data sets it is
  never below f, nor below 0: it sticks at 0 under :math:`t_C` and has no root there.
* *held out*, the mixture of the data of all other units: a cross entropy, so in the mean never above f. It crosses 0,
  late: at :math:`t_C` of Gaussian laws it was measured 0.09 to 0.18 ln n below 0 (n = 200, 2000; d = 16 to 256).
* *gaussian*, the Gaussian law of the same variances: never above f but for the scatter of few data in the variances,
  which is made good to first order (:mod:`physgen.diagnostics.regimes.surrogate`).

Only the density of the law itself (``log_density``) gives f and :math:`t_C` without bias at finite d. Without it
:math:`t_C` is taken where the order parameter :math:`Y_2` (the mean of those of orbits and of images) crosses
``CROSSING``, whose scatter from law to law the error holds.

Source: arXiv:2402.18491, Sec. III and its code; f^e as an equivocation, the held-out bound and the crossing are
derived or measured here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.regimes.closed_forms import gaussian_collapse_time, noise_variance
from physgen.diagnostics.regimes.left_out import DrawMeans, Groups, log_sum_without_each
from physgen.diagnostics.regimes.orbits import Images, Orbit
from physgen.diagnostics.regimes.roots import Curve
from physgen.diagnostics.regimes.surrogate import ModePower
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LogDensity = Callable[[Tensor, Tensor], Tensor]  # (y (B, C, *grid), s (B,)) -> ln p_s(y), (B,)
PILOT = 64  # draws that find where times should lie
BLOCK = 2**21  # pairs of a draw and an atom that are held at once

# Y2 at t_C over Gaussian laws: .58 to .557 (white, n = 2000, d = 16 to 128), .605 to .58 (P ~ k^-1 to k^-3 on 32^2,
# n = 8 to 512). Images of smooth fields are alike: that of orbits is above, that of images below (.76 and .27 at worst,
# k^-3, n = 8), and their mean was .52 to .60; an eighth of their difference covers that
CROSSING, CROSSING_SCATTER, PER_DIFFERENCE = 0.58, 0.02, 0.125

# name -> (what it is, LaTeX)
CURVES = {
    "empirical": ("excess entropy of the empirical measure", "f^e"),
    "order_parameter": ("probability that two posterior draws are one datum", "Y_2"),
    "own_weight": ("posterior weight of the datum that was noised", r"E[w_\nu]"),
    "order_parameter_images": ("probability that two posterior draws are one image", "Y_2"),
    "own_weight_images": ("posterior weight of the image that was noised", r"E[w_\nu]"),
    "participation": ("number of data that share the posterior", r"1/\sum w^2"),
    "held_out": ("excess entropy by the data of other units", "f"),
}


def excess_entropy(
    x: Tensor,
    times: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    unit: ArrayLike | None = None,
    orbit: str | Orbit = "none",
    log_density: LogDensity | None = None,
) -> xr.Dataset:
    r"""Excess entropy, order parameter and collapse time of data.

    The same draws serve all times, so values at neighbouring times err together. Draw b depends on (seed, b) alone:
    more draws contain fewer. Errors are jackknifed over groups of whole units, which holds the noise as well.

    Args:
        x: the data (n, C, \*grid), n >= 2, encoded.
        times: increasing Ornstein-Uhlenbeck times > 0; None for 9 about the collapse, which a few draws
            have found beforehand.
        draws: noisy data; each takes the next datum of a random order.
        seed: of data order, noise and groups.
        unit: (n,) which data are dependent; None where none are.
        orbit: images that every datum stands for: "none"; "translations"; "point_group", translations with
            reflections and exchanges of equal axes; "flip", the change of sign; or any :class:`Orbit`. The law must
            have these symmetries; one FFT for each symmetry, draw and datum.
        log_density: :math:`\ln p_s(y)` of the law the data were drawn from, where it is known.

    Returns:
        Dataset over ``t`` with ``value`` f (by ``log_density``, else held out), ``order_parameter`` :math:`Y_2 = E
        \sum w^2`, ``own_weight``, which must equal it (Nishimori; ``nishimori`` is the difference), ``participation``,
        ``empirical``, ``held_out``, ``gaussian``, each with its ``..._error``; scalars ``t_C`` with ``t_C_error``,
        and ``t_C_noise_error``, the part of it that other noise would change; ``t_C_crossing``, by Y2;
        ``t_C_held_out``, late; ``t_C_gaussian``, latest; nan where ``times`` do not hold the root. The attribute
        ``t_C_from`` says what t_C was taken from.
    """
    x = x.detach().cpu()
    times, unit = _checked(x, times, draws, unit)
    orbit = Orbit.named(orbit) if isinstance(orbit, str) else orbit
    orbit_size = orbit.size(x.shape[2:])
    groups = Groups.of(len(x), unit, seed)
    power = ModePower.of(x, groups, stationary=orbit.translations, even=orbit.flip)
    if times is None:
        times = _times_about_collapse(x, orbit_size, power, groups, seed)
    smallest = float(np.sqrt(noise_variance(times)).min())
    atoms = Points(x) if orbit_size == 1 else Images(x, orbit, smallest)
    means = _accumulate(atoms, x, times, draws, seed, groups, log_density)
    return _result(means, times, groups, power, _facts(x, orbit.name, orbit_size, draws, seed, log_density))


def _checked(
    x: Tensor, times: ArrayLike | None, draws: int, unit: ArrayLike | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if x.ndim < 2 or len(x) < 2:
        raise InputError(f"an excess entropy needs at least 2 data (n, C, *grid), got shape {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise InputError("the data hold values that are not finite: mask or drop them first")
    if draws < 2:
        raise InputError(f"an average over noise needs at least 2 draws, got {draws}")
    if times is not None:
        times = np.atleast_1d(np.asarray(times, dtype=float))
        noise_variance(times)
        if times.ndim != 1 or np.any(np.diff(times) <= 0):
            raise InputError(f"times must increase, got {times.tolist()}: sort them and name each once")
    if unit is not None:
        unit = np.asarray(unit)
        if unit.shape != (len(x),):
            raise InputError(f"unit must name one unit for each of the {len(x)} data, got shape {unit.shape}")
    return times, unit


def _times_about_collapse(x: Tensor, orbit_size: int, power: ModePower, groups: Groups, seed: int) -> np.ndarray:
    """Where a few draws without images cross, in units of the collapse of the Gaussian surrogate with images."""
    plain = gaussian_collapse_time(power.spectrum, len(x))
    broad = plain * np.geomspace(0.05, 2.0, 14)
    means = _accumulate(Points(x), x, broad, PILOT, seed, groups, None)
    order = list(CURVES).index("order_parameter")
    seen = Curve(broad, np.array([m.means()[1][order] for m in means]), np.empty((0, len(broad))))
    ratio = seen.root(CROSSING, sign=-1)[0] / plain
    centre = gaussian_collapse_time(power.spectrum, len(x), orbit_size) * (ratio if math.isfinite(ratio) else 1.0)
    return np.asarray(centre * np.linspace(0.6, 1.4, 9))


# --- draws ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Points:
    """Data without symmetries: each atom is its own only image."""

    x: Tensor
    orbit_size: int = 1

    def at_once(self) -> int:
        """Draws of a block."""
        return max(1, BLOCK // len(self.x))

    def log_sums(self, own: Tensor, noise: Tensor, s: np.ndarray) -> Iterator[tuple[Tensor, Tensor | None]]:
        r"""For each s: :math:`\ln \sum e^\ell` and :math:`\ln \sum e^{2\ell}` over images of each atom, (b, n) each.

        None for the second where every atom has one image.

        :math:`\ell = (|y - a_\nu|^2 - |y - a_\mu|^2)/2s^2 = -|a_\nu - a_\mu|^2/2s^2 - z(a_\nu - a_\mu)/s`, so both
        products of vectors serve all s, and the own atom has exactly 0.
        """
        atoms, z = self.x.flatten(1).double(), noise.flatten(1)
        start = atoms[own]
        square = (start.square().sum(1, keepdim=True) + atoms.square().sum(1) - 2 * start @ atoms.T).clamp_min_(0)
        along = (z * start).sum(1, keepdim=True) - z @ atoms.T
        rows = torch.arange(len(own))
        square[rows, own], along[rows, own] = 0.0, 0.0
        for level in s:
            logs = -square / (2 * level**2) - along / level
            yield logs, None


def starts(n: int, draws: int, seed: int) -> np.ndarray:
    """Which datum each draw starts from: random orders of all, one after the other."""
    rounds = math.ceil(draws / n)
    orders = [np.random.default_rng([seed, 0, turn]).permutation(n) for turn in range(rounds)]
    return np.concatenate(orders)[:draws]


def draw_noise(first: int, last: int, shape: torch.Size, seed: int) -> Tensor:
    r"""Standard normal numbers of draws first ... last - 1, (b, C, \*grid) float64; each draw has its own stream."""
    rows = [np.random.default_rng([seed, 1, b]).standard_normal(tuple(shape)) for b in range(first, last)]
    return torch.as_tensor(np.stack(rows))


def _accumulate(
    atoms: Points | Images,
    x: Tensor,
    times: np.ndarray,
    draws: int,
    seed: int,
    groups: Groups,
    log_density: LogDensity | None,
) -> list[DrawMeans]:
    """Means of all statistics at each time, block of draws by block."""
    s = np.sqrt(noise_variance(times))
    means = [DrawMeans(groups.count, len(CURVES) + (log_density is not None)) for _ in times]
    owns, step = starts(len(x), draws, seed), atoms.at_once()
    for first in range(0, draws, step):
        own = torch.as_tensor(owns[first : first + step])
        noise = draw_noise(first, first + len(own), x.shape[1:], seed)
        control = 0.5 * (noise.square().flatten(1).sum(1) - x[0].numel())
        for total, level, sums in zip(means, s, atoms.log_sums(own, noise, s), strict=True):
            found = statistics(*sums, own, groups)
            if log_density is not None:
                y = x[own].double() + level * noise
                exact = log_density(y, torch.full((len(y),), float(level), dtype=torch.float64))
                exact = exact.double() + 0.5 * x[0].numel() * (1 + math.log(2 * math.pi * level**2))
                exact = exact + math.log(len(x) * atoms.orbit_size)
                found = torch.cat([found, exact[None, :, None].expand(1, -1, found.shape[2])])
            total.add(found, control, groups.group[own])
    return means


def statistics(logs: Tensor, squares: Tensor | None, own: Tensor, groups: Groups) -> Tensor:
    r"""The statistics of ``CURVES`` of each draw without each group, then without none, (K, b, U + 1); f times d.

    Args:
        logs, squares: :math:`\ln\sum e^\ell`, :math:`\ln\sum e^{2\ell}` over the images of each atom, (b, n); None for
            the second where each has one.
        own: the atom of each draw, whose own image has :math:`\ell = 0`.
    """
    n, rows = logs.shape[1], torch.arange(len(own))
    left = torch.cat([groups.sizes, torch.zeros(1, dtype=torch.long)]).double()
    sums = groups.log_sums(logs)
    total = log_sum_without_each(sums)
    atoms = log_sum_without_each(groups.log_sums(2 * logs)) - 2 * total
    images = atoms if squares is None else log_sum_without_each(groups.log_sums(squares)) - 2 * total
    others = log_sum_without_each(groups.without_unit(logs, sums, own))
    count = n - groups.unit_sizes[groups.unit[own]][:, None] - left
    return torch.stack(
        [
            total + torch.log(n / (n - left).clamp_min(0.5)),
            torch.exp(atoms),
            torch.exp(logs[rows, own][:, None] - total),
            torch.exp(images),
            torch.exp(-total),
            torch.exp(-atoms),
            torch.where(count > 0, others + torch.log(n / count.clamp_min(0.5)), torch.nan),
        ]
    )


# --- results --------------------------------------------------------------------------------------------


def _facts(
    x: Tensor, orbit: str, orbit_size: int, draws: int, seed: int, log_density: LogDensity | None
) -> dict[str, str | int | float]:
    d = x[0].numel()
    density = "held-out data" if log_density is None else "known density"
    return {
        "n": len(x),
        "d": d,
        "alpha": math.log(len(x) * orbit_size) / d,
        "orbit": orbit,
        "orbit_size": orbit_size,
        "draws": draws,
        "seed": seed,
        "value_from": density,
        "t_C_from": density if log_density is not None else f"Y2 = {CROSSING}",
    }


def _result(
    means: list[DrawMeans], times: np.ndarray, groups: Groups, power: ModePower, facts: dict[str, str | int | float]
) -> xr.Dataset:
    import xarray as xr

    parts = [m.means() for m in means]
    without = np.stack([p[0] for p in parts], axis=-1)  # (K, U, T)
    whole = np.stack([p[1] for p in parts], axis=-1)  # (K, T)
    noise = np.sqrt(np.stack([p[2] for p in parts], axis=-1))
    names = [*CURVES, "exact"][: len(whole)]
    curves = {name: Curve(times, whole[i], without[i], noise[i]) for i, name in enumerate(names)}
    d, n_images = int(facts["d"]), float(facts["alpha"]) * int(facts["d"])
    for name in {"empirical", "held_out", "exact"} & curves.keys():
        curves[name] = curves[name].scaled(1 / d)
    exact = curves.pop("exact", None)
    curves["value"] = exact or curves["held_out"]
    information, information_without = power.information(times)
    curves["gaussian"] = Curve(times, (n_images - information) / d, (n_images - information_without) / d)
    order, own = curves["order_parameter"], curves["own_weight"]
    curves["nishimori"] = Curve(times, own.value - order.value, own.without - order.without)

    labels = CURVES | {
        "value": ("excess entropy", "f"),
        "gaussian": ("excess entropy of the Gaussian law of the same variances", "f_G"),
        "nishimori": ("own weight less order parameter", r"E[w_\nu] - Y_2"),
    }
    variables: dict[str, object] = {}
    for name, curve in sorted(curves.items(), key=lambda item: item[0] != "value"):
        long_name, symbol = labels[name]
        error = "error" if name == "value" else f"{name}_error"
        variables[name] = ("t", curve.value, {"long_name": long_name, "units": "1", "symbol": symbol})
        variables[error] = ("t", curve.error, {"long_name": f"standard error of the {long_name}", "units": "1"})
    crossing = _crossing(order, curves["order_parameter_images"])
    roots = {
        "t_C": exact.root() if exact else crossing,
        "t_C_crossing": crossing,
        "t_C_held_out": curves["held_out"].root(),
        "t_C_gaussian": curves["gaussian"].root(),
    }
    for name, (time, time_error, noise_error) in roots.items():
        variables[name] = ((), time, {"long_name": f"collapse time ({name})", "units": "1", "symbol": "t_C"})
        variables[f"{name}_error"] = ((), time_error, {"long_name": "standard error", "units": "1"})
        if name == "t_C":
            variables["t_C_noise_error"] = ((), noise_error, {"long_name": "error by the noise alone", "units": "1"})
    clock = ("t", times, {"long_name": "Ornstein-Uhlenbeck time", "units": "1", "symbol": "t"})
    return xr.Dataset(variables, coords={"t": clock}, attrs={"diagnostic": "excess_entropy", **facts})


def _crossing(orbits: Curve, images: Curve) -> tuple[float, float, float]:
    """Where the mean of both order parameters falls through ``CROSSING``; one and the same where nothing is moved."""
    noise = None if orbits.noise is None or images.noise is None else np.maximum(orbits.noise, images.noise)
    mean = Curve(orbits.times, (orbits.value + images.value) / 2, (orbits.without + images.without) / 2, noise)
    scatter = np.hypot(CROSSING_SCATTER, PER_DIFFERENCE * np.abs(orbits.value - images.value))
    return mean.crossing(CROSSING, scatter)
