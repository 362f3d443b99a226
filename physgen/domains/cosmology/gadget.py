r"""Density fields of particle snapshots (Gadget, Quijote, CAMELS HDF5), painted with the meshes of the simulator.

Convention of cells: cloud-in-cell takes cell i to stand at i L/N, as in Pylians, whose grids [x, y, z] are these
[z, y, x] transposed.
Redshift space: :math:`s = x + v (1 + z) / H(z)` along one axis, with peculiar velocities
:math:`v = \sqrt{a} \times` what the file holds; a flat or curved background without w or radiation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.gadget_labels import labels_of
from physgen.domains.cosmology.labels import Joined, Origin
from physgen.domains.cosmology.mesh import cloud_in_cell, deposit
from physgen.domains.cosmology.options import LARGEST, SMALLEST, Options
from physgen.domains.cosmology.own_fields import finish
from physgen.domains.cosmology.painting import Painting, project_slabs
from physgen.domains.cosmology.sheet import sheet_contrast
from physgen.domains.cosmology.snapshots import TYPES, Snapshot, find_snapshots, has_mass, particle_blocks, total_mass
from physgen.domains.cosmology.tables import is_table, read_table
from physgen.ensemble.scratch import scratch_array
from physgen.errors import InputError

OPTIONS = ("cells", "thickness", "slabs", "particles", "painting", "rsd", "redshift", "length_unit", "params", "h")
CRITICAL_DENSITY = 27.7536627  # 1e10 Msun/h / (Mpc/h)^3
AXES = ("z", "y", "x")  # of the field; files have x, y, z
UNITS = {"kpc/h": 1e-3, "Mpc/h": 1.0}
MASS_TOLERANCE = 0.02  # of the density parameter in all particles; masses of headers have few digits
LEAST_SHARE = 0.5  # of the matter, in the dark matter alone
SCATTERED = 0.2  # rms displacement from the lattice, of the box, beyond which identifiers do not name lattice sites


@dataclass(frozen=True)
class Way:
    """How snapshots are painted: cells a side, slabs of ``depth`` cells (0: boxes), ``rsd`` axis or None, sheet."""

    cells: int
    depth: int
    slabs: int
    rsd: int | None
    sheet: bool

    @property
    def maps(self) -> int:
        """Fields of one snapshot."""
        return 1 if not self.depth else self.slabs * (1 if self.rsd is not None else 3)


def load(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Density contrast of snapshots, one simulation each; several files of one are completed and counted.

    Options, each as text:

    - cells: a side, 64. thickness: of slabs, with a unit, else the box is one field; slabs: how many along each axis,
      all that fit without it.
    - particles: dark (PartType1), all, or numbers of types (``1,2``); needed where there are several.
    - painting: particles (cloud-in-cell) or sheet, the phase-space sheet between dark-matter particles, by their
      identifiers. rsd: x, y or z: into redshift space along that axis; slabs are cut along it alone then.
    - redshift: which snapshots of folders that hold several, or ``all``: the redshift becomes a label.
    - params: table of parameters (else one among the paths): rows by the name or the number of the folder; its
      Omega_m and h are confronted with the headers. Without it: what Quijote's set or the header says.
    - length_unit: kpc/h or Mpc/h, where no header and no density says it. h: confronted.
    """
    chosen = Options("gadget", options, OPTIONS)
    params = chosen.text("params")
    tables = [Path(params)] if params else [p for p in paths if is_table(p)]
    snapshots = _choose(find_snapshots([p for p in paths if not is_table(p)]), chosen.text("redshift"))
    sides = [side_of(one, kinds_of(one, chosen.text("particles")), chosen) for one in snapshots]
    if len({round(side, 6) for side in sides}) > 1:
        raise InputError(f"the boxes have sides of {sides[0]:g} and {max(sides):g} Mpc/h: import equal boxes")
    way = _way(chosen, sides[0])
    labels, simulation, seeds, notes = labels_of(snapshots, [read_table(table) for table in tables])
    dimension = 2 if way.depth else 3
    fields = scratch_array((len(snapshots) * way.maps, *(way.cells,) * dimension), np.float32)
    for i, one in enumerate(snapshots):
        fields[i * way.maps : (i + 1) * way.maps] = paint(one, sides[i], way, kinds_of(one, chosen.text("particles")))
    each = {name: np.repeat(column, way.maps) for name, column in labels.items()}
    attrs = _attrs(snapshots, sides[0], way, kinds_of(snapshots[0], chosen.text("particles")), labels)
    ensemble = make_ensemble(fields, "delta", sides[0], each, np.repeat(simulation, way.maps), attrs)
    origins = [Origin(one.files[0], m, way.maps) for one in snapshots for m in range(way.maps)]
    joined = Joined(each, np.repeat(simulation, way.maps), {n: np.repeat(c, way.maps) for n, c in seeds.items()})
    ensemble = finish(ensemble, origins, joined, [_counted(snapshots), *notes])
    names = [f"{one.set}/{one.simulation}/{one.files[0].name}[{m}]" for one in snapshots for m in range(way.maps)]
    return ensemble.assign(source=("sample", np.array(names), ensemble["source"].attrs))


def _choose(snapshots: list[Snapshot], redshift: str | None) -> list[Snapshot]:
    found = sorted({one.redshift for one in snapshots})
    if redshift not in (None, "all"):
        wanted = Options("gadget", {"redshift": str(redshift)}, ("redshift",)).number("redshift")
        assert wanted is not None
        snapshots = [one for one in snapshots if abs(one.redshift - wanted) < 0.005 * (1 + wanted)]
        if not snapshots:
            raise InputError(f"no snapshot has redshift {wanted:g}: there are {', '.join(f'{z:g}' for z in found)}")
    elif redshift is None and found[-1] - found[0] > 0.005 * (1 + found[0]):
        raise InputError(
            f"the snapshots have redshifts {', '.join(f'{z:g}' for z in found)}: choose one, redshift={found[0]:g}, or "
            "redshift=all to have it as a label"
        )
    return snapshots


def kinds_of(snapshot: Snapshot, said: str | None) -> list[int]:
    """Numbers of the types to paint; asked for where there are several that could be meant."""
    there = massive_kinds(snapshot)
    if said == "all" or (said is None and len(there) == 1):
        return there
    named = {"dark": [1]}.get(said or "", [int(word) for word in (said or "").split(",") if word.strip().isdigit()])
    if named and set(named) <= set(there):
        return named
    held = ", ".join(f"{kind} ({TYPES[kind]}, {snapshot.counts[kind]})" for kind in there)  # those with a mass
    raise InputError(
        f"{snapshot} holds particles of the types {held}"
        + (f", not {said}" if said else "")
        + ": say particles=all for the whole matter, particles=dark or numbers of types"
    )


def massive_kinds(snapshot: Snapshot) -> list[int]:
    """The types with particles that have a mass; where none has one, an only type is taken with equal masses."""
    there = [kind for kind, count in enumerate(snapshot.counts) if count]
    massive = [kind for kind in there if has_mass(snapshot, kind)]
    if not massive and len(there) > 1:
        raise InputError(
            f"{snapshot} holds particles of the types {there} and no mass of any: the header has no MassTable"
        )
    return massive or there


def side_of(snapshot: Snapshot, kinds: list[int], options: Options) -> float:
    """Side in Mpc/h in the unit that makes the matter in the box that of the header's Omega_m; else refused."""
    said = options.choice("length_unit", tuple(UNITS))
    units = [UNITS[said]] if said else [snapshot.unit] if snapshot.unit else list(UNITS.values())
    mass, whole = total_mass(snapshot, kinds), set(kinds) >= set(massive_kinds(snapshot))
    tried = []
    for unit in units:
        side = float(f"{snapshot.box * unit:.9g}")
        if not SMALLEST <= side <= LARGEST:
            tried.append(f"a box of {side:g} Mpc/h")
            continue
        if mass is None or not np.isfinite(snapshot.Omega_m):
            if said or snapshot.unit or len(units) == 1:
                return side
            tried.append(f"no mass says whether it is {side:g} Mpc/h")
            continue
        share = mass / side**3 / CRITICAL_DENSITY / snapshot.Omega_m
        if (1 - MASS_TOLERANCE if whole else LEAST_SHARE) <= share <= 1 + MASS_TOLERANCE:
            return side
        tried.append(f"{share:.3g} times the matter of Omega_m = {snapshot.Omega_m:g} in {side:g} Mpc/h")
    raise InputError(
        f"{snapshot} holds {'; or '.join(tried)}: check the unit of its lengths (length_unit=kpc/h or Mpc/h), its "
        "masses (1e10 Msun/h) and which particles are meant"
    )


def _way(options: Options, side: float) -> Way:
    cells, rsd = options.count("cells", 64), options.choice("rsd", AXES)
    sheet = options.choice("painting", ("particles", "sheet"), "particles") == "sheet"
    axis = None if rsd is None else AXES.index(rsd)
    if "thickness" not in options and "slabs" not in options:
        return Way(cells, 0, 0, axis, sheet)
    slabs = options.count("slabs")
    depth = cells / slabs if "thickness" not in options and slabs else options.length("thickness") / side * cells
    if depth < 1 - 1e-6 or abs(depth - round(depth)) > 1e-6 * cells or (slabs or 1) * round(depth) > cells:
        raise InputError(
            f"slabs of {depth * side / cells:g} Mpc/h are {depth:g} of the {cells} cells of the box: a slab is a whole "
            "number of cells thick, and all slabs together at most the box"
        )
    return Way(cells, round(depth), slabs or cells // round(depth), axis, sheet)


def paint(snapshot: Snapshot, side: float, way: Way, kinds: list[int]) -> np.ndarray:
    r"""Density contrast (maps, \*grid) float32 of one snapshot."""
    delta = _sheet(snapshot, side, way, kinds) if way.sheet else _particles(snapshot, side, way, kinds)
    if not way.depth:
        return delta.numpy()[None]
    maps = project_slabs(delta, Painting(way.cells, 2, way.depth, way.slabs)).numpy()
    return maps if way.rsd is None else maps[way.rsd * way.slabs : (way.rsd + 1) * way.slabs]


def _particles(snapshot: Snapshot, side: float, way: Way, kinds: list[int]) -> torch.Tensor:
    """Cloud-in-cell of the mass of all types, summed in double precision."""
    total = torch.zeros(way.cells**3, dtype=torch.float64)
    for kind in kinds:
        own = not snapshot.masses[kind] and has_mass(snapshot, kind)
        for positions, weights in _blocks(snapshot, kind, side, way, ("Masses",) if own else ()):
            if own:
                index, weight = cloud_in_cell(positions, way.cells)
                weight = weight.double() * torch.from_numpy(weights[0].astype(np.float64))
                total.index_add_(0, index.reshape(-1), weight.reshape(-1))
            else:
                density = torch.zeros(way.cells**3)
                deposit(density, positions, way.cells)
                total += density.double() * (snapshot.masses[kind] or 1.0)
    return total.div_(total.mean()).sub_(1).float().view((way.cells,) * 3)


def _blocks(
    snapshot: Snapshot, kind: int, side: float, way: Way, more: tuple[str, ...]
) -> Iterator[tuple[torch.Tensor, list[np.ndarray]]]:
    """Positions (3, n) in cells, in redshift space where asked for, and further data sets."""
    names = ("Coordinates", *(("Velocities",) if way.rsd is not None else ()), *more)
    for first, *rest in particle_blocks(snapshot, kind, names):
        cells = first[:, ::-1].astype(np.float64) * (way.cells / snapshot.box)
        if way.rsd is not None:
            cells[:, way.rsd] += rest.pop(0)[:, 2 - way.rsd] * (_per_velocity(snapshot) * way.cells / side)
        cells %= way.cells
        yield torch.from_numpy(np.ascontiguousarray(cells.T, dtype=np.float32)), rest


def _per_velocity(snapshot: Snapshot) -> float:
    r""":math:`\sqrt{a} (1 + z) / (100 E(z))`: Mpc/h that a stored velocity of 1 km/s shifts a particle."""
    growth = 1 + snapshot.redshift
    matter, dark = snapshot.Omega_m, snapshot.Omega_Lambda
    if not np.isfinite(matter + dark):
        raise InputError(f"{snapshot} says no Omega0 or OmegaLambda: redshift space needs the rate of expansion")
    rate = np.sqrt(matter * growth**3 + (1 - matter - dark) * growth**2 + dark)
    return float(growth**0.5 / (100 * rate))


def _sheet(snapshot: Snapshot, side: float, way: Way, kinds: list[int]) -> torch.Tensor:
    """The sheet between particles that are put in the order of their lattice by their identifiers."""
    count = snapshot.counts[kinds[0]]
    particles = round(count ** (1 / 3))
    if len(kinds) > 1 or particles**3 != count:
        raise InputError(
            f"{snapshot} holds {count} particles of the types {kinds}: the sheet lies between N^3 of one type, leave "
            "painting=sheet out"
        )
    ordered = torch.from_numpy(scratch_array((3, count), np.float32))
    numbers = np.concatenate([ids for (ids,) in particle_blocks(snapshot, kinds[0], ("ParticleIDs",))])
    first, seen = int(numbers.min()), 0
    if int(numbers.max()) - first != count - 1 or len(np.unique(numbers)) != count:
        raise InputError(f"{snapshot}: the identifiers do not count {count} particles once: use painting=particles")
    for positions, _ in _blocks(snapshot, kinds[0], side, way, ()):
        places = numbers[seen : seen + positions.shape[1]].astype(np.int64) - first
        ordered[:, torch.from_numpy(places)] = positions
        seen += positions.shape[1]
    return sheet_contrast(_on_lattice(ordered, particles, way.cells, snapshot), particles, way.cells)


def _on_lattice(positions: torch.Tensor, particles: int, cells: int, snapshot: Snapshot) -> torch.Tensor:
    """Positions with z the fastest axis of the lattice, whichever way the identifiers count; displacements tell."""
    line = torch.arange(particles, dtype=torch.float32) * (cells / particles)
    sites = torch.stack(torch.meshgrid(line, line, line, indexing="ij")).reshape(3, -1)
    lattice = (particles,) * 3
    for one in (positions, positions.view(3, *lattice).permute(0, 3, 2, 1).reshape(3, -1)):
        apart = torch.remainder(one - sites + cells / 2, cells) - cells / 2
        if float(apart.square().mean().sqrt()) < SCATTERED * cells:
            return one.contiguous()
    raise InputError(f"{snapshot}: the identifiers do not name the sites of a lattice: use painting=particles")


def _attrs(
    snapshots: list[Snapshot], side: float, way: Way, kinds: list[int], labels: dict[str, np.ndarray]
) -> dict[str, Any]:
    first = snapshots[0]
    count = sum(first.counts[kind] for kind in kinds)
    painted = "phase-space sheet" if way.sheet else "particles"
    attrs: dict[str, Any] = {
        "mass_assignment": f"CIC of the {painted}; window not deconvolved",
        "particle_types": ", ".join(TYPES[kind] for kind in kinds),
        "particle_count": count,
        "number_density": count / side**3,
    }
    if "redshift" not in labels:
        attrs["redshift"] = first.redshift
    if "h" not in labels and len({one.h for one in snapshots}) == 1 and np.isfinite(first.h):
        attrs["h"] = first.h
    attrs["redshift_space"] = "none" if way.rsd is None else f"along {AXES[way.rsd]}"
    if way.depth:
        attrs["slab_thickness"] = way.depth * side / way.cells
    return attrs


def _counted(snapshots: list[Snapshot]) -> str:
    files = sum(len(one.files) for one in snapshots)
    shown = [f"{one.simulation}/{one.files[0].name}" for one in snapshots]
    listed = ", ".join(shown if len(shown) <= 12 else [*shown[:6], "...", *shown[-2:]])
    return f"{len(snapshots)} snapshots in {files} files, complete by their headers: {listed}"
