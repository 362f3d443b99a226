r"""The window of a mass assignment: what painting points on a lattice does to a spectrum, and how it is taken off.

A scheme of order p (NGP, CIC, TSC, PCS: 1 to 4) spreads each point over p cells along every axis; p - 1 convolutions of
a cell with itself. With :math:`x_i = k_i a_i/2`, a_i the cell, the modes of the points are multiplied by

.. math:: W(k) = \prod_i (\sin x_i / x_i)^p,

and the modes of the lattice hold those of all images :math:`k + 2 k_N n`, each with its own W (Jing 2005,
astro-ph/0409240, eq. 18). Points without correlation, of number density :math:`\bar n`, then have

.. math:: P(k) = \frac{1}{\bar n} C(k), \qquad C(k) = \sum_n W^2(k + 2 k_N n),

which has a closed form (:func:`alias_sum`). Interlacing, the mean of two lattices half a cell apart in Fourier space,
takes off the images whose n sum to an odd number (Sefusatti et al. 2016, 1512.07295, section 3).

Legend: B samples, C components, \*grid cells; wavenumbers in the layout of rfftn.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from physgen.diagnostics.batches import real_type
from physgen.errors import InputError
from physgen.lattice import multiplicity, wavenumbers

if TYPE_CHECKING:
    import xarray as xr

    from physgen.lattice import ModeBins

SCHEMES = {"NGP": 1, "CIC": 2, "TSC": 3, "PCS": 4}  # name -> order p
Diagnostic = Callable[..., "xr.Dataset"]
Deconvolution = Literal["none", "window", "aliased"]
STATED = re.compile(
    r"\s*(?P<scheme>NGP|CIC|TSC|PCS)\b(?P<interlaced>, interlaced)?"
    r"(?:.*window deconvolved \((?P<kind>window|aliased)\))?"
)
# sum_n sinc^2p(x + pi n) and sum_n (-1)^n sinc^2p(x + pi n) / cos x, polynomials in sin^2 x, by order p
PLAIN = {1: (1.0,), 2: (1.0, -2 / 3), 3: (1.0, -1.0, 2 / 15), 4: (1.0, -4 / 3, 2 / 5, -4 / 315)}
ALTERNATING = {1: (1.0,), 2: (1.0, -1 / 6), 3: (1.0, -1 / 2, 1 / 120), 4: (1.0, -5 / 6, 13 / 120, -1 / 5040)}


@dataclass(frozen=True)
class MassAssignment:
    """How points became a field: scheme, whether two lattices were interlaced, what its modes were divided by."""

    scheme: str
    interlaced: bool = False
    deconvolved: Deconvolution = "none"

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise InputError(f"mass assignment {self.scheme!r} is unknown: choose one of {', '.join(SCHEMES)}")

    @classmethod
    def stated(cls, attrs: Mapping[Any, Any]) -> MassAssignment | None:
        """What the root attribute ``mass_assignment`` of an ensemble says; None where it names no scheme.

        It starts with the scheme and ", interlaced" where it was: "CIC of the particles; window not deconvolved", or
        "CIC of the particles; window deconvolved (aliased)".
        """
        found = STATED.match(str(attrs.get("mass_assignment", "")))
        if found is None:
            return None
        kind: Any = found["kind"] or "none"
        return cls(found["scheme"], bool(found["interlaced"]), kind)

    def __str__(self) -> str:
        return f"{self.scheme}{', interlaced' if self.interlaced else ''}"


@dataclass(frozen=True)
class Correction:
    """What is taken off a measured spectrum. The default takes nothing off.

    Attributes:
        deconvolve: "window" divides modes by W, as is common: exact where images are weak, points without correlation
            keep C/W^2. "aliased" divides by the root of C, which makes their spectrum flat up to the corner, and is
            exact where the spectrum is white beyond Nyquist.
        mass_assignment: scheme that the field was made with; None for the one that its attributes state.
        shot_noise: white level that is subtracted, in units of P, with the alias sum and the window that it has in this
            field; "poisson" for the ``poisson_level`` that the attributes state, or one over their ``number_density``;
            None subtracts nothing.
    """

    deconvolve: Deconvolution = "none"
    mass_assignment: str | None = None
    shot_noise: float | Literal["poisson"] | None = None

    def __post_init__(self) -> None:
        if self.deconvolve not in ("none", "window", "aliased"):
            raise InputError(f"deconvolve = {self.deconvolve!r} is unknown: choose one of none, window, aliased")
        if self.mass_assignment is not None:
            MassAssignment(self.mass_assignment)
        noise = self.shot_noise
        if noise is not None and noise != "poisson" and not (isinstance(noise, int | float) and noise >= 0):
            raise InputError(f'shot_noise = {noise!r} must be a level of P of at least 0, or "poisson"')

    @property
    def acts(self) -> bool:
        """Whether anything is taken off."""
        return self.deconvolve != "none" or self.shot_noise is not None

    def of(self, ensemble: xr.Dataset) -> Removal:
        """What this comes to for an ensemble.

        Raises:
            InputError: the ensemble states another scheme, none, or that its window is divided out already; no number
                density where the Poisson level is wanted.
        """
        from physgen.ensemble import space_dims

        if not self.acts:
            return Removal()
        stated = MassAssignment.stated(ensemble.attrs)
        asked = None if self.mass_assignment is None else MassAssignment(self.mass_assignment)
        if stated is not None and asked is not None and stated.scheme != asked.scheme:
            raise InputError(
                f"mass_assignment = {asked.scheme}, but the field states {stated}: leave the option out, or correct "
                "the attribute of the file"
            )
        if stated is not None and stated.deconvolved != "none" and self.deconvolve != "none":
            raise InputError("the window of this field is divided out already: leave deconvolve out")
        assignment = stated or asked
        if assignment is None:
            raise InputError(
                "the field does not state how points became a field (root attribute mass_assignment): give "
                f"mass_assignment, one of {', '.join(SCHEMES)}; a field that was not made of points has no window"
            )
        grid = tuple(ensemble.sizes[d] for d in space_dims(ensemble))
        return Removal(self.deconvolve, assignment, self._level(ensemble), grid)

    def _level(self, ensemble: xr.Dataset) -> float:
        if self.shot_noise is None:
            return 0.0
        if self.shot_noise != "poisson":
            return float(self.shot_noise)
        if "poisson_level" in ensemble.attrs:
            return float(ensemble.attrs["poisson_level"])
        density = float(ensemble.attrs.get("number_density", 0.0))
        if not density > 0:
            raise InputError(
                'shot_noise = "poisson" needs the root attribute number_density, points per volume of the space that '
                "the field lives in, and points that are a Poisson sample (none that started on a lattice): give the "
                "level of P itself, or leave shot_noise out"
            )
        return 1 / density


@dataclass(frozen=True)
class Removal:
    """A :class:`Correction` settled for one lattice."""

    deconvolve: Deconvolution = "none"
    assignment: MassAssignment | None = None
    level: float = 0.0
    grid: tuple[int, ...] = ()

    def transform(self) -> Deconvolved | None:
        """Fields to fields with the window divided out; None where nothing is."""
        if self.deconvolve == "none" or self.assignment is None:
            return None
        return Deconvolved(self.grid, self.assignment, self.deconvolve)

    def noise(self) -> np.ndarray | float:
        """Spectrum of the noise at every mode of the half-spectrum, 0 where none is subtracted."""
        if self.level == 0 or self.assignment is None:
            return 0.0
        done = self.assignment.deconvolved if self.deconvolve == "none" else self.deconvolve
        return self.level * alias_sum(self.grid, self.assignment) / _squared(self.grid, self.assignment, done)

    def noise_in(self, binned: ModeBins) -> np.ndarray | float:
        """Mean of :meth:`noise` over the modes of each bin, (K,)."""
        noise = self.noise()
        return mean_in_bins(noise, binned) if isinstance(noise, np.ndarray) else noise

    @property
    def smoothed(self) -> bool:
        """Whether the modes still carry the window of a scheme of more than one cell."""
        done = self.assignment is None or self.assignment.scheme == "NGP" or self.deconvolve != "none"
        return not done and self.assignment is not None and self.assignment.deconvolved == "none"

    @property
    def words(self) -> str:
        """Half a sentence for the convention of a result."""
        done = {
            "none": "no window divided out",
            "window": f"modes are divided by the window of {self.assignment}",
            "aliased": f"modes are divided by the root of the alias sum of {self.assignment}",
        }[self.deconvolve]
        noise = f"a shot noise of level {self.level:.6g}" if self.level else "no shot noise"
        return f"{noise} is subtracted and {done}"

    @property
    def attrs(self) -> dict[str, Any]:
        """Root attributes of a result: what was done to it; none where nothing was."""
        if self.assignment is None:
            return {}
        return {"mass_assignment": str(self.assignment), "deconvolve": self.deconvolve, "shot_noise": self.level}


class Deconvolved:
    r"""Fields (b, C, \*grid) to the same with their modes divided by the window; the mean stays."""

    __name__ = "deconvolved"

    def __init__(self, grid: Sequence[int], assignment: MassAssignment, kind: Deconvolution) -> None:
        self.grid = tuple(grid)
        self._factor = 1 / np.sqrt(_squared(self.grid, assignment, kind))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        axes = tuple(range(values.ndim - len(self.grid), values.ndim))
        wide = torch.from_numpy(np.ascontiguousarray(values, dtype=real_type(values.dtype)))
        modes = torch.fft.rfftn(wide, dim=axes)
        modes *= torch.from_numpy(self._factor).to(modes.real.dtype)
        return torch.fft.irfftn(modes, s=self.grid, dim=axes).numpy()


def window(grid: Sequence[int], scheme: str) -> np.ndarray:
    r""":math:`W = \prod_i (\sin x_i/x_i)^p`, :math:`x_i = \pi m_i/n_i`, in the layout of rfftn."""
    order = SCHEMES[MassAssignment(scheme).scheme]
    return functools.reduce(np.multiply, [np.sinc(k.numpy() / (2 * math.pi)) ** order for k in wavenumbers(grid)])


def alias_sum(grid: Sequence[int], assignment: MassAssignment) -> np.ndarray:
    r""":math:`C = \sum_n W^2(k + 2k_N n)` in the layout of rfftn, in closed form; interlaced: n of even sum alone.

    Along one axis, with s = sin^2 x: 1; 1 - 2s/3; 1 - s + 2s^2/15; 1 - 4s/3 + 2s^2/5 - 4s^3/315 (Jing 2005, eq. 20).
    Images of odd n enter the alternating sum with a minus sign; the mean of both sums holds the others.
    """
    order = SCHEMES[assignment.scheme]
    axes = [k.numpy() / 2 for k in wavenumbers(grid)]
    plain = functools.reduce(np.multiply, [_polynomial(PLAIN[order], np.sin(x) ** 2) for x in axes])
    if not assignment.interlaced:
        return plain
    alternating = [np.cos(x) * _polynomial(ALTERNATING[order], np.sin(x) ** 2) for x in axes]
    return (plain + functools.reduce(np.multiply, alternating)) / 2


def mean_in_bins(values: np.ndarray, binned: ModeBins) -> np.ndarray:
    """Mean over the modes of each bin of a real, even function of the modes in the layout of rfftn, (K,)."""
    weight = np.broadcast_to(multiplicity(binned.grid).numpy(), values.shape).ravel()
    return np.bincount(binned.index(), weight * values.ravel(), len(binned.k) + 1)[:-1] / binned.count


def _polynomial(coefficients: Sequence[float], s: np.ndarray) -> np.ndarray:
    return np.polynomial.polynomial.polyval(s, np.asarray(coefficients))


def _squared(grid: Sequence[int], assignment: MassAssignment, kind: Deconvolution) -> np.ndarray:
    """What power is divided by."""
    if kind == "none":
        return np.ones(1)
    return alias_sum(grid, assignment) if kind == "aliased" else window(grid, assignment.scheme) ** 2


def without_transform(removal: Removal, transform: Any) -> Any:
    """The transform that the field goes through: one of the two, never both."""
    own = removal.transform()
    if transform is not None and (own is not None or removal.level):
        raise InputError(
            "the spectrum of a function of the field has neither a window nor a shot noise of known form: leave the "
            "correction or the transform out"
        )
    return transform if own is None else own


def corrected(diagnostics: Mapping[str, Diagnostic], correction: Correction) -> dict[str, Diagnostic]:
    """Diagnostics of an ensemble with a correction: those that take one (a parameter ``correction``) get it.

    Raises:
        InputError: the correction acts and none of them takes it.
    """
    if not correction.acts:
        return dict(diagnostics)
    takes = {name for name, function in diagnostics.items() if "correction" in inspect.signature(function).parameters}
    if not takes:
        raise InputError("deconvolve and shot_noise have no effect here: no diagnostic of this physics takes them")
    return {
        name: functools.partial(function, correction=correction) if name in takes else function
        for name, function in diagnostics.items()
    }


def deconvolved(ensemble: xr.Dataset, correction: Correction | None = None) -> xr.Dataset:
    """The ensemble with its window divided out; it says so in ``mass_assignment``.

    Args:
        ensemble: ``field`` made of points, with the root attribute ``mass_assignment``.
        correction: None for Correction("window"); a shot noise is no matter of the field and is refused.

    Raises:
        InputError: see :meth:`Correction.of`.
    """
    from physgen.ensemble import space_dims

    chosen = correction or Correction("window")
    if chosen.deconvolve == "none" or chosen.shot_noise is not None:
        raise InputError("a field is divided by its window and nothing else: give Correction('window') or 'aliased'")
    removal, field = chosen.of(ensemble), ensemble["field"]
    change = removal.transform()
    assert change is not None
    last = field.transpose(..., *space_dims(ensemble))
    found = last.copy(data=change(last.values)).transpose(*field.dims)
    first = str(ensemble.attrs.get("mass_assignment", removal.assignment)).split(";")[0]
    said = f"{first}; window deconvolved ({removal.deconvolve})"
    return ensemble.assign(field=found).assign_attrs(mass_assignment=said)
