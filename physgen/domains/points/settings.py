"""What the fields of the domain must keep so that they name a law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physgen.errors import InputError

if TYPE_CHECKING:
    from physgen.domains.points.domain import Points


def check_settings(domain: Points) -> None:
    """Raise InputError with the value, the rule and the remedy where the fields of the law do not fit together."""
    from physgen.domains.points.laws import blocks_of

    weights, classes, size = domain.weights, len(domain.weights), domain.dimension
    if not weights or min(weights) <= 0:
        raise InputError(f"weights {list(weights)} must be positive numbers, one for each class")
    if domain.law == "two_gaussians" and classes != 2:
        raise InputError(
            f"law two_gaussians has 2 weights, got {classes}: take law mixture for other numbers of classes"
        )
    if domain.law == "mixture" and domain.means:
        wrong = [len(mean) for mean in domain.means if len(mean) != size]
        if len(domain.means) != classes or wrong:
            raise InputError(
                f"means must be {classes} centres, as many as weights, of {size} numbers each, got {len(domain.means)}"
                f"{f' with {wrong[0]} numbers' if wrong else ''}: give dimension, weights and means that fit"
            )
    elif domain.law in ("two_gaussians", "mixture") and blocks_of(classes) > size:
        raise InputError(f"{classes} classes cannot differ in the signs of {size} components: give means or dimension")
    spectrum = domain.spectrum
    if domain.law == "gaussian" and spectrum and (len(spectrum) != size or min(spectrum) < 0 or max(spectrum) <= 0):
        raise InputError(f"spectrum must be {size} variances >= 0 (dimension), got {list(spectrum)}")
    if domain.law == "curie_weiss" and not domain.beta > 0:
        raise InputError(f"beta must be positive, got {domain.beta:g}: it is an inverse temperature")
    if domain.law == "ising_chains" and not len(domain.bonds) == classes == len(domain.tilts or domain.bonds):
        raise InputError(
            f"law ising_chains needs a bond, a weight and (if any) a tilt for each class, got {len(domain.bonds)} "
            f"bonds, {classes} weights, {len(domain.tilts)} tilts: give as many of each"
        )


def as_fields(said: dict[str, Any]) -> dict[str, Any]:
    """Fields of the domain from JSON: lists become tuples."""
    return {name: _frozen(value) for name, value in said.items()}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
