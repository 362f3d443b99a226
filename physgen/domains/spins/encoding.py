r"""Between an ensemble of spins and the tensors of the core.

x is the spin as a float, so the noise level s counts in units of one spin. The condition of a lattice is
``channels``: :math:`\beta J` of the 2d bonds around each site, for each space dim in order the bond up (+dim) and
the bond down (-dim). ``labels`` is :math:`\ln\beta`, or that of the one temperature to which training data of several
were scaled. Sparse graphs get ``edges`` (B, M, 2), the spins that each bond
joins, and ``bonds``, :math:`\beta J` (B, M); others ``matrix``, the dense :math:`\beta J` (B, N, N).
An external field is ``field``, :math:`\beta h` of each site; where there is none, there is no such entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.domains.quenched import (
    around_sites,
    numbers_of_streams,
    over_samples,
    over_temperatures,
    sample_shape,
    temperature_labels,
)
from physgen.domains.spins.couplings import bond_counts, bonds_of_instances, coupling_matrix
from physgen.domains.spins.layout import (
    STATE,
    check_spins,
    disorder_of,
    grid_dims,
    instance_digests,
    no_network,
    settings_of,
    with_spins,
)
from physgen.domains.spins.planted import ALL_TEMPERATURES
from physgen.domains.spins.trained_range import (
    check_external_field,
    check_temperatures_of_network,
    coupling_strength,
    field_strengths,
)
from physgen.ensemble import TEMPLATE, is_template
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

OF_COUPLINGS = (TEMPLATE, "settings", "import_notes", "format", "source")  # attributes of a template alone
LEAST_PAIRS = 8  # N^2 for each bond from which on a list of edges is as fast as the matrix: measured at 32 to 256 spins
OF_LATTICES = "; a text file of a lattice numbers its sites in C order (z, y, x) and may say '# shape = 4,4,16'"
SCALED = "scaled_to"  # among the constants: the temperature of training data that stand for several by their bonds


def conditions(ensemble: xr.Dataset, constants: Mapping[str, Any] | None = None) -> dict[str, torch.Tensor]:
    """``labels`` (B, 1) and ``channels`` (B, 2d, \\*grid), or ``matrix`` (B, N, N), or ``edges`` and ``bonds``; B runs
    over SAMPLE in C order.

    And ``field`` (B, 1, \\*grid) where an external field is not zero everywhere. Edges are as many as ``constants`` say
    of the training part, where they do and no instance has more, so that parts of an ensemble agree.
    """
    check_spins(ensemble)
    disorder = disorder_of(ensemble)
    found = {"labels": temperature_labels(ensemble)}
    if constants and SCALED in constants:
        found["labels"] = torch.full_like(found["labels"], -float(np.log(constants[SCALED])))
    if disorder.edges is None:
        found["channels"] = over_temperatures(around_sites(disorder.couplings), ensemble)
    else:
        spins = ensemble.sizes["site"]
        most = int((constants or {}).get("bonds", 1))
        edges, bonds = bonds_of_instances(disorder.edges, disorder.couplings, spins, most)
        if LEAST_PAIRS * bonds.shape[1] <= spins**2:
            found |= {"edges": over_samples(edges, ensemble), "bonds": over_temperatures(bonds, ensemble)}
        else:
            dense = np.stack([coupling_matrix(disorder.edges, row, spins) for row in disorder.couplings])
            found["matrix"] = over_temperatures(dense, ensemble)
    if disorder.external_field is not None and np.any(disorder.external_field):
        found["field"] = over_temperatures(disorder.external_field[:, None], ensemble)
    return found


def encode_spins(ensemble: xr.Dataset) -> torch.Tensor:
    """Spins as float32 (B, 1, \\*grid)."""
    check_spins(ensemble)
    field = ensemble["field"].values
    return torch.from_numpy(field.reshape(-1, 1, *field.shape[3:]).astype(np.float32))


def decode_spins(x: torch.Tensor, template: xr.Dataset) -> xr.Dataset:
    """The sign of x (B, 1, \\*grid) as spins of the template, energies recomputed from them."""
    grid = tuple(int(template.sizes[name]) for name in grid_dims(template))
    shape = (*sample_shape(template), *grid)
    if x.numel() != np.prod(shape):
        raise InputError(f"{tuple(x.shape)} values do not fill a template of shape {shape}: draw as many as it asks")
    if not torch.isfinite(x).all():
        raise InputError("the sampler returned values that are not finite: train longer, or lower the learning rate")
    spins = np.where(x.detach().cpu().numpy().reshape(shape) >= 0, 1, -1).astype(np.int8)
    return with_spins(template, spins)


def request_spins(
    like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A template of ``n`` replicas for each disorder instance and temperature of ``like``.

    Couplings without temperatures are taken at those of the training part (``constants``). A ``temperature`` that is
    given lies within these, or outside by at most a share of their range; ``trained_range.py`` says what else has to.
    """
    import xarray as xr

    unknown = set(given) - {"temperature"}
    if unknown:
        raise InputError(f"condition {sorted(unknown)[0]!r} is unknown to spins; only 'temperature' can be given")
    if n < 1:
        raise InputError(f"{n} replicas were asked for; at least 1 is needed")
    if constants and (reason := no_network(like)):
        raise InputError(f"{reason}: no network can draw for them; `physgen simulate CONFIG --given FILE` can")
    if constants and (grid_dims(like) == ("site",)) != constants["graph"]:
        kinds, networks = ("a general graph", "a lattice"), ("graph_passing", "message_passing")
        raise InputError(
            f"the couplings stand on {kinds[constants['graph']]}, the network was trained on "
            f"{kinds[not constants['graph']]}: it cannot draw for them; a network of kind "
            f"{networks[constants['graph']]} can (`physgen domains` lists those that come with physgen), and `physgen "
            f"simulate CONFIG --given FILE`{'' if constants['graph'] else OF_LATTICES}"
        )
    temperature = _temperatures(like, given, constants)
    if constants:
        check_external_field(like, constants)
        check_temperatures_of_network(temperature.values, like, constants)
    kept = [name for name in ("couplings", "edges", "external_field", "planted") if name in like]
    coords = {k: v for k, v in like.coords.items() if "temperature" not in v.dims and "replica" not in v.dims}
    attrs = {name: value for name, value in like.attrs.items() if name not in OF_COUPLINGS}
    if is_template(like):  # what simulates the same, to judge the result by
        attrs["settings"] = settings_of(temperature.values)
    template = xr.Dataset({name: like[name].variable for name in kept}, coords=coords, attrs=attrs)
    return check_spins(template.assign_coords(
        temperature=temperature,
        replica=xr.Variable("replica", np.arange(n), {"long_name": "replica", "units": "1"}),
    ))  # fmt: skip


def _temperatures(like: xr.Dataset, given: Mapping[str, float], constants: Mapping[str, Any] | None) -> xr.Variable:
    """The given temperature, else those of ``like``, else those of the training part."""
    import xarray as xr

    described = {"long_name": "temperature", "units": "J"}
    if "temperature" in given:
        return xr.Variable("temperature", [float(given["temperature"])], described)
    if "temperature" in like.coords:
        return like["temperature"].variable
    if not constants:
        raise InputError("the couplings have no temperatures: give the condition temperature, in units of J")
    return xr.Variable("temperature", [float(t) for t in constants["temperatures"]], described)


def sample_streams(template: xr.Dataset) -> np.ndarray:
    """Number (B,) of the noise stream of each sample, :func:`physgen.domains.quenched.numbers_of_streams`."""
    names = [digest.encode() for digest in instance_digests(template).tolist()]
    return numbers_of_streams(names, template, b"physgen-spins")


def encoding_constants(train: xr.Dataset) -> dict[str, Any]:
    """What a network for these spins is built for; spins themselves need no scaling.

    ``bonds`` are the most of an instance of a graph, with room for others where their number varies.
    ``strength`` is that of the couplings, in J. ``external_field`` is there where one acts: in J, the largest root mean
    square over the sites of an instance, and the largest on any site.
    """
    if STATE in train["couplings"].dims or disorder_of(train).ends != 2:
        raise InputError(f"{no_network(train)}: such data can be judged, and judge others, with physgen evaluate")
    grid = grid_dims(train)
    found: dict[str, Any] = {"grid": [int(train.sizes[name]) for name in grid], "graph": grid == ("site",)}
    found["temperatures"] = [float(t) for t in train.attrs.get(ALL_TEMPERATURES, train["temperature"].values)]
    found["strength"] = coupling_strength(train)
    if ALL_TEMPERATURES in train.attrs:  # the strongest bonds stand for the coldest of these temperatures
        found[SCALED] = float(train["temperature"].values[0])
        found["strength"] *= min(found["temperatures"]) / found[SCALED]
    if found["graph"]:
        found["bonds"] = _most_bonds(train)
    strengths = field_strengths(train)
    return found | ({"external_field": list(strengths)} if any(strengths) else {})


def _most_bonds(ensemble: xr.Dataset) -> int:
    disorder = disorder_of(ensemble)
    assert disorder.edges is not None
    counts = bond_counts(disorder.edges, disorder.couplings, int(ensemble.sizes["site"]))
    return int(counts.max() if counts.max() == counts.min() else np.ceil(1.1 * counts.max()) + 8)
