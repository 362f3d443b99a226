"""The ensemble of finished simulations: fields with labels, phases, and attributes that say how they were made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.simulate import PHASES, phases_digest
from physgen.domains.cosmology.suite import Task, run_suite

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.cosmology.domain import Cosmology


def simulated(
    domain: Cosmology,
    tasks: list[Task],
    numbers: np.ndarray,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> xr.Dataset:
    """The ensemble of the tasks, run by the settings of a domain; ``numbers`` are those of their simulations."""
    tasks = [dataclasses.replace(task, linear_power=domain.linear_power, device=domain.device) for task in tasks]
    fields = np.concatenate(list(run_suite(tasks, processes, progress)))
    each = tasks[0].painting.maps_per_simulation
    maps = [each * len(task.redshifts) for task in tasks]
    labels = {n: np.repeat([getattr(t.params, n) for t in tasks], maps) for n in ("Omega_m", "sigma_8")}
    redshifts = np.concatenate([np.repeat(task.redshifts, each) for task in tasks])
    several = len(np.unique(redshifts)) > 1
    if several:
        labels["redshift"] = redshifts
    # neither linear theory nor the mean of two meshes in Fourier space stays above -1
    kind = "real" if domain.simulator == "linear" or domain.interlaced else "delta"
    attrs = _attrs(domain, tasks[0].box.mesh_cells)
    made = make_ensemble(fields, kind, domain.box_size, labels, np.repeat(numbers, maps), attrs)
    phases = np.repeat([phases_digest(domain.particles, task.seed) for task in tasks], maps)
    made = made.assign(phases=("sample", phases, PHASES))
    return made if several else made.assign_attrs(redshift=float(redshifts[0]))


def _attrs(domain: Cosmology, mesh_cells: int) -> dict[str, Any]:
    painted = f"phase-space sheet, {2 * domain.particles}^3 tracers" if domain.painting == "sheet" else "particles"
    scheme = f"{domain.mass_assignment}, interlaced," if domain.interlaced else domain.mass_assignment
    shifted = "along z" if domain.dimension == 3 else "along the line of sight"
    said = "none" if domain.simulator == "linear" else f"{scheme} of the {painted}; window not deconvolved"
    attrs = {
        "domain": domain.name,
        "generator": {
            "fastpm": f"2LPT at redshift 19 + FastPM, {domain.steps} steps, force mesh {mesh_cells}^3",
            "linear": "linear theory, without particles: the contrast may lie below -1",
        }.get(domain.simulator, f"{domain.simulator}, particles displaced in one step"),
        "particles_per_side": domain.particles,
        "linear_power": domain.linear_power,
        "mass_assignment": said,
        "redshift_space": shifted if domain.redshift_space else "none",
        **{name: getattr(domain, name) for name in ("Omega_b", "h", "n_s")},
    }
    return attrs | ({"slab_thickness": domain.thickness} if domain.dimension == 2 else {})
