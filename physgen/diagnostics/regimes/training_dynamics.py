r"""Training as a dynamical system: when a network generalises, when it memorises, and how the window grows with n.

While a network trains on n samples, the distance of what it draws to the law falls at :math:`\tau_{gen}`, and the
copied fraction :math:`f_{mem}` rises at :math:`\tau_{mem}`. The random-features theory (arXiv:2505.17638) has
:math:`\tau_{gen}` independent of n and :math:`\tau_{mem} \propto n` for large n; at finite size exponents of 1.25 to
1.5 are met (a power law is fitted here, nothing is assumed).

Curves are functions of the training time :math:`\tau`, in steps or in steps times the relative learning rate.

Legend: T training times, S seeds (independent runs), L levels of a curve, M numbers n of training samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 200
IMPROVED = 0.9  # part of its fall after which a distance counts as fallen, where no level is given
SIGNIFICANT = 3.0  # errors that such a fall must exceed, where errors are known
MEMORIZED = 0.1  # copied fraction at which a run counts as memorising


# --- one run ------------------------------------------------------------------------------------


def crossing_times(tau: ArrayLike, value: ArrayLike, levels: ArrayLike, rising: bool = True) -> np.ndarray:
    r"""Times at which a noisy monotone curve crosses levels, interpolated in :math:`\ln\tau`.

    The curve is replaced by the closest monotone one (isotonic regression) first, so that a single fluctuation is no
    crossing. A falling curve is followed to its minimum only.

    Args:
        tau: (T,) ascending, positive. value: (T,). levels: (L,).
        rising: whether the curve rises through the levels, or falls.

    Returns:
        (L,): 0 where the level is passed before the first time, inf where it is not reached.
    """
    times, curve = np.asarray(tau, dtype=float), np.asarray(value, dtype=float)
    if times.ndim != 1 or times.shape != curve.shape or not _are_times(times):
        raise InputError(
            f"a curve needs at least 2 ascending positive times and as many values, got shapes {times.shape} and "
            f"{curve.shape}: leave the untrained network, step 0, out"
        )
    known = np.isfinite(curve)
    times, curve = times[known], curve[known] if rising else -curve[known]
    if not rising:
        times, curve = times[: curve.argmax() + 1], curve[: curve.argmax() + 1]
    smooth, ln = optimize.isotonic_regression(curve).x, np.log(times)
    found = []
    for level in np.atleast_1d(np.asarray(levels, dtype=float)) * (1 if rising else -1):
        after = int(np.searchsorted(smooth, level, side="left"))
        if after == 0 or after == len(smooth):
            found.append(0.0 if after == 0 else np.inf)
            continue
        part = (level - smooth[after - 1]) / (smooth[after] - smooth[after - 1])
        found.append(float(np.exp(ln[after - 1] + part * (ln[after] - ln[after - 1]))))
    return np.array(found)


def _are_times(times: np.ndarray) -> bool:
    return len(times) >= 2 and bool(times[0] > 0 and (np.diff(times) > 0).all())


def learning_times(
    tau: ArrayLike,
    fidelity: ArrayLike,
    f_mem: ArrayLike,
    fidelity_error: ArrayLike | None = None,
    f_mem_error: ArrayLike | None = None,
    levels: tuple[float | None, float] = (None, MEMORIZED),
    seed: int = 0,
) -> xr.Dataset:
    r"""When a training generalises, :math:`\tau_{gen}`, and when it memorises, :math:`\tau_{mem}`.

    :math:`\tau_{gen}` is where the distance to the law falls through the first level, :math:`\tau_{mem}` where
    :math:`f_{mem}` rises through the second.

    Args:
        tau: (T,) ascending. fidelity: a distance to the law, smaller is better, (T,) or (S, T). f_mem: likewise.
        fidelity_error, f_mem_error: standard errors of the same shapes.
        levels: of fidelity (None: where 90 % of the way from the first value to the lowest is made; give one to compare
            runs whose lowest values differ) and of f_mem. With None and errors a way of less than three errors is
            none: such a time is not reached.
        seed: of the bootstrap.

    Returns:
        Dataset with ``tau_gen``, ``tau_mem`` and their ``_error``: over seeds where there are two or more, else by
        the errors of the curve (bootstrap, Gaussian), nan without either; ``_reached``, the part of the seeds in
        which it was crossed within the times: where that is below 1 the time is nan, and ``_after`` and ``_before``
        bound it.
    """
    import xarray as xr

    found: dict[str, Any] = {}
    curves = {
        "tau_gen": (fidelity, fidelity_error, levels[0], False, "time at which generalisation is reached"),
        "tau_mem": (f_mem, f_mem_error, levels[1], True, "time at which memorization sets in"),
    }
    rng = np.random.default_rng(seed)
    for name, (value, error, level, rising, words) in curves.items():
        values = np.atleast_2d(np.asarray(value, dtype=float))
        wide = None if error is None else np.broadcast_to(np.asarray(error, dtype=float), values.shape)
        each = np.array([_time(tau, one, level, rising) for one in values])
        if level is None and wide is not None:
            each[~_improves(values, wide)] = np.nan
        found[name], found[f"{name}_error"] = _summary(tau, values, wide, each, (level, rising), rng)
        found[f"{name}_reached"] = float(np.mean(np.isfinite(each) & (each > 0)))
        inside = np.sort(np.asarray(tau, dtype=float))
        found[f"{name}_after"] = float(np.max(inside[inside <= each.min()], initial=0.0))
        found[f"{name}_before"] = float(np.min(inside[inside >= each.max()], initial=np.inf))
        found[name] = ((), found[name], {"long_name": words, "units": "1"})
    return xr.Dataset(
        found, attrs={"level_memorized": levels[1], "level_good": np.nan if levels[0] is None else levels[0]}
    )


def _time(tau: ArrayLike, value: np.ndarray, level: float | None, rising: bool) -> float:
    if level is None:
        low = np.nanmin(value)
        level = float(low + (1 - IMPROVED) * (value[np.isfinite(value)][0] - low))
    return float(crossing_times(tau, value, [level], rising)[0])


def _improves(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Whether the lowest value of each curve (S, T) lies below its first one by more than their errors explain."""
    rows, lowest = np.arange(len(values)), np.nanargmin(values, axis=1)
    first = np.isfinite(values).argmax(axis=1)
    way = values[rows, first] - values[rows, lowest]
    known = np.nan_to_num(errors)
    return way > SIGNIFICANT * np.hypot(known[rows, first], known[rows, lowest])


def _summary(
    tau: ArrayLike,
    values: np.ndarray,
    errors: np.ndarray | None,
    each: np.ndarray,
    rule: tuple[float | None, bool],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Geometric mean over seeds, and its standard error; nan where a seed has no crossing."""
    if not (np.isfinite(each) & (each > 0)).all():
        return np.nan, np.nan
    ln = np.log(each)
    mean = float(np.exp(ln.mean()))
    if len(each) > 1:
        return mean, mean * float(ln.std(ddof=1)) / np.sqrt(len(each))
    if errors is None:
        return mean, np.nan
    drawn = np.array([_time(tau, rng.normal(values[0], errors[0]), *rule) for _ in range(DRAWS)])
    inside = drawn[np.isfinite(drawn) & (drawn > 0)]
    return mean, float(mean * np.log(inside).std(ddof=1)) if len(inside) > DRAWS / 2 else np.nan


# --- many n -------------------------------------------------------------------------------------


def collapse_exponent(
    curves: Mapping[int, tuple[ArrayLike, ArrayLike]],
    levels: Sequence[float] = (0.1, 0.2, 0.4),
    relative: bool = False,
) -> xr.Dataset:
    r"""Exponent b for which the curves :math:`f_{mem}(\tau / n^b)` of all n fall onto one.

    The times :math:`\tau_q(n)` at which the levels q are crossed are fitted by :math:`\ln\tau_q = \ln a_q + b \ln n`,
    one b for all q. Each run of each n is one independent point (its times averaged over q, whose errors are
    correlated), and the error of b is that of a least-squares line through these points: it knows of the scatter
    between seeds and of the misfit of a power law.

    Args:
        curves: n -> (tau (T,), f (T,) or (S, T)).
        levels: of f; with ``relative`` of f over its largest value in that run, as in arXiv:2505.17638.

    Returns:
        Dataset over ``n`` and ``level``: ``tau`` (geometric mean over seeds) and ``tau_error`` (over seeds, nan for
        one); ``exponent``, ``exponent_error`` (nan with no degree of freedom left), ``prefactor`` over ``level``,
        ``scatter``, the standard deviation of ln tau about the law, ``curvature`` and ``curvature_error``, the
        coefficient of :math:`(\ln n)^2` where that is added: a drift of b, which a power law does not have.

    Raises:
        InputError: fewer than two n, or a run that does not reach the levels.
    """
    import xarray as xr

    if len(curves) < 2:
        raise InputError(f"an exponent needs curves of at least 2 numbers of samples n, got {sorted(curves)}")
    ln_n: list[float] = []
    ln_tau: list[np.ndarray] = []
    rows: dict[int, np.ndarray] = {}
    for n, (tau, value) in sorted(curves.items()):
        runs = np.atleast_2d(np.asarray(value, dtype=float))
        scale = np.nanmax(runs, axis=1) if relative else np.ones(len(runs))
        times = np.array([crossing_times(tau, run, np.multiply(levels, c)) for run, c in zip(runs, scale, strict=True)])
        if not (np.isfinite(times) & (times > 0)).all():
            raise InputError(
                f"n = {n}: the levels {tuple(levels)} are not all crossed within the times of {len(runs)} runs: train "
                "longer, monitor earlier, or choose other levels"
            )
        rows[n] = np.log(times)
        ln_n += [np.log(n)] * len(runs)
        ln_tau += [rows[n].mean(axis=1)]
    line = _Line(np.array(ln_n), np.concatenate(ln_tau), 1)
    curved = _Line(np.array(ln_n), np.concatenate(ln_tau), 2)
    offsets = np.mean([row.mean(axis=0) - line.slope * np.log(n) for n, row in rows.items()], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.array(
            [r.std(axis=0, ddof=1) / np.sqrt(len(r)) if len(r) > 1 else np.nan * r[0] for r in rows.values()]
        )
    tau = np.exp([r.mean(axis=0) for r in rows.values()])
    found = {
        "tau": (("n", "level"), tau, {"long_name": "time at which f_mem crosses the level", "units": "1"}),
        "tau_error": (("n", "level"), tau * spread),
        "prefactor": ("level", np.exp(offsets)),
        "exponent": line.slope, "exponent_error": line.slope_error, "scatter": line.scatter,
        "curvature": curved.slope, "curvature_error": curved.slope_error,
    }  # fmt: skip
    return xr.Dataset(found, {"n": sorted(curves), "level": list(levels)}, {"freedom": line.freedom})


class _Line:
    """Least squares of y on powers of x: the leading coefficient, the covariance of all, the scatter about it."""

    def __init__(self, x: np.ndarray, y: np.ndarray, degree: int, weights: np.ndarray | None = None) -> None:
        self.centre = x.mean()
        design = np.vander(x - self.centre, degree + 1)
        root = np.ones_like(x) if weights is None else np.sqrt(weights)
        self.coefficients = np.linalg.lstsq(root[:, None] * design, root * y, rcond=None)[0]
        inverse = np.linalg.pinv((root[:, None] * design).T @ (root[:, None] * design))
        self.freedom = len(x) - np.linalg.matrix_rank(design) if len(np.unique(x)) > degree else 0
        squares = float(((root * (y - design @ self.coefficients)) ** 2).sum())
        variance = squares / self.freedom if self.freedom > 0 else np.nan
        self.scatter = np.sqrt(variance) if weights is None else np.nan
        # with errors of the points these rule, enlarged where the line misses the points by more
        self.covariance = inverse * (variance if weights is None else max(1.0, np.nan_to_num(variance)))
        self.slope, self.slope_error = float(self.coefficients[0]), float(np.sqrt(self.covariance[0, 0]))

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(value, standard error) of the line."""
        design = np.vander(np.atleast_1d(x) - self.centre, len(self.coefficients))
        return design @ self.coefficients, np.sqrt(np.einsum("ij,jk,ik->i", design, self.covariance, design))


def predicted_window(
    n: ArrayLike,
    tau_mem: ArrayLike,
    tau_mem_error: ArrayLike | None = None,
    tau_gen: ArrayLike | None = None,
    at: ArrayLike | None = None,
    confidence: float = 0.95,
) -> xr.Dataset:
    r"""The end of the window at a larger n, :math:`\tau_{mem} = a\,n^b`, from small n, before it comes.

    Args:
        n, tau_mem: (M,) measured, M >= 2; a repeated n is a further run.
        tau_mem_error: (M,) standard errors. None, or nan anywhere: the scatter about the law is the error, which needs
            M >= 3.
        tau_gen: (M,) measured; the window opens at its geometric mean.
        at: (K,) values of n to predict; None: 2 and 4 times the largest.
        confidence: of the interval for one further run.

    Returns:
        Dataset over ``n`` (K,): ``tau_mem`` and ``tau_mem_error`` of the law; ``low`` and ``high``, the interval in
        which one new run falls, with Student's factor; ``tau_gen``, and its ``tau_gen_error`` from its scatter over
        n; ``exponent``, ``exponent_error``, ``prefactor``; ``smallest_n``, where the two times meet: below it there is
        no window. A time or an error that cannot be known is nan.
    """
    import xarray as xr

    counts, times = np.asarray(n, dtype=float), np.asarray(tau_mem, dtype=float)
    known = np.isfinite(times) & (times > 0)
    if len(np.unique(counts[known])) < 2:
        raise InputError(f"a law tau_mem = a n^b needs measured times at 2 values of n, got {counts[known].tolist()}")
    x, y = np.log(counts[known]), np.log(times[known])
    weights, own = None, 0.0
    if tau_mem_error is not None:
        relative = np.asarray(tau_mem_error, dtype=float)[known] / times[known]
        if np.isfinite(relative).all() and (relative > 0).all():
            weights, own = relative**-2.0, float(np.mean(relative**2))
    line, free = _Line(x, y, 1, weights), _Line(x, y, 1)
    chosen = counts.max() * np.array([2.0, 4.0]) if at is None else np.atleast_1d(np.asarray(at, dtype=float))
    value, error = line.at(np.log(chosen))
    single = np.sqrt(error**2 + max(own, np.nan_to_num(free.scatter**2)))
    factor = stats.t.ppf(0.5 + confidence / 2, line.freedom) if line.freedom > 0 else np.nan
    if line.freedom == 0 and weights is not None:
        factor = stats.norm.ppf(0.5 + confidence / 2)
    prefactor = float(np.exp(line.at(np.zeros(1))[0][0]))
    opens, opens_error = _opening(tau_gen)
    found = {
        "tau_mem": ("n", np.exp(value), {"long_name": "predicted time of memorization", "units": "1"}),
        "tau_mem_error": ("n", np.exp(value) * error),
        "low": ("n", np.exp(value - factor * single)), "high": ("n", np.exp(value + factor * single)),
        "exponent": line.slope, "exponent_error": line.slope_error, "prefactor": prefactor,
        "tau_gen": opens, "tau_gen_error": opens_error,
        "smallest_n": float((opens / prefactor) ** (1 / line.slope)) if line.slope > 0 else np.nan,
    }  # fmt: skip
    return xr.Dataset(found, {"n": chosen}, {"confidence": confidence, "freedom": line.freedom})


def _opening(tau_gen: ArrayLike | None) -> tuple[float, float]:
    """Geometric mean and its standard error by the scatter."""
    times = np.asarray([] if tau_gen is None else tau_gen, dtype=float)
    ln = np.log(times[np.isfinite(times) & (times > 0)])
    if not len(ln):
        return np.nan, np.nan
    mean = float(np.exp(ln.mean()))
    return mean, mean * float(ln.std(ddof=1)) / np.sqrt(len(ln)) if len(ln) > 1 else np.nan
