"""What is measured of data alone: speciation, collapse, and where the number of samples stands between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.regimes.speciation import spectral_speciation
from physgen.diffusion.exact import GaussianField
from physgen.domains.contract import Domain, with_units
from physgen.ensemble import independent_units, sample_count, space_dims, spacing, units_of_samples
from physgen.errors import InputError
from physgen.stages.regimes_classes import measure_classes
from physgen.stages.regimes_collapse import measure_collapse
from physgen.stages.regimes_film import film_of_data

if TYPE_CHECKING:
    import torch
    import xarray as xr

FEWEST = (16, 4)  # samples and independent units: below, the largest eigenvalue and every error are guesses
FEWEST_UNSEEN = (8, 2)  # of the samples that a network has not seen


@dataclass(frozen=True)
class Samples:
    r"""Samples of one law, encoded.

    Attributes:
        ensemble: that they are of, one condition alone where it holds several that are not draws of one law.
        x: (n, C, \*grid). condition: of the denoiser, rows (n,). unit: (n,) number of the independent unit.
        domain: their physics; constants: of its encoding.
        orbit: symmetries modulo which two of them are the same, see ``Domain.orbit``.
        chosen: the condition that was chosen, in words; empty where there is one alone.
    """

    ensemble: xr.Dataset
    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    unit: np.ndarray
    domain: Domain
    constants: Any
    orbit: str
    chosen: str = ""

    @property
    def dimension(self) -> int:
        """Numbers d in each sample."""
        return math.prod(self.x.shape[1:])

    @cached_property
    def exact(self) -> Any:
        """The exact denoiser of their law; None where it has none, or merely the Gaussian field of their spectrum."""
        try:
            found = self.domain.exact_denoiser(self.ensemble, self.constants)
        except InputError:
            return None
        return None if isinstance(found, GaussianField) else found

    @property
    def cell_size(self) -> tuple[float, ...]:
        """Along each axis, from the coordinates."""
        return tuple(spacing(self.ensemble))


def encoded_samples(
    ensemble: xr.Dataset, domain: Domain, constants: Any = None, fewest: tuple[int, int] = FEWEST
) -> Samples:
    """The samples of an ensemble that follow one law, encoded; see :class:`Samples`.

    Args:
        ensemble: of ``domain``.
        constants: of a trained model's encoding; None: fitted here.
        fewest: samples and independent units that are needed.

    Raises:
        InputError: too few samples or independent units.
    """
    one, chosen = one_law(with_units(ensemble, domain))
    _check_enough(one, chosen, fewest)
    constants = domain.fit_encoding(one) if constants is None else constants
    x, condition = domain.encode(one, constants)
    _, unit = np.unique(units_of_samples(one), return_inverse=True)
    return Samples(one, x, dict(condition), unit, domain, constants, domain.orbit(one), chosen)


def one_law(ensemble: xr.Dataset) -> tuple[xr.Dataset, str]:
    """The samples at the first point of every condition that is no draw of one law, and that point in words."""
    units, words = independent_units(ensemble), []
    conditions = list(units.kept)
    if units.within is not None and units.condition_dim not in (None, units.within):
        conditions.insert(0, str(units.condition_dim))
    for dim in conditions:
        if ensemble.sizes.get(dim, 1) > 1:
            first = ensemble[dim].values[0] if dim in ensemble.coords else 0
            attrs = ensemble[dim].attrs if dim in ensemble.coords else {}
            measured_in = str(attrs.get("units", "1"))
            words.append(f"{attrs.get('long_name', dim)} {first}" + ("" if measured_in == "1" else f" {measured_in}"))
            ensemble = ensemble.isel({dim: [0]})
    return ensemble, ", ".join(words)


def _check_enough(ensemble: xr.Dataset, chosen: str, fewest: tuple[int, int]) -> None:
    count, units = sample_count(ensemble), independent_units(ensemble)
    of = f"{ensemble.attrs['part']} part" if "part" in ensemble.attrs else "data"
    at = f" at {chosen}" if chosen else ""
    if count < fewest[0]:
        raise InputError(
            f"the {of} hold {count} samples of one law{at}; at least {fewest[0]} are needed to tell a largest "
            "direction from noise: give more"
        )
    if units.count < fewest[1]:
        raise InputError(
            f"the {of} hold {units.count} independent units ({units.name}){at}; errors need at least {fewest[1]}: "
            "add some"
        )


def described_lattice(samples: Samples) -> str:
    """How many samples of which size, in words."""
    dims, components = space_dims(samples.ensemble), samples.x.shape[1]
    if not dims:
        return f"{len(samples.x)} vectors of {components} components"
    sizes = " x ".join(str(samples.ensemble.sizes[d]) for d in dims)
    channels = f" with {components} components" if components > 1 else ""
    return f"{len(samples.x)} samples of {sizes}{channels}"


@dataclass
class Found:
    """What has been measured so far: ``results`` by name, and ``metrics`` name -> {"value", "error"}."""

    results: dict[str, xr.Dataset]
    metrics: dict[str, dict[str, float]]

    def take(self, result: xr.Dataset, *names: str, **renamed: str) -> None:
        """Scalars of a result with their errors as metrics; ``renamed`` says metric=name in the result."""
        for metric, name in {**{name: name for name in names}, **renamed}.items():
            error = float(result[f"{name}_error"]) if f"{name}_error" in result else math.nan
            self.metrics[metric] = {"value": float(result[name]), "error": error}

    def put(self, name: str, value: float, error: float = math.nan) -> None:
        """One metric."""
        self.metrics[name] = {"value": float(value), "error": float(error)}

    def count(self, name: str, value: float) -> None:
        """One metric that is exact."""
        self.metrics[name] = {"value": float(value)}


def measure_data(samples: Samples, seed: int, tell: Callable[[str], None]) -> Found:
    """Speciation and collapse of samples; ``tell`` is called with what begins."""
    found = Found({}, {})
    n, d = len(samples.x), samples.dimension
    for name, value in (("n", n), ("d", d), ("alpha", math.log(n) / d)):
        found.count(name, value)
    tell("speciation")
    speciation = spectral_speciation(samples.x, samples.unit)
    found.results["speciation"] = speciation
    found.take(speciation, "t_S", "t_S_exact")
    measure_collapse(samples, found, seed, tell)
    tell("classes")
    measure_classes(samples, found, seed)
    plain = found.metrics.get("t_C_plain", found.metrics["t_C"])["value"]
    found.results["film_strip"] = film_of_data(samples, found.metrics["t_S"]["value"], plain, seed)
    return found
