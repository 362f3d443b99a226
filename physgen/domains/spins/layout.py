"""How spins stand in an ensemble: names, dims, coordinates, and the checks on data from elsewhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.domains.quenched import SAMPLE
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.energy import graph_energy, lattice_energy
from physgen.domains.spins.many_body import state_numbers
from physgen.ensemble import TEMPLATE, unit_attrs
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

UNITS = unit_attrs("disorder", exchangeable=("replica",), within=("chain", "replica"))
GRAPH_NETWORK = "network={kind: graph_passing, width: 32}"  # of a configuration, for couplings on a graph
HAMILTONIAN = "H = -sum_<ij> J_ij s_i s_j - sum_i h_i s_i, k_B = 1"
OF_TRIPLES = "H = -sum_i<j<k J_ijk s_i s_j s_k - sum_i h_i s_i, k_B = 1"
OF_LEVELS = "H = the energy of the state, an own one of each, k_B = 1"
STATE = "state"  # dim of the energies of all states, where they have one each


class Disorder(NamedTuple):
    """The couplings of an ensemble. A lattice has ``edges`` None; where states have energies, there are no edges."""

    couplings: np.ndarray  # (D, d, *grid) or (D, M)
    edges: np.ndarray | None  # (M, 2), of three spins at a time (M, 3), or None
    external_field: np.ndarray | None  # (D, *grid) or None
    levels: np.ndarray | None = None  # (D, 2^N) energies of all states (``many_body.py``), or None

    @property
    def ends(self) -> int:
        """Spins in each interaction: 2, 3, or 0 where each state has an energy of its own."""
        if self.levels is not None:
            return 0
        return 2 if self.edges is None else int(self.edges.shape[1])

    @property
    def flips(self) -> bool:
        """Whether a flip of all spins leaves every energy as it is."""
        return self.ends == 2 and self.external_field is None


def lattice_dims(dimension: int) -> tuple[str, ...]:
    """Names of the space dims of a lattice, slowest first."""
    return ("z", "y", "x")[3 - dimension :]


def is_lattice(ensemble: xr.Dataset) -> bool:
    """Whether the couplings stand on the bonds of a lattice (else on ``edges``)."""
    return "direction" in ensemble["couplings"].dims


def grid_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Space dims in order, read from the couplings, so that a template without ``field`` has them too."""
    if not is_lattice(ensemble):
        return ("site",)
    return tuple(str(d) for d in ensemble["couplings"].dims if d not in ("disorder", "direction"))


def disorder_of(ensemble: xr.Dataset) -> Disorder:
    """Arrays of the couplings, in the order of ``SAMPLE`` and the space dims."""
    grid = grid_dims(ensemble)
    outer = ensemble.get("external_field")
    field = None if outer is None else outer.transpose("disorder", *grid).values
    if is_lattice(ensemble):
        return Disorder(ensemble["couplings"].transpose("disorder", "direction", *grid).values, None, field)
    if STATE in ensemble["couplings"].dims:
        return of_levels(ensemble["couplings"].transpose("disorder", STATE).values)
    return Disorder(ensemble["couplings"].transpose("disorder", "edge").values, ensemble["edges"].values, field)


def of_levels(levels: np.ndarray) -> Disorder:
    """The disorder of energies (D, 2^N) of all states."""
    return Disorder(np.zeros((len(levels), 0), np.float32), np.zeros((0, 2), np.int32), None, levels)


def energy_of(spins: np.ndarray, disorder: Disorder) -> np.ndarray:
    """Energy per spin (D, T, R) of spins (D, T, R, \\*grid) in their couplings."""
    outer = None if disorder.external_field is None else disorder.external_field[:, None, None]
    if disorder.levels is not None:
        found = [levels[state_numbers(own)] for own, levels in zip(spins, disorder.levels, strict=True)]
        return np.stack(found).astype(np.float64) / spins.shape[-1]
    if disorder.edges is None:
        couplings = disorder.couplings
        return np.stack([  # one instance at a time: the bond products are d times larger than the spins
            lattice_energy(spins[i], couplings[i], couplings.shape[1], None if outer is None else outer[i])
            for i in range(len(spins))
        ])  # fmt: skip
    return np.stack([
        graph_energy(spins[i], disorder.edges, disorder.couplings[i], None if outer is None else outer[i])
        for i in range(len(spins))
    ])  # fmt: skip


def instance_digests(ensemble: xr.Dataset) -> np.ndarray:
    """What the disorder instances are: (D,) strings, equal where and only where the Hamiltonians are.

    A BLAKE2b hash of the number of spins, the bonds that are not zero (i < j, sorted; parallel ones added up) with
    their couplings as float32, and the external field where there is one. The number of an instance, the order and
    direction of its bonds, and whether they stand on a lattice or in an edge list are of no effect. A template without
    ``field`` has digests too.
    """
    disorder = disorder_of(ensemble)
    spins = int(np.prod([ensemble.sizes[name] for name in grid_dims(ensemble)]))
    lattice = disorder.edges is None
    edges = lattice_edges(disorder.couplings.shape[2:]) if lattice else disorder.edges
    ends = np.sort(np.asarray(edges, dtype=np.int64), axis=1)
    numbers = ends @ spins ** np.arange(ends.shape[1], dtype=np.int64)[::-1]
    bonds, where = np.unique(numbers, return_inverse=True)
    found = []
    for instance, couplings in enumerate(disorder.couplings.reshape(len(disorder.couplings), -1)):
        total = np.bincount(where, weights=couplings, minlength=len(bonds)).astype("<f4")
        digest = hashlib.blake2b(np.int64(spins).tobytes(), digest_size=12, person=b"physgen-spins")
        digest.update(bonds[total != 0].astype("<i8").tobytes() + total[total != 0].tobytes())
        if disorder.ends != 2:
            own = b"" if disorder.levels is None else disorder.levels[instance].astype("<f4").tobytes()
            digest.update(b"ends %d" % disorder.ends + own)
        if disorder.external_field is not None and np.any(disorder.external_field[instance]):
            outer = disorder.external_field[instance].reshape(-1).astype("<f4") + np.float32(0)  # no -0
            digest.update(b"field" + outer.tobytes())
        found.append(digest.hexdigest())
    return np.array(found)


def spin_ensemble(
    spins: np.ndarray,
    disorder: Disorder,
    temperatures: np.ndarray,
    disorder_ids: np.ndarray,
    attrs: dict[str, object],
) -> xr.Dataset:
    """An ensemble of spins (D, T, R, \\*grid) int8, with their energy per spin."""
    template = spin_template(disorder, spins.shape[3:], temperatures, disorder_ids, spins.shape[2])
    return with_spins(template.assign_attrs(attrs), spins)


def with_spins(template: xr.Dataset, spins: np.ndarray) -> xr.Dataset:
    """Put configurations (D, T, R, \\*grid) int8 and their energies into a template."""
    field = ((*SAMPLE, *grid_dims(template)), spins, {"long_name": "spin", "units": "1"})
    energy = (SAMPLE, energy_of(spins, disorder_of(template)), {"long_name": "energy per spin", "units": "J"})
    return template.assign(field=field, energy=energy)


def spin_template(
    disorder: Disorder, grid: tuple[int, ...], temperatures: np.ndarray, disorder_ids: np.ndarray, replicas: int
) -> xr.Dataset:
    """All of an ensemble but its configurations."""
    import xarray as xr

    bond = {"long_name": "coupling", "units": "J"}
    coords: dict[str, object] = {
        "disorder": ("disorder", np.asarray(disorder_ids), {"long_name": "disorder instance", "units": "1"}),
        "temperature": (
            "temperature", np.asarray(temperatures, dtype=np.float64), {"long_name": "temperature", "units": "J"},
        ),
        "replica": ("replica", np.arange(replicas), {"long_name": "replica", "units": "1"}),
    }  # fmt: skip
    if disorder.edges is None:
        names = lattice_dims(len(grid))
        variables = {"couplings": (("disorder", "direction", *names), disorder.couplings, bond)}
        place = {"long_name": "site", "units": "lattice spacing"}
        coords |= {name: (name, np.arange(n, dtype=np.float64), place) for name, n in zip(names, grid, strict=True)}
        coords["direction"] = ("direction", list(names), {"long_name": "direction of the bond", "units": "1"})
    else:
        names = ("site",)
        ends = {"long_name": "spins joined by the edge", "units": "1"}
        if disorder.levels is None:
            variables = {
                "couplings": (("disorder", "edge"), disorder.couplings, bond),
                "edges": (("edge", "endpoint"), disorder.edges, ends),
            }
        else:
            level = {"long_name": "total energy of the state", "units": "J"}
            variables = {"couplings": (("disorder", STATE), disorder.levels, level)}
        coords["site"] = ("site", np.arange(grid[0]), {"long_name": "site", "units": "1"})
    if disorder.external_field is not None:
        outer = {"long_name": "external field", "units": "J"}
        variables["external_field"] = (("disorder", *names), disorder.external_field, outer)
    said = {2: HAMILTONIAN, 3: OF_TRIPLES, 0: OF_LEVELS}[disorder.ends]
    return xr.Dataset(variables, coords=coords, attrs={"domain": "spins", "hamiltonian": said, **UNITS})


def couplings_template(disorder: Disorder, grid: tuple[int, ...], temperatures: np.ndarray | None = None) -> xr.Dataset:
    """Couplings without configurations: a template (:mod:`physgen.ensemble`), with or without temperatures.

    Its root attribute ``settings`` says what a configuration must say to simulate it.
    """
    points = np.ones(1) if temperatures is None else temperatures
    made = spin_template(disorder, grid, points, np.arange(len(disorder.couplings)), 1)
    made = made.drop_vars("replica" if temperatures is not None else ("replica", "temperature"))
    attrs = {TEMPLATE: "couplings", "settings": "" if temperatures is None else settings_of(points)}
    return made.assign_attrs(attrs)


def settings_of(temperatures: np.ndarray) -> str:
    """What a configuration says to simulate at these temperatures."""
    return f"data.temperatures=[{','.join(f'{t!r}J' for t in np.sort(temperatures).tolist())}]"


def no_network(ensemble: xr.Dataset) -> str:
    """Why no network takes these couplings; empty if one does."""
    if STATE in ensemble["couplings"].dims:
        return "random energies have no couplings between spins that a network could be told"
    if not is_lattice(ensemble) and ensemble["edges"].shape[1] != 2:
        return f"networks know couplings of two spins, these join {ensemble['edges'].shape[1]}"
    return ""


def not_trainable(ensemble: xr.Dataset) -> str:
    """Why no network can be trained on the ensemble; empty if one can."""
    few = ensemble.sizes["disorder"] < 3 and ensemble.sizes["replica"] < 3
    rule = "training, validation and test part need at least 3 instances or replicas"
    return rule if few else ""


def for_training(ensemble: xr.Dataset) -> dict[str, str]:
    """Attributes of data from elsewhere: why no network can be trained on them, else what network they need."""
    reason = not_trainable(ensemble)
    if reason:
        return {"not_trainable": reason}
    return {} if is_lattice(ensemble) else {"training_settings": GRAPH_NETWORK}


def check_spins(ensemble: xr.Dataset) -> xr.Dataset:
    """Return an ensemble of spins that keeps the rules of this file, else raise InputError."""
    if "couplings" not in ensemble:
        raise InputError("an ensemble of spins needs 'couplings' on its bonds (all 1 for a ferromagnet): add them")
    check_finite(ensemble)
    if "edges" in ensemble and ensemble["edges"].shape[1] not in (2, 3):
        raise InputError(f"'edges' join {ensemble['edges'].shape[1]} spins: physgen knows couplings of 2 or 3")
    if "field" in ensemble:
        wanted = (*SAMPLE, *grid_dims(ensemble))
        if ensemble["field"].dims != wanted:
            raise InputError(
                f"'field' of spins has dims {ensemble['field'].dims}, needed are {wanted}: "
                "rename them, and use expand_dims or transpose"
            )
        check_values(ensemble["field"].values)
    temperatures = ensemble["temperature"].values if "temperature" in ensemble.coords else np.array([np.nan])
    if not np.all(temperatures > 0):
        raise InputError(f"temperatures {temperatures.tolist()} must be given and positive, in units of J")
    return ensemble


def check_finite(ensemble: xr.Dataset) -> None:
    """Raise InputError where a coupling or an external field is no finite number."""
    for name in ("couplings", "external_field"):
        values = ensemble[name].values if name in ensemble else np.zeros(1)
        wrong = ~np.isfinite(values)
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise InputError(
                f"{name} {values[first]} at index {first} ({int(wrong.sum())} such values in all): each is a finite "
                "number, 0 where there is no bond: repair or drop that instance"
            )


def check_values(spins: np.ndarray) -> np.ndarray:
    """Return spins as int8 if every one is +1 or -1, else raise InputError."""
    spins = np.asarray(spins)
    if spins.dtype.kind not in "iuf":
        raise InputError(
            f"spins of dtype {spins.dtype}: physgen reads numbers +1 and -1 (no Python objects, they could run code): "
            "save them as an array of int8"
        )
    wrong = ~((spins == 1) | (spins == -1))
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        hint = "map 0 to -1" if spins[first] == 0 else "repair or drop that configuration"
        raise InputError(
            f"spin {spins[first]} at index {first} ({int(wrong.sum())} such values in all); "
            f"every spin is +1 or -1: {hint}"
        )
    return spins.astype(np.int8)
