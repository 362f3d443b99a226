"""Truth for the judge to be tried on: realisations of equal conditions, and training sets; cached in data/judge."""

import dataclasses
import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import xarray as xr

from physgen.config import load_config
from physgen.domains.contract import with_units
from physgen.domains.spins import exact
from physgen.domains.spins.layout import disorder_of, energy_of
from physgen.ensemble import load_ensemble, save_ensemble

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "data" / "judge"
CONDITIONS_SEED = 7
# one stream of initial conditions (or of configurations) for each part
STREAMS = {"reference": 1, "independent": 2, "training": 3, "zeldovich": 2}
INSTANCES, REPLICAS = 24, 64
MAGNETIZATION_DRAWS = 4000


def field_domain():
    """The demo's simulations: 64^3 particles in 128 Mpc/h, slabs of 32 Mpc/h on 64 x 64 cells, 12 of each."""
    return load_config(ROOT / "configs" / "cosmology" / "demo.yaml", []).data


def spin_domain():
    """The demo's glass: 8 x 8 Gaussian Edwards-Anderson cylinders at three temperatures."""
    demo = load_config(ROOT / "configs" / "spins" / "demo.yaml", []).data
    return dataclasses.replace(demo, instances=INSTANCES, replicas=REPLICAS)


def conditions(domain, simulations, part):
    """(Omega_m, sigma_8) of each simulation; the parts to be compared share them, the training set has its own."""
    from physgen.domains.cosmology.suite import latin_hypercube

    seed = CONDITIONS_SEED + (part == "training")
    return latin_hypercube(simulations, [domain.Omega_m, domain.sigma_8], seed)


def fields(part, simulations):
    """Maps of ``simulations`` universes; ``part`` (one of STREAMS) says which initial conditions and dynamics."""
    domain = field_domain()
    labels = conditions(domain, simulations, part)
    recipe = [dataclasses.asdict(domain), labels.tolist(), part]
    return _cached(f"fields-{part}-{simulations}", recipe, lambda: _simulated(domain, labels, part))


def _simulated(domain, labels, part):
    stream = STREAMS[part]
    jobs = [
        (dataclasses.replace(domain, simulations=1, Omega_m=(m, m), sigma_8=(s, s)), 1000 * stream + i, part)
        for i, (m, s) in enumerate(labels.tolist())
    ]
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(_one_universe, jobs))
    numbered = [
        one.assign(simulation=("sample", np.full(one.sizes["sample"], 1000 * (part == "training") + i)))
        for i, one in enumerate(made)
    ]
    return xr.concat(numbered, "sample", data_vars="minimal", coords="minimal", compat="override", join="override",
                     combine_attrs="override")  # fmt: skip


def _one_universe(job):
    import torch

    torch.set_num_threads(1)
    domain, seed, part = job
    if part == "zeldovich":  # two steps: only the labels and attributes of this one are kept
        return with_field(dataclasses.replace(domain, steps=2).simulate(seed), zeldovich_maps(domain, seed))
    return domain.simulate(seed)


def zeldovich_maps(domain, seed):
    """Slabs of the Zel'dovich approximation x = q + D psi_1 of the initial conditions that ``domain.simulate`` has."""
    from physgen.domains.cosmology.background import CosmologyParams, growth_factor
    from physgen.domains.cosmology.mesh import lattice_positions
    from physgen.domains.cosmology.painting import Painting, project_slabs
    from physgen.domains.cosmology.sheet import sheet_contrast
    from physgen.domains.cosmology.simulate import SimulationBox, displacements, linear_field, simulation_seed

    params = CosmologyParams(domain.Omega_m[0], domain.sigma_8[0], domain.Omega_b, domain.h, domain.n_s)
    box = SimulationBox(domain.box_size, domain.particles, domain.mesh_factor, domain.steps, domain.redshift)
    first, _ = displacements(linear_field(params, box, simulation_seed(seed, 0), domain.linear_power))
    growth = float(growth_factor(1 / (1 + domain.redshift), params.Omega_m))
    positions = lattice_positions(domain.particles, domain.cells, first.device)
    positions += growth * (domain.cells / domain.particles) * first.reshape(3, -1)
    depth = round(domain.thickness / domain.box_size * domain.cells)
    painting = Painting(domain.cells, domain.dimension, depth, domain.slabs_per_axis, sheet=True)
    density = sheet_contrast(positions.remainder_(domain.cells), domain.particles, domain.cells)
    return project_slabs(density, painting).numpy()


def spins(part):
    """Exact configurations of INSTANCES instances; the parts share the couplings and nothing else."""
    domain = spin_domain()
    recipe = [dataclasses.asdict(domain), part]
    return _cached(f"spins-{part}", recipe, lambda: draw_spins(domain.simulate(CONDITIONS_SEED), STREAMS[part]))


def draw_spins(template, stream, heating=1.0, couplings=None):
    """The template with new exact configurations, at ``heating`` times its temperatures, for other bonds if given."""
    bonds = disorder_of(template).couplings if couplings is None else couplings
    field = np.empty(template["field"].shape, np.int8)
    for i, t in np.ndindex(field.shape[:2]):
        rng = np.random.default_rng([CONDITIONS_SEED, stream, i, t])
        temperature = float(template["temperature"][t]) * heating
        field[i, t] = exact.sample(bonds[i], temperature, field.shape[2], rng).spins
    return with_field(template, field)


def with_field(ensemble, field):
    """The ensemble with other configurations of the same conditions (spins: with their energies)."""
    old = ensemble["field"]
    changed = ensemble.assign(field=(old.dims, np.asarray(field).astype(old.dtype), old.attrs))
    if "energy" in changed:
        changed["energy"] = changed["energy"].copy(data=energy_of(field, disorder_of(ensemble)))
    return changed


def _cached(name, recipe, make):
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()[:8]
    path = CACHE / f"{name}-{digest}.h5"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        save_ensemble(make(), path)
    return with_units(load_ensemble(path))
