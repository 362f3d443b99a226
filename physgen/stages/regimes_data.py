"""What is measured of data alone: speciation, collapse, and where the number of samples stands between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.regimes.speciation import spectral_speciation
from physgen.domains.contract import Domain, with_units
from physgen.ensemble import independent_units, sample_count, space_dims, spacing, units_of_samples
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

FEWEST, FEWEST_UNITS = 16, 4  # below, the largest eigenvalue and every error are guesses
FRAMES = 8


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

    @property
    def cell_size(self) -> tuple[float, ...]:
        """Along each axis, from the coordinates."""
        return tuple(spacing(self.ensemble))


def encoded_samples(ensemble: xr.Dataset, domain: Domain, constants: Any = None) -> Samples:
    """The samples of an ensemble that follow one law, encoded; see :class:`Samples`.

    Args:
        ensemble: of ``domain``.
        constants: of a trained model's encoding; None: fitted here.

    Raises:
        InputError: too few samples or independent units.
    """
    one, chosen = one_law(with_units(ensemble, domain))
    _check_enough(one, chosen)
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
            words.append(f"{ensemble[dim].attrs.get('long_name', dim) if dim in ensemble.coords else dim} {first}")
            ensemble = ensemble.isel({dim: [0]})
    return ensemble, ", ".join(words)


def _check_enough(ensemble: xr.Dataset, chosen: str) -> None:
    count, units = sample_count(ensemble), independent_units(ensemble)
    at = f" at {chosen}" if chosen else ""
    if count < FEWEST:
        raise InputError(
            f"the data hold {count} samples of one law{at}; at least {FEWEST} are needed to tell a largest direction "
            "from noise: give more"
        )
    if units.count < FEWEST_UNITS:
        raise InputError(
            f"the data hold {units.count} independent units ({units.name}){at}; errors need at least {FEWEST_UNITS}: "
            "add some"
        )


def time_grid(top: float, points: int = 20) -> np.ndarray:
    """Times from near 0 to ``top``, denser towards 0."""
    return top * np.linspace(0.12, 1.0, points) ** 1.5


def described_lattice(samples: Samples) -> str:
    """How many samples of which size, in words."""
    sizes = " x ".join(str(samples.ensemble.sizes[d]) for d in space_dims(samples.ensemble))
    channels = f" with {samples.x.shape[1]} components" if samples.x.shape[1] > 1 else ""
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


def measure_data(samples: Samples, seed: int, tell: Callable[[str], None]) -> Found:
    """Speciation and collapse of samples; ``tell`` is called with what begins."""
    found = Found({}, {})
    n, d = len(samples.x), samples.dimension
    found.metrics |= {"n": {"value": float(n)}, "d": {"value": float(d)}, "alpha": {"value": math.log(n) / d}}
    tell("speciation")
    speciation = spectral_speciation(samples.x, samples.unit)
    found.results["speciation"] = speciation
    found.take(speciation, "t_S", "t_S_exact")
    return found
