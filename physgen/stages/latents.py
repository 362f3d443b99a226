"""The stages that turn an ensemble into one of latents and back; between them `train` and `sample` work as ever.

A folder holds the autoencoder: ``weights.safetensors`` and ``model.json``, ``like.h5`` (one configuration, for what an
ensemble says beside its values), ``information.json`` (what is lost of each mode) and its figure.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.config import check_config
from physgen.diffusion.latent import (
    Autoencoder,
    AutoencoderOptions,
    Fit,
    Information,
    add_residual,
    fit_autoencoder,
    kept_information,
    residual_power,
)
from physgen.diffusion.values import Real
from physgen.domains.contract import Domain, get_domain, with_units
from physgen.domains.known import ANY_FIELD
from physgen.ensemble import (
    flatten,
    load_ensemble,
    sample_dims,
    save_ensemble,
    space_dims,
    split,
    splitting_label,
    units_of_samples,
)
from physgen.errors import InputError
from physgen.stages.data import check_new
from physgen.storage.disk import write_atomically
from physgen.storage.weights import export_weights, load_weights

if TYPE_CHECKING:
    import xarray as xr

LIKE, INFORMATION = "like.h5", "information.json"
HELD_OUT = 0.15  # of the independent units: what is lost is measured on these, which no autoencoder was trained on
AT_ONCE = 64  # fields that pass an autoencoder together


@dataclass(frozen=True)
class LatentModel:
    """An autoencoder with what it was trained in: the domain, its encoding and one configuration.

    Attributes:
        autoencoder: of encoded fields. domain, constants: that encode them. like: one configuration.
        missing: power of each mode that does not come back (C, \\*rfft). information: of held-out units, if measured.
    """

    autoencoder: Autoencoder
    domain: Domain
    constants: Mapping[str, Any]
    like: xr.Dataset
    missing: torch.Tensor
    information: Information | None = None

    def encode(self, ensemble: xr.Dataset) -> torch.Tensor:
        r"""Latents (B, K, \*grid/f) of an ensemble of the domain."""
        x = self.domain.encode(ensemble, self.constants)[0]
        return _by_parts(self.autoencoder.encode, x)

    def back(self, z: torch.Tensor) -> torch.Tensor:
        r"""Encoded fields (B, C, \*grid) of latents."""
        return _by_parts(self.autoencoder.decode, z)


def _by_parts(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([run(x[first : first + AT_ONCE]) for first in range(0, len(x), AT_ONCE)])


def fit_latents(
    ensemble: xr.Dataset,
    options: AutoencoderOptions,
    fit: Fit | None = None,
    domain: Domain | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LatentModel:
    """Train an autoencoder on an ensemble, but for 15 % of its units, on which it says what is lost of each mode.

    Args:
        ensemble: fields of real values in a periodic box. options, fit: shape and training of the autoencoder.
        domain: the physics that encodes them; None for the one of the configuration that the file names, else of
            its name with defaults.

    Raises:
        InputError: fields that are no real numbers, a box that is not periodic, or one that the factor does not divide.
    """
    fit = fit or Fit()
    physics = domain or domain_behind(ensemble)
    if not isinstance(physics.values, Real):
        raise InputError(
            f"{physics.name} holds {physics.values.name} values: latents are made of real fields alone; train on the "
            "configurations themselves"
        )
    if not space_dims(ensemble) or "site" in space_dims(ensemble):
        raise InputError("latents are made of fields on a lattice, which these data are not: train on them themselves")
    ensemble = with_units(ensemble, physics)
    by = splitting_label(ensemble, physics.split_by, 2)
    parts = split(ensemble, by, {"train": 1 - HELD_OUT, "heldout": HELD_OUT}, fit.seed)
    constants = physics.fit_encoding(parts["train"])
    if not constants.get("periodic", True):
        raise InputError(
            "an autoencoder of latents is one of periodic boxes, and these are not: train on the fields themselves"
        )
    x, heldout = (physics.encode(parts[name], constants)[0] for name in ("train", "heldout"))
    if min(x.shape[2:]) < 2 * options.factor or any(size % options.factor for size in x.shape[2:]):
        raise InputError(
            f"factor={options.factor} must divide every grid size at least twice, got {tuple(x.shape[2:])}: choose a "
            "smaller factor"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fit.seed)
            autoencoder = Autoencoder(x.ndim - 2, x.shape[1], options)
    except ValueError as error:
        raise InputError(f"autoencoder: {error}") from None
    fit_autoencoder(autoencoder, x, fit, progress)
    came, cells = _by_parts(autoencoder, heldout), constants.get("cell_size")
    units = np.asarray(units_of_samples(parts["heldout"])) if by in parts["heldout"].variables else None
    information = kept_information(heldout, came, units, cells)
    missing = residual_power(x, _by_parts(autoencoder, x), cells)
    first = {dim: [0] for dim in sample_dims(ensemble)}
    return LatentModel(autoencoder.eval(), physics, constants, ensemble.isel(first).load(), missing, information)


def domain_behind(ensemble: xr.Dataset) -> Domain:
    """The domain with the settings that made an ensemble, where it names a configuration of its own; else defaults."""
    name = str(ensemble.attrs.get("domain", "")) or ANY_FIELD
    told = json.loads(str(ensemble.attrs.get("config_json", "null")))
    if isinstance(told, dict) and told.get("domain") == name and "name" in told:
        found = check_config(told, "the configuration that the ensemble names").data
        assert isinstance(found, Domain)
        return found
    return get_domain(name)()


# --- ensembles of latents -------------------------------------------------------------------------------


def latent_ensemble(model: LatentModel, ensemble: xr.Dataset) -> xr.Dataset:
    """The ensemble of latents: at every f-th place of the box, with the samples, labels and units of the fields."""
    z, factor = model.encode(ensemble), model.autoencoder.options.factor
    space, samples = space_dims(ensemble), list(sample_dims(ensemble))
    kept = ensemble.drop_vars([n for n in ensemble.variables if {*space, "component"} & {*ensemble[n].dims}])
    axes = [d for d in ensemble["field"].dims if d in space]
    channels = [] if z.shape[1] == 1 else ["component"]
    shape = [ensemble.sizes[d] for d in samples] + list(z.shape[1:] if channels else z.shape[2:])
    field = (*samples, *channels, *axes), z.numpy().reshape(shape), {"long_name": "latent", "units": "1"}
    coords: dict[str, Any] = {}
    coords |= {d: ensemble[d].isel({d: slice(None, None, factor)}) for d in axes if d in ensemble.coords}
    if channels:
        coords["component"] = ("component", np.arange(z.shape[1]), {"long_name": "channel", "units": "1"})
    told = {
        "domain": ANY_FIELD, "labels": " ".join(model.domain.label_ranges(model.constants)), "periodic": 1,
        "fields_domain": model.domain.name,
    }  # fmt: skip
    kept = with_units(kept, model.domain)
    kept.attrs = {k: v for k, v in kept.attrs.items() if k not in ("config_json", "field_kind")}
    return kept.assign(field=field).assign_coords(coords).assign_attrs(told)


def field_ensemble(model: LatentModel, latents: xr.Dataset, residual: bool = False, seed: int = 0) -> xr.Dataset:
    """The fields of an ensemble of latents, in physical units, under its labels.

    ``residual`` adds a Gaussian field of the power that does not come back, so that P(k) is right by construction.
    """
    z = torch.from_numpy(flatten(latents).astype("f4"))
    if z.shape[1] != model.autoencoder.options.channels:
        raise InputError(
            f"these latents have {z.shape[1]} channels, the autoencoder {model.autoencoder.options.channels}: give the "
            "folder that was written beside the latents that were trained on"
        )
    x = model.back(z)
    like = model.like
    wanted = tuple(like.sizes[d] for d in like["field"].dims if d in space_dims(like))
    if tuple(x.shape[2:]) != wanted:
        raise InputError(
            f"these latents make fields of {tuple(x.shape[2:])}, the autoencoder was trained on {wanted}: give latents "
            "of that lattice"
        )
    x = add_residual(x, model.missing, seed) if residual else x
    dropped = [n for n in latents.variables if {*space_dims(latents), "component"} & {*latents[n].dims}]
    coords = {name: like[name] for name in like.coords if {*like[name].dims} <= {*space_dims(like), "component"}}
    template = latents.drop_vars(dropped).assign_coords(coords)
    template.attrs = dict(model.domain.request(like, 1, {}, model.constants).attrs)
    return model.domain.decode(x, template, model.constants)


# --- files ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LatentOptions:
    """Shape and training of an autoencoder: :class:`physgen.diffusion.latent.AutoencoderOptions` and ``Fit``."""

    channels: int = 1
    factor: int = 2
    width: int = 16
    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 2e-3
    seed: int = 0

    def parts(self) -> tuple[AutoencoderOptions, Fit]:
        """The two. Raises InputError for a value without meaning."""
        try:
            shape = AutoencoderOptions(self.channels, self.factor, self.width)
            return shape, Fit(self.steps, self.batch_size, self.learning_rate, self.seed)
        except ValueError as error:
            raise InputError(f"autoencoder: {error}") from None


def encode_file(
    source: Path,
    output: Path,
    options: LatentOptions | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, LatentModel]:
    """Write the latents of an ensemble file, and their autoencoder beside them, or use that of ``folder``.

    Returns the folder of the autoencoder, and what it holds. Raises InputError as :func:`fit_latents`, and for an
    output that exists.
    """
    check_new(output)
    shape, fit = (options or LatentOptions()).parts()
    ensemble = load_ensemble(source)
    if folder is None:
        folder = output.with_name(f"{output.stem}-autoencoder")
        check_new(folder)
        model = fit_latents(ensemble, shape, fit, progress=progress)
        save_latent_model(folder, model)
    else:
        model = load_latent_model(folder)
    save_ensemble(latent_ensemble(model, ensemble), output)
    return folder, model


def information_table(model: LatentModel) -> str:
    """Text: what comes back of each shell of modes, of all components together; "" where it was not measured."""
    found = model.information
    if found is None:
        return ""
    lines = [f"{'k':>9} {'modes':>6} {'transfer T':>16} {'correlation r':>16} {'residual power':>16}"]
    step = max(1, len(found.k) // 12)
    for i in range(0, len(found.k), step):
        cells = [(found.transfer, found.transfer_error), (found.correlation, found.correlation_error),
                 (found.residual, found.residual_error)]  # fmt: skip
        told = "".join(f" {value[0, i]:>8.4f} +-{error[0, i]:.4f}" for value, error in cells)
        lines.append(f"{found.k[i]:>9.4g} {found.modes[i]:>6.0f}{told}")
    return "\n".join(lines) + f"\nresidual of all modes: {found.total:.4f} +- {found.total_error:.4f} of the variance"


def decode_file(latents: Path, folder: Path, output: Path, residual: bool = False, seed: int = 0) -> Path:
    """Write the fields of a file of latents. Raises InputError for files that do not belong together."""
    check_new(output)
    model = load_latent_model(folder)
    return save_ensemble(field_ensemble(model, load_ensemble(latents), residual, seed), output)


def save_latent_model(folder: Path, model: LatentModel) -> Path:
    """Write the folder of an autoencoder."""
    described = {
        "options": model.autoencoder.options.as_dict(), "domain": model.domain.name,
        "data": dataclasses.asdict(model.domain), "constants": dict(model.constants),
        "components": model.autoencoder.components, "dimension": len(space_dims(model.like)),
    }  # fmt: skip
    weights = {**model.autoencoder.state_dict(), "missing_power": model.missing}
    export_weights(folder, weights, described)
    save_ensemble(model.like, folder / LIKE)
    if model.information is not None:
        told = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(model.information).items()}
        write_atomically(folder / INFORMATION, json.dumps(told, indent=1))
    return folder


def load_latent_model(folder: Path) -> LatentModel:
    """Read what :func:`save_latent_model` wrote. Raises InputError where it is missing or damaged."""
    weights, told = load_weights(folder)
    missing = weights.pop("missing_power", torch.zeros(0))
    autoencoder = Autoencoder(told["dimension"], told["components"], AutoencoderOptions(**told["options"]))
    autoencoder.load_state_dict(weights)
    data = {name: tuple(v) if isinstance(v, list) else v for name, v in told["data"].items()}
    domain = get_domain(told["domain"])(**data)
    return LatentModel(autoencoder.eval(), domain, told["constants"], load_ensemble(folder / LIKE), missing)
