"""Spectra of density fields: the fit of the linear power, windows, interlacing, redshift space, and what the settings
of the simulator cost in fidelity.

``python -m benchmarks.emulators.spectra`` prints the table of docs/how-to/spectra.md on the simulator, which takes
two minutes of CPU: its reference has eight times the particles.
"""

import sys
from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from benchmarks.regimes.row import Row
from physgen.diagnostics import Correction, power_spectrum
from physgen.diagnostics.window import SCHEMES, MassAssignment
from physgen.domains.cosmology.assignment import painted_contrast
from physgen.domains.cosmology.background import CosmologyParams, growth_rate
from physgen.domains.cosmology.linear_power import linear_power
from physgen.domains.cosmology.mesh import lattice_positions
from physgen.domains.cosmology.painting import Painting, paint, project_slabs
from physgen.domains.cosmology.simulate import SimulationBox, evolve, linear_field, snapshots_in_redshift_space
from physgen.lattice import wavenumbers

CELLS, POINTS, FIELDS = 32, 20_000, 8
BANDS = ((0.05, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))  # of the Nyquist wavenumber


def rows():
    return [*fit_rows(), *noise_rows(), alias_row(), *kaiser_rows(), *step_rows()]


def boxes(fields, side, **attrs):
    cells = fields.shape[-1]
    dims = ("z", "y", "x")[-(fields.ndim - 1) :]
    coords = {d: (d, (np.arange(cells) + 0.5) * side / cells, {"units": "Mpc/h"}) for d in dims}
    return xr.Dataset({"field": (("sample", *dims), fields)}, coords, {"independent_unit": "sample"} | attrs)


def fit_rows():
    """Eisenstein & Hu against CAMB."""
    k, table = np.geomspace(0.01, 5, 400), []
    for Omega_m in (0.1, 0.2, 0.3175, 0.5):
        params = CosmologyParams(Omega_m)
        error = linear_power(k, params) / linear_power(k, params, "camb") - 1
        note = f"from {100 * error.min():+.1f} to {100 * error.max():+.1f} %, 0.01 < k < 5 h/Mpc, equal sigma_8"
        table.append(
            Row(f"largest error of Eisenstein-Hu in P, Omega_m = {Omega_m:g}", np.abs(error).max(), 0.0, note=note)
        )
    return table


def noise_rows():
    """Uniform points: the mean square pull of P - noise in every bin."""
    table = []
    for scheme in SCHEMES:
        for interlaced in (False, True):
            rng = np.random.default_rng(1)
            fields = [
                painted_contrast(torch.from_numpy((rng.random((3, POINTS)) * CELLS).astype(np.float32)), CELLS, scheme,
                                 interlaced).numpy()
                for _ in range(FIELDS)
            ]  # fmt: skip
            said = str(MassAssignment(scheme, interlaced))
            one = boxes(np.stack(fields), CELLS, mass_assignment=said, number_density=POINTS / CELLS**3)
            left, raw = (
                power_spectrum(one, correction=Correction("aliased", shot_noise=noise)) for noise in ("poisson", None)
            )
            level = float((raw["value"] - left["value"])[0])
            pulls = (left["value"] / level * np.sqrt(FIELDS * left["modes"])).values
            error = np.sqrt(2 / len(pulls))
            table.append(
                Row(f"mean square pull of P - 1/nbar of uniform points, {said}", (pulls**2).mean(), error, 1.0,
                    kept=bool(abs((pulls**2).mean() - 1) < 4 * error),
                    note=f"{FIELDS} fields of {POINTS} points on {CELLS}^3, alias sum divided out; "
                    f"last bin P nbar = {float(raw['value'][-1]) / level:.3f}")
            )  # fmt: skip
    return table


def alias_row():
    """Displaced lattice with a white displacement: error of the last bin below 0.9 k_Nyq, CIC deconvolved."""
    psi = 0.15 * torch.from_numpy(np.random.default_rng(3).standard_normal((3, 64**3)).astype(np.float32))
    place = (lattice_positions(64, CELLS) - 0.5 + psi).remainder(CELLS)
    edges = 2 * np.pi / CELLS * np.array([0.7, 0.9]) * CELLS / 2
    fine = painted_contrast(place * 4, 4 * CELLS, "PCS").numpy()[None]
    truth = power_spectrum(boxes(fine, CELLS, mass_assignment="PCS"), edges, correction=Correction("window"))
    found = []
    for interlaced in (False, True):
        one = boxes(painted_contrast(place, CELLS, "CIC", interlaced).numpy()[None], CELLS, mass_assignment="CIC")
        power = power_spectrum(one, edges, correction=Correction("window"))
        found.append(float(power["value"][0] / truth["value"][0]) - 1)
    note = f"0.7 to 0.9 k_Nyq, P ~ k^2; without interlacing {found[0]:+.3f}. Kept: five times smaller"
    return Row("alias left in P, CIC interlaced", found[1], 0.0, 0.0, kept=abs(found[1]) < abs(found[0]) / 5, note=note)


def kaiser_rows():
    """Power of the long waves in redshift space over that expected mode by mode."""
    table = []
    for sigma_8 in (0.1, 0.834):
        for redshift in (0.0, 1.0):
            params, box = CosmologyParams(sigma_8=sigma_8), SimulationBox(512.0, 32, 2.0, 8, redshift)
            ratios = [kaiser_ratio(params, box, redshift, seed) for seed in range(4)]
            error = np.std(ratios, ddof=1) / 2
            linear = sigma_8 < 0.5
            table.append(
                Row(f"P_s / (1 + f mu^2)^2 P_r, k < 0.043 h/Mpc, sigma_8 = {sigma_8:g}, z = {redshift:g}",
                    float(np.mean(ratios)), error, 1.0, kept=bool(abs(np.mean(ratios) - 1) < 0.01) if linear else None,
                    note="4 boxes of 512 Mpc/h, 32^3 particles; " + ("kept: within 1 %" if linear else "not linear"))
            )  # fmt: skip
    return table


def kaiser_ratio(params, box, redshift, seed):
    n, cells = box.particles, box.particles / box.box_size
    modes = linear_field(params, box, seed)
    ((positions, shifts),) = snapshots_in_redshift_space(modes, params, box, (redshift,))
    real = paint(positions * cells, Painting(n, 3), n)[0]
    redshifted = paint(positions * cells, Painting(n, 3, redshift_space=True), n, shifts * cells)[0]
    kz, ky, kx = wavenumbers((n,) * 3)
    square = kz**2 + ky**2 + kx**2
    long = (square > 0) & (square < (3.5 * 2 * np.pi / n) ** 2)
    f = float(growth_rate(1 / (1 + redshift), params.Omega_m))
    power = [torch.fft.rfftn(delta.double()).abs() ** 2 for delta in (real, redshifted)]
    expected = (1 + f * kz**2 / square.clamp_min(1e-12)) ** 2 * power[0]
    return float(power[1][long].sum() / expected[long].sum())


# --- the simulator ---------------------------------------------------------------------------------


def fields_of(modes, box, cells, sheet=True):
    """Box and slabs of 32 Mpc/h of one run."""
    positions = evolve(modes.clone(), CosmologyParams(), box) * (cells / box.box_size)
    delta = paint(positions, Painting(cells, 3, sheet=sheet), box.particles)[0]
    return delta, project_slabs(delta, Painting(cells, 2, round(32 * cells / box.box_size), int(box.box_size) // 32))


def compared(run, reference, side):
    """Ratios of P in BANDS for box and slabs, of percentiles of the density of slabs, of the scatter of its log10."""
    found = []
    for one, other in zip(run, reference, strict=True):
        fields = [x.numpy() if x.ndim == 3 and len(x) != x.shape[1] else x.numpy()[None] for x in (one, other)]
        edges = np.array([low for low, _ in BANDS] + [1.0]) * np.pi * fields[0].shape[-1] / side
        power = [power_spectrum(boxes(f, side), edges)["value"].values for f in fields]
        found += (power[0] / power[1]).tolist()
    density = [1 + x.numpy() for x in (run[1], reference[1])]
    for percent in (1, 50, 99.9):
        low, high = (np.percentile(x, percent) for x in density)
        found.append(low / high)
    spread = [np.log10(np.maximum(x, 1e-3)).std() for x in density]
    return np.array([*found, spread[0] / spread[1]])


def step_rows(seeds=2, side=64.0, particles=32):
    """Ten, twenty steps against forty, of the same phases."""
    box = SimulationBox(side, particles, 2.0, 40)
    table = []
    found = {10: [], 20: []}
    for seed in range(seeds):
        modes = linear_field(CosmologyParams(), box, seed)
        reference = fields_of(modes, box, particles)
        for steps, values in found.items():
            values.append(compared(fields_of(modes, replace(box, steps=steps), particles), reference, side))
    for steps, values in found.items():
        mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(seeds)
        table.append(
            Row(f"P of slabs, {steps} steps over 40, 0.5 to 0.75 k_Nyq", mean[6], error[6],
                note=f"{seeds} boxes of {side:g} Mpc/h, {particles}^3 particles; to 1.0 k_Nyq {mean[7]:.3f}; "
                f"99.9th percentile of the density {mean[10]:.3f}")
        )  # fmt: skip
    return table


def simulator_table(seeds=2, side=128.0, particles=64, fine=True):
    """Markdown: settings against forty steps of the same phases, or against eight times the particles."""
    box = SimulationBox(side, particles, 2.0, 40)
    ways = {"10 steps, sheet (the demo)": (10, True), "20 steps, sheet": (20, True), "40 steps, sheet": (40, True),
            "20 steps, particles": (20, False)}  # fmt: skip
    found = {name: [] for name in ways}
    for seed in range(seeds):
        if fine:
            modes, reference = with_reference(box, seed)
        else:
            modes = linear_field(CosmologyParams(), box, seed)
            reference = fields_of(modes, box, particles)
        for name, (steps, sheet) in ways.items():
            run = fields_of(modes, replace(box, steps=steps), particles, sheet)
            found[name].append(compared(run, reference, side))
    names = [f"{what} {low:g}-{high:g}" for what in ("box", "slab") for low, high in BANDS]
    names += ["1 %", "50 %", "99.9 %", "std log10"]
    lines = ["| settings | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, values in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{v:.3f}" for v in np.mean(values, axis=0)) + " |")
    if seeds > 1:
        scatter = np.max([np.std(v, axis=0, ddof=1) / np.sqrt(seeds) for v in found.values()], axis=0)
        lines.append("| largest error | " + " | ".join(f"{v:.3f}" for v in scatter) + " |")
    return "\n".join(lines)


def with_reference(box, seed):
    """Modes of the coarse lattice, and the fields of a run of (2 N)^3 particles and 20 steps that has them all."""
    n = box.particles
    finer = replace(box, particles=2 * n, steps=20)
    fine = linear_field(CosmologyParams(), finer, seed)
    index = np.fft.fftfreq(n, 1 / n).astype(int)
    coarse = fine[index[:, None, None], index[None, :, None], np.arange(n // 2 + 1)] / 8
    edge = np.abs(index) == n // 2
    coarse[edge] = coarse[:, edge] = coarse[:, :, np.arange(n // 2 + 1) == n // 2] = 0
    # the finer lattice begins a quarter of its spacing from its origin, as the coarser does of twice that
    positions = evolve(fine, CosmologyParams(), finer) * (n / box.box_size) + 0.125
    delta = paint(positions, Painting(n, 3, sheet=True), 2 * n)[0]
    return coarse, (delta, project_slabs(delta, Painting(n, 2, round(32 * n / box.box_size), int(box.box_size) // 32)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(simulator_table(seeds=int(sys.argv[1]) if len(sys.argv) > 1 else 2, fine="coarse" not in sys.argv))
