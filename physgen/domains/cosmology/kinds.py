r"""What the values of a field say about what it is: a kind is confronted with them, never taken on trust.

Rules. A density contrast has mean 0 within its scatter, some cell below 0, and no cell below -1. Counts are whole
numbers unless a mass assignment spread the particles. A density, a surface density is not negative and no logarithm
of itself. What contradicts a rule is refused; what is doubtful is accepted only where the user said the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
from scipy.special import stdtrit

from physgen.domains.cosmology.encoding import LOWEST
from physgen.ensemble.scratch import give_back_pages
from physgen.errors import InputError

# what the user may type -> the kind that is stored; 1+delta is stored as delta
KINDS = {**{kind: kind for kind in LOWEST}, "convergence": "real", "1+delta": "delta"}
FALSE_ALARM = 1e-4  # how often the mean of a true density contrast is doubted
OFF_ZERO = 0.5  # mean from which on a contrast is doubted where nobody named the kind
SLAB_SCATTER = 0.2  # a mean that a few thin slabs can have: one of 32 Mpc/h in a box of 128 Mpc/h scatters by 0.11
BUNIT_KINDS = {  # unit that a file gives, without blanks and in lower case -> kind
    "(msun/h)/(mpc/h)^2": "surface_density",
    "msun/h/(mpc/h)^2": "surface_density",
    "hmsun/mpc^2": "surface_density",
    "(msun/h)/(mpc/h)^3": "density",
    "msun/h/(mpc/h)^3": "density",
    "h^2msun/mpc^3": "density",
    "count": "counts",
    "counts": "counts",
    "ct": "counts",
    "delta": "delta",
    "overdensity": "delta",
    "densitycontrast": "delta",
    "1+delta": "1+delta",
    "rho/mean": "1+delta",
    "kappa": "convergence",
    "convergence": "convergence",
}
DIMENSIONLESS = ("", "1", "none", "dimensionless", "unitless")


@dataclass(frozen=True)
class Values:
    """The numbers that decide: extremes, mean and the margin of its chance deviations, scatter of the cells."""

    low: float
    high: float
    mean: float
    margin: float
    std: float
    whole: bool

    @classmethod
    def of(cls, fields: np.ndarray, simulation: np.ndarray) -> Values:
        r"""Of fields (samples, \*grid).

        The margin of the mean is Student's quantile times the scatter of the means of simulations, at least that of
        white noise; of one or two simulations only the scatter of single cells is known, which bounds it.
        """
        means, squares, low, high, whole = np.empty(len(fields)), np.empty(len(fields)), np.inf, -np.inf, True
        for i, one in enumerate(fields):  # once: they may be a mapped file larger than the memory
            wide = one.astype(np.float64)
            means[i], low, high = wide.mean(), min(low, float(one.min())), max(high, float(one.max()))
            squares[i] = np.square(wide - means[i]).mean()
            whole = whole and bool(np.all(one == np.rint(one)))
            give_back_pages(one)
        _, group = np.unique(simulation, return_inverse=True)
        units = np.bincount(group, weights=means) / np.bincount(group)
        mean, count = float(means.mean()), len(units)
        std = float(np.sqrt(np.mean(squares + (means - mean) ** 2)))
        scatter, quantile = std, 5.0
        if count > 2:
            scatter = max(float(units.std(ddof=1)), std / np.sqrt(fields.size / count))
            quantile = float(stdtrit(count - 1, 1 - FALSE_ALARM / 2))
        margin = quantile * scatter / np.sqrt(count)
        whole = whole and max(-low, high) < 2**24  # every float32 beyond that is a whole number
        return cls(low, high, mean, margin, std, whole)

    @property
    def range(self) -> str:
        """For messages."""
        return f"values from {self.low:.4g} to {self.high:.4g}, mean {self.mean:.4g}"

    @property
    def like_a_logarithm(self) -> bool:
        """Ten orders of magnitude above one and hardly spread: log10 of a density in Msun/h and Mpc/h."""
        return 4 < self.mean < 20 and self.std < 0.3 * self.mean and self.high - self.low < 15 and not self.whole

    @property
    def off_zero(self) -> bool:
        """Whether the mean is not 0 within its scatter, nor near enough for a few thin slabs."""
        return abs(self.mean) > max(self.margin, SLAB_SCATTER)


def confront(fields: np.ndarray, kind: str | None, simulation: np.ndarray, source: object, given: dict) -> str:
    r"""The kind of fields (samples, \*grid) after all rules.

    Args:
        kind: what the user or the file said, or None: then it is a density contrast if the values allow no doubt.
        given: "mass_assignment" and "units" where the user or the file named them, "periodic" (a cut-out patch may
            lie in an overdense place), "angular" (a map of the sky).

    Raises:
        InputError: a contradiction, or a doubt about a kind that nobody named.
    """
    values = Values.of(fields, simulation)
    if kind is None:
        return _unspoken(fields, values, source, given)
    if kind == "delta":
        _check_delta(fields, values, source, given)
    elif kind == "counts" and not values.whole and not given.get("mass_assignment"):
        raise InputError(
            f"{source} holds {_first_fraction(fields):.6g}, counts are whole numbers: give field_kind=density, or the "
            "scheme that spread the particles over cells, e.g. mass_assignment=CIC"
        )
    elif kind in ("density", "surface_density") and values.like_a_logarithm and not given.get("units"):
        raise InputError(
            f"{source} holds {values.range}: the logarithm of a {kind.replace('_', ' ')}, not the density itself; save "
            "10**values, or give field_kind=real to keep the logarithm, or units=UNIT if these are its units"
        )
    return kind


def _check_delta(fields: np.ndarray, values: Values, source: object, given: dict) -> None:
    """Certain contradictions of a density contrast that the user asserted."""
    _check_lowest(fields, values, source)
    if not given.get("periodic", True):
        return
    if values.low >= 0:
        remedy = "field_kind=counts" if values.whole else "field_kind=1+delta subtracts 1, positive keeps the values"
        raise InputError(
            f"{source} holds {values.range}: a density contrast has mean 0, so some cell lies below 0 ({remedy}; "
            "periodic=no for a patch of a larger map)"
        )
    if values.off_zero and abs(values.mean) > values.std:
        raise InputError(
            f"{source} holds {values.range}: the mean of a density contrast is 0 within its scatter "
            f"(here {values.margin:.2g}); give its kind (field_kind=real keeps the values as they are)"
        )


def _check_lowest(fields: np.ndarray, values: Values, source: object) -> None:
    if values.low < -1 - 1e-4:
        where = ", ".join(str(int(i)) for i in np.unravel_index(int(fields.argmin()), fields.shape))
        raise InputError(
            f"{source} holds {values.low:g} at index ({where}), but delta is at least -1 ({values.range}): a "
            "logarithm, a convergence or a standardised field is field_kind=real; else check the units"
        )


def _unspoken(fields: np.ndarray, values: Values, source: object, given: dict) -> str:
    """The kind where nobody said one."""
    if given.get("angular") and values.low < 0 and not values.off_zero:
        return "real"
    _check_lowest(fields, values, source)
    guess = _guess(values)
    if guess is None:
        return "delta"
    raise InputError(
        f"{source} holds {values.range}: no density contrast without doubt (mean 0, minimum at least -1). {guess}"
    )


def _guess(values: Values) -> str | None:
    """What to ask where the values are not a density contrast; None where they are one."""
    if values.low >= 0:
        if values.whole:
            return "Whole numbers: if they count particles, give field_kind=counts"
        if abs(values.mean - 1) < max(0.2, values.margin) and values.mean < 2:
            return "With mean 1 they look like 1 + delta: give field_kind=1+delta (1 is subtracted) or positive"
        if values.like_a_logarithm:
            return "They look like log10 of a density: save 10**values, or give field_kind=real to keep the logarithm"
        return "Give field_kind: density, surface_density or positive"
    if values.whole:
        return "Every value is a whole number: give field_kind (real keeps them as they are)"
    if values.off_zero and abs(values.mean) > OFF_ZERO:
        return f"Its mean is not 0 within {values.margin:.2g}: give field_kind=delta if it is one all the same"
    return None


def mean_note(fields: np.ndarray, simulation: np.ndarray) -> str:
    """What to tell of a contrast that nobody named and whose mean is off zero by more than chance; else nothing."""
    values = Values.of(fields, simulation)
    if not values.off_zero:
        return ""
    return (
        f"taken as a density contrast, though its mean {values.mean:.3g} is not 0 within {values.margin:.2g}: give "
        "field_kind if it is something else"
    )


def _first_fraction(fields: np.ndarray) -> float:
    flat = fields.reshape(-1)
    return float(flat[int(np.argmax(flat != np.rint(flat)))])


@overload
def parse_kind(text: str) -> str: ...


@overload
def parse_kind(text: None) -> None: ...


def parse_kind(text: str | None) -> str | None:
    """The kind as the user typed it, checked."""
    if text is None or text in KINDS:
        return text
    raise InputError(f"field_kind = {text!r} is unknown: choose one of {', '.join(KINDS)}")


def kind_of_units(units: str, kind: str | None, source: object) -> str | None:
    """The kind that goes with the unit that a file gives (BUNIT, an attribute ``units``), confronted with ``kind``.

    Raises:
        InputError: a dimensionless kind with a unit, a density with the unit of another, or the unit of a logarithm.
    """
    plain = units.replace(" ", "").replace("**", "^").replace("M_sun", "Msun").replace("solMass", "Msun").lower()
    if plain in DIMENSIONLESS:
        if kind in ("density", "surface_density") and plain:
            raise InputError(f"{source} has the unit {units!r}, but field_kind = {kind} has another: give its kind")
        return kind
    if plain.startswith(("log", "dex", "ln")) and kind != "real":
        raise InputError(
            f"{source} says the unit {units!r}, a logarithm: save the field itself, or give field_kind=real to keep it"
        )
    named = BUNIT_KINDS.get(plain)
    if kind is None:
        return named or ("positive" if not plain.startswith(("log", "dex", "ln")) else "real")
    if named in ("delta", "1+delta", "convergence") and kind == named:
        return kind
    same_sort = {named, kind} == {"counts", "positive"} or kind in ("positive", "real")
    dimensionless = kind in ("delta", "1+delta", "convergence") or (kind == "counts" and named is None)
    if dimensionless or (named and named != kind and not same_sort):
        said = f"that is field_kind={named}" if named else "which this kind does not have"
        raise InputError(f"{source} says the unit {units!r}, {said}; you gave field_kind={kind}: correct one of them")
    return kind


def shown_units(units: str) -> str:
    """The unit of the values that a file gives, "" where it only names a kind or says that there is none."""
    plain = units.replace(" ", "").lower()
    named = BUNIT_KINDS.get(plain)
    return "" if plain in DIMENSIONLESS or named in ("delta", "1+delta", "convergence", "counts") else units
