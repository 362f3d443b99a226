r"""Has a Monte Carlo run reached equilibrium, and how many independent configurations does it hold?

Every test here is a statement with an error bar: three that hold only in equilibrium, and one on the amount of data.
Legend: n measurements, c chains (independent ladders), T temperatures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from physgen.diagnostics.resampling import integrated_time

FALSE_ALARM = 1e-3  # probability that a good run fails one family of tests
LONG_ENOUGH = 20.0  # production length in units of tau below which tau itself is not known


class Identity(NamedTuple):
    """What :math:`[e]` of Gaussian couplings and fields is held against, see :func:`judge`."""

    energy: np.ndarray  # (n, c, T) per spin, of the terms with Gaussian coefficients
    bond_variance: float  # of the couplings, summed over bonds, per spin; 0 where they are not Gaussian
    field_variance: float = 0.0  # of the external fields; 0 where they are not Gaussian


class Figures(NamedTuple):
    """What a verdict needs of the run of one disorder instance."""

    bins: np.ndarray  # (3, c, T) mean energy in the last three log2 bins of the run
    katzgraber_young: np.ndarray  # (T,) e + (e bound of the link overlap), zero in the disorder mean
    tau: np.ndarray  # (T,) the longer of the autocorrelation times of energy and overlap, in sweeps
    independent: np.ndarray  # (T,) independent configurations in all chains together


class Verdict(NamedTuple):
    """Whether the data may be used; ``reasons`` says why not, ``figures`` are written to the ensemble."""

    equilibrated: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


def run_figures(
    energy: np.ndarray,
    overlap: np.ndarray,
    link_overlap: np.ndarray,
    temperatures: np.ndarray,
    interval: int,
    identity: Identity,
    in_field: bool = False,
) -> Figures:
    r"""Figures of one run, measured from its first sweep on; the second half is the production.

    Args:
        energy: (n, c, T) per spin.
        overlap, link_overlap: (n, pairs, T) between chains.
        temperatures: (T,).
        interval: sweeps between measurements.
        identity: what the Katzgraber-Young identity needs.
        in_field: whether an external field, or an odd number of spins in an interaction, tells both states of the
            global flip apart; else the mean overlap is known to be 0.
    """
    n = len(energy) // 8 * 8
    edges = [len(energy) - n + n // 8, len(energy) - n + n // 4, len(energy) - n // 2, len(energy)]
    bins = np.stack([energy[low:high].mean(axis=0) for low, high in zip(edges[:-1], edges[1:], strict=True)])
    made = energy[edges[2] :]
    link, both = (values[edges[2] :].mean(axis=(0, 1)) for values in (link_overlap, overlap))
    bound = (identity.bond_variance * (1 - link) + identity.field_variance * (1 - both)) / np.asarray(temperatures)
    centre = None if in_field else 0.0
    times = [
        max(integrated_time(made[:, :, t]), integrated_time(overlap[edges[2] :, :, t], mean=centre))
        for t in range(len(temperatures))
    ]
    tau = np.array(times)
    young = identity.energy[edges[2] :].mean(axis=(0, 1)) + bound
    return Figures(bins, young, tau * interval, made.shape[1] * len(made) / (2 * tau))


def independence_reason(figures: Figures, levels: np.ndarray, replicas: int, sweeps: int, disorder: int) -> str:
    """Why the run of one instance is too short for ``replicas`` configurations at ``levels``; empty if it is not."""
    worst = levels[np.argmin(figures.independent[levels])]
    too_few = replicas / figures.independent[worst]
    too_short = LONG_ENOUGH * figures.tau[worst] / (sweeps / 2)
    if max(too_few, too_short) <= 1:
        return ""
    if too_few > too_short:
        rule = f"holds {figures.independent[worst]:.0f} independent configurations, {replicas} were asked for"
    else:
        rule = f"ran {sweeps // 2} sweeps after warm-up, {LONG_ENOUGH:.0f} autocorrelation times are needed"
    return (
        f"disorder {disorder} {rule} (autocorrelation time {figures.tau[worst]:.0f} sweeps): set sweeps to "
        f"{_round_up(1.3 * max(too_few, too_short) * sweeps)} or more, ask for fewer replicas, or leave out the "
        "lowest temperatures"
    )


def judge(runs: list[Figures], levels: np.ndarray, gaussian: bool) -> Verdict:
    r"""Verdict on the runs of all disorder instances.

    1. Drift: the mean energies of the last three log2 bins of sweeps agree. Differences of neighbouring bins
       have mean zero over instances and chains; Student's t, Bonferroni over bins and temperatures.
    2. Katzgraber-Young (Gaussian couplings): :math:`[e] = -\frac{1}{T}\sum_b\sigma_b^2 (1-[q_l])/N` in equilibrium,
       approached from opposite sides; Gaussian fields of variance :math:`\sigma_h^2` in the same way have
       :math:`[e_h] = -\sigma_h^2 (1-[q])/T`; Student's t over instances (at least 8), Bonferroni over temperatures.
       Source: Katzgraber and Young, Phys. Rev. B 63, 184422 (2001).

    Each family fails a good run with probability at most ``FALSE_ALARM``.
    """
    bins = np.stack([run.bins for run in runs])  # (D, 3, c, T)
    drift = np.diff(bins, axis=1).transpose(0, 2, 1, 3).reshape(len(runs) * bins.shape[2], -1)  # (D c, 2 T)
    drift_p = _smallest_p(drift)
    reasons = []
    if drift_p < FALSE_ALARM:
        reasons.append(
            "the energy still drifts between the last log2 bins of sweeps "
            f"(p = {drift_p:.1g}, needed at least {FALSE_ALARM:g})"
        )
    figures = {
        "equilibration_drift_p": drift_p,
        "equilibration_tau_max_sweeps": float(max(run.tau[levels].max() for run in runs)),
        "equilibration_independent_min": float(min(run.independent[levels].min() for run in runs)),
    }
    if gaussian and len(runs) >= 8:
        young_p = _smallest_p(np.stack([run.katzgraber_young for run in runs]))
        figures["equilibration_katzgraber_young_p"] = young_p
        if young_p < FALSE_ALARM:
            reasons.append(
                "energy and link overlap break the Katzgraber-Young identity "
                f"(p = {young_p:.1g}, needed at least {FALSE_ALARM:g})"
            )
    return Verdict(not reasons, tuple(reasons), figures)


def _smallest_p(values: np.ndarray) -> float:
    """Bonferroni-corrected smallest p-value of zero means of the columns, from independent rows."""
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
    moving = spread > 1e-12
    if not moving.any():
        return 1.0
    t = values.mean(axis=0)[moving] / (spread[moving] / np.sqrt(len(values)))
    return float(min(1.0, moving.sum() * 2 * stats.t.sf(np.abs(t), len(values) - 1).min()))


def _round_up(sweeps: float) -> int:
    digits = 10 ** max(int(np.log10(sweeps)) - 1, 0)
    return int(np.ceil(sweeps / digits) * digits)
