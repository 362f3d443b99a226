"""The cosmology domain: fields of the large-scale structure, labelled by the parameters of their universe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from physgen.domains.contract import Domain
from physgen.domains.cosmology.background import CosmologyParams
from physgen.domains.cosmology.formats import EXPORTS, IMPORTS
from physgen.domains.cosmology.settings import check, settle

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.domains.cosmology.painting import Painting
    from physgen.domains.cosmology.simulate import SimulationBox
    from physgen.domains.cosmology.suite import Task
    from physgen.lattice import Draws


def _option(default: Any, help: str, unit: str | None = None, **bounds: float) -> Any:
    metadata = {"help": help, **({"unit": unit} if unit else {}), **bounds}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Cosmology(Domain):
    """Density fields from particle-mesh simulations or from files. The fields are the data section of a config."""

    name: ClassVar[str] = "cosmology"
    description: ClassVar[str] = "density fields of the large-scale structure: 2-D slabs and 3-D boxes, periodic"
    split_by: ClassVar[str] = "simulation"
    formats: ClassVar[dict[str, str]] = IMPORTS

    exports: ClassVar[dict[str, str]] = EXPORTS
    label_words: ClassVar[str] = (
        "those that the data have: Omega_m and sigma_8 of simulations (redshift where there are several snapshots), of "
        "files the columns of their table"
    )
    learning_settings: ClassVar[tuple[str, ...]] = ("transform", "zero_mode")

    cells: int = _option(64, "cells per side of the fields", min=4)
    dimension: Literal[2, 3] = _option(2, "2 for projected slabs, 3 for the whole box")
    box_size: float = _option(128.0, "side of the periodic box", unit="Mpc/h", min=1.0)
    thickness: float = _option(32.0, "thickness of a slab; divides the box", unit="Mpc/h")
    slabs_per_axis: int = _option(4, "slabs along each of the three axes of a box", min=1)
    simulations: int = _option(64, "simulations, each with its own seed and cosmology", min=1)
    first_simulation: int = _option(0, "number of the first one; those of other numbers have other phases", min=0)
    simulator: Literal["fastpm", "2lpt", "zeldovich", "linear"] = _option(
        "fastpm", "fastpm, or a cheap surrogate from the same initial phases: 2lpt, zeldovich, linear (no particles)"
    )
    particles: int = _option(64, "particles per side", min=4)
    mesh_factor: float = _option(2.0, "force mesh cells per particle spacing", min=1.0, max=4.0)
    steps: int = _option(20, "time steps from redshift 19, equal in scale factor", min=2)
    redshift: float = _option(0.0, "redshift of the fields; of several snapshots the lowest", min=0.0, max=8.0)
    snapshots: int = _option(
        1, "snapshots of each simulation between redshift and highest_redshift; redshift is a label then", min=1
    )
    highest_redshift: float = _option(2.0, "end of the range of redshifts of several snapshots", min=0.0, max=8.0)
    Omega_m: tuple[float, float] = _option((0.1, 0.5), "range of the matter density in the Latin hypercube")
    sigma_8: tuple[float, float] = _option((0.6, 1.0), "range of the linear amplitude in the Latin hypercube")
    Omega_b: float = _option(0.049, "baryon density", min=0.0)
    h: float = _option(0.6711, "Hubble constant over 100 km/s/Mpc", min=0.1)
    n_s: float = _option(0.9624, "slope of the primordial spectrum")
    cosmology: str | None = _option(
        None, "an astropy cosmology by its name, e.g. Planck18, for its Omega_m, sigma_8, Omega_b, h and n_s"
    )
    linear_power: Literal["auto", "camb", "eisenstein_hu"] = _option(
        "auto", "linear power; auto is camb where it is installed, else the fit eisenstein_hu, up to 19 % off at "
        "Omega_m = 0.1: settled when the configuration is read, and recorded as what it is"
    )  # fmt: skip
    painting: Literal["sheet", "particles"] = _option(
        "sheet", "what is painted: the phase-space sheet between the particles, free of their lattice, or the particles"
    )
    mass_assignment: Literal["NGP", "CIC", "TSC", "PCS"] = _option(
        "CIC", "scheme that spreads what is painted over cells"
    )
    interlaced: bool = _option(
        False, "mean with a second mesh half a cell off, which takes off half of the aliases; the field is of kind real"
    )
    redshift_space: bool = _option(
        False, "positions as velocities shift them: along z in boxes, along the line of sight of each slab in slabs"
    )
    transform: Literal["gaussian", "log", "asinh"] = _option(
        "gaussian", "encoding: normal scores of ln(1 + delta), ln(1 + delta) or asinh(delta)"
    )
    zero_mode: Literal["mean", "encoded"] = _option(
        "mean", "what the mode k = 0 of the encoding is: the mean of the field, so that a map has the mass that was "
        "drawn for it, or that of the encoded cells"
    )  # fmt: skip
    device: Literal["cpu", "cuda"] = _option("cpu", "where the simulations run", execution=True)

    def __post_init__(self) -> None:
        settle(self)
        check(self)
        for Omega_m in self.Omega_m:
            self._params(Omega_m, self.sigma_8[0])

    def _params(self, Omega_m: float, sigma_8: float) -> CosmologyParams:
        return CosmologyParams(float(Omega_m), float(sigma_8), self.Omega_b, self.h, self.n_s)

    # --- making and reading ---------------------------------------------------------------------

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """2LPT + FastPM simulations of a Latin hypercube in (Omega_m, sigma_8), painted with CIC; field_kind delta."""
        from physgen.domains.cosmology.suite import latin_hypercube, make_tasks

        painting, box = self._painting(), self._box()
        first = self.first_simulation
        points = latin_hypercube(self.simulations, [self.Omega_m, self.sigma_8], seed, first)
        params = [self._params(*point) for point in points]
        tasks = make_tasks(box, painting, params, seed, self.highest_redshift, self.snapshots, first)
        return self._simulated(tasks, first + np.arange(self.simulations), processes, progress)

    def simulate_given(
        self, template: xr.Dataset, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> xr.Dataset:
        """One new simulation for each simulation number of the template, at its cosmology and redshifts, with all maps.

        The template holds Omega_m, sigma_8 and, where it varies, redshift, as generated fields do. The seeds are
        others than those of ``simulate`` with the same ``seed``.
        """
        from physgen.domains.cosmology.suite import tasks_given

        tasks, numbers = tasks_given(template, self._box(), self._painting(), self._params, seed)
        return self._simulated(tasks, numbers, processes, progress)

    def _painting(self) -> Painting:
        from physgen.domains.cosmology.painting import Painting

        depth = round(self.thickness / self.box_size * self.cells)
        ways = (self.painting == "sheet", self.mass_assignment, self.interlaced, self.redshift_space)
        return Painting(self.cells, self.dimension, depth, self.slabs_per_axis, *ways)

    def _box(self) -> SimulationBox:
        from physgen.domains.cosmology.simulate import SimulationBox

        settings = (self.box_size, self.particles, self.mesh_factor, self.steps, self.redshift)
        return SimulationBox(*settings, simulator=self.simulator)

    def _simulated(
        self, tasks: list[Task], numbers: np.ndarray, processes: int, progress: Callable[[int, int], None] | None
    ) -> xr.Dataset:
        from physgen.domains.cosmology.simulated import simulated

        return simulated(self, tasks, numbers, processes, progress)

    @classmethod
    def load(cls, format: str, paths: Sequence[Path], **options: str) -> xr.Dataset:
        """Read foreign files; see physgen.domains.cosmology.load for the options of each format."""
        from physgen.domains.contract import with_units
        from physgen.domains.cosmology.load import load

        return with_units(load(format, list(paths), options).assign_attrs(domain=cls.name))

    @classmethod
    def export(cls, format: str, ensemble: xr.Dataset, folder: Path, name: str) -> list[str | Path]:
        """Write fields for other programs; see physgen.domains.cosmology.exporting."""
        from physgen.domains.cosmology.exporting import export

        return export(format, ensemble, folder, name)

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """An ensemble that names no physics as density fields, after the checks of an importer; see ``adopt.py``."""
        from physgen.domains.contract import with_units
        from physgen.domains.cosmology.adopt import adopt_fields

        return with_units(adopt_fields(ensemble, like).assign_attrs(domain=cls.name), cls)

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """Box (the number of cells times their size), redshift, kind and units of the field, ranges of the labels."""
        from physgen.domains.cosmology.described import facts

        return facts(ensemble)

    # --- encoding ---------------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """See physgen.domains.cosmology.fitting.fit_encoding; ``condition_fields`` of further fields (channels.py)."""
        from physgen.domains.cosmology.channels import fit_channels
        from physgen.domains.cosmology.fitting import fit_encoding

        found = fit_encoding(train, self.transform, self.zero_mode)
        return found | {"condition_fields": fit_channels(train, self.transform)}

    def numbered(self, ensemble: xr.Dataset) -> xr.Dataset:
        """With a variable for the number along each further sample dim without a coordinate: it is a condition."""
        from physgen.domains.cosmology.conditions import with_numbers

        return with_numbers(ensemble)

    def encode(
        self, ensemble: xr.Dataset, constants: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        r"""(x (B, C, \*grid) of zero mean and unit variance over the training split, {"labels": (B, n)})."""
        from physgen.domains.cosmology.encoding import encode_field

        return encode_field(ensemble, constants), self.condition(ensemble, constants)

    def condition(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """``labels`` scaled to [-1, 1] over their training range, ``channels`` of further fields; what there is."""
        from physgen.domains.cosmology.channels import encode_channels
        from physgen.domains.cosmology.conditions import encode_labels

        return encode_labels(ensemble, constants) | encode_channels(ensemble, constants)

    def log_jacobian(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> np.ndarray:
        """ln of the Jacobian of the encoding at each field, (B,); see physgen.domains.cosmology.jacobian."""
        from physgen.domains.cosmology.jacobian import log_jacobian

        return log_jacobian(ensemble, constants)

    def label_ranges(self, constants: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        """Label -> its range in the training part; one that never varied has a range of no width."""
        held = {name: (float(value), float(value)) for name, value in constants["fixed_labels"].items()}
        found = {name: (float(low), float(high)) for name, (low, high) in constants["labels"].items()}
        return found | held

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: Mapping[str, Any]) -> xr.Dataset:
        """Fields in physical units with the labels of ``template``; attribute ``clipped_fraction`` counts cells."""
        from physgen.domains.cosmology.conditions import dims_of_samples
        from physgen.domains.cosmology.encoding import component_constants, decode_field, join_kinds

        values, clipped = decode_field(x, constants)
        samples = dims_of_samples(template, constants)
        sizes = [template.sizes[d] for d in samples[1:]]
        channel = ("component",) if "components" in constants else ()
        dims = (*samples, *channel, *("z", "y", "x")[-len(constants["grid"]) :])
        values = values.reshape(-1, *sizes, *(values.shape[1:] if channel else values.shape[2:]))
        kind = join_kinds([part["field_kind"] for part in component_constants(constants)])
        shown = {"display_offset": 1.0} if kind == "delta" else {}
        made = template.assign(field=(dims, values, constants["field_attrs"] | shown))
        return made.assign_attrs(field_kind=kind, clipped_fraction=clipped)

    def decode_values(self, x: torch.Tensor, constants: Mapping[str, Any]) -> torch.Tensor:
        """Field values of encoded x, differentiable; see torch_values.decoded_values."""
        from physgen.domains.cosmology.torch_values import decoded_values

        return decoded_values(x, constants)

    def decode_shift(self, x: torch.Tensor, constants: Mapping[str, Any]) -> torch.Tensor | None:
        """The shift that gives each field the mean of its zero mode; see torch_values.zero_mode_shift."""
        from physgen.domains.cosmology.torch_values import zero_mode_shift

        return zero_mode_shift(x, constants)

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """``n`` maps under the conditions of those of ``like``, all of them in turn; ``given`` labels replace theirs.

        ``given`` must lie in the range of the training part (``constants``). See conditions.request_fields.
        """
        from physgen.domains.cosmology.conditions import request_fields

        return request_fields(like, n, given, constants)

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """A random translation, reflection and permutation of equal axes for each sample and its condition fields.

        The box is that of the ``constants``: without translations if it is not periodic.
        """
        from physgen.lattice import random_moves

        box, grid = constants or {}, tuple(x.shape[2:])
        moves = random_moves(grid, draws, box.get("cell_size"), box.get("periodic", True))
        moved = {"channels": moves.move(condition["channels"])} if "channels" in condition else {}
        return moves.move(x), {**condition, **moved}

    # --- learning and judging ---------------------------------------------------------------------

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Statistics of delta and, where halos would dominate, of log10(1 + delta)."""
        from physgen.domains.cosmology import statistics

        return dict(statistics.DIAGNOSTICS)

    def diagnostics_of(self, reference: xr.Dataset) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Those, and multipoles about the line of sight of boxes in redshift space."""
        from physgen.domains.cosmology.statistics import multipoles_of

        return self.diagnostics() | multipoles_of(reference)

    def restrict(self, reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        """The reference, stating the mean density that both are divided by: its halves then have none of their own."""
        if "mean_density" in other.attrs and "mean_density" not in reference.attrs:
            return reference.assign_attrs(mean_density=other.attrs["mean_density"])
        return reference

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other`` with the constants of ``reference``; what cannot be compared is refused. See confront.confront."""
        from physgen.diagnostics.label_fit import FRAME, label_frame
        from physgen.domains.cosmology.confront import confront
        from physgen.domains.cosmology.discreteness import of_points
        from physgen.domains.cosmology.statistics import FINER_BIN, finer_bins

        found = of_points(confront(reference, other, name))
        finer = reference.attrs.get(FINER_BIN) or finer_bins(reference)
        return found.assign_attrs({FINER_BIN: int(finer), FRAME: reference.attrs.get(FRAME) or label_frame(reference)})

    def memorization(
        self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float
    ) -> xr.Dataset:
        """Likeness to the nearest training field, modulo translations and lattice symmetries, beside held-out data."""
        from physgen.domains.cosmology.statistics import memorization

        return memorization(generated, train, heldout, **judged)

    def exact_denoiser(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Any:
        """Wiener filter of the Gaussian field that has the training spectrum, in encoded space; labels are ignored."""
        from physgen.diffusion.exact import GaussianField
        from physgen.domains.cosmology.encoding import spectrum_grid

        return GaussianField(spectrum_grid(constants))
