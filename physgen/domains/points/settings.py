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

    _check_plane(domain)
    _check_sequences(domain)


def _check_plane(domain: Points) -> None:
    from physgen.domains.points.curves import CURVES, FINEST

    if domain.law not in CURVES:
        return
    if domain.dimension != 2:
        raise InputError(f"law {domain.law} lies in the plane, got dimension {domain.dimension}: set dimension: 2")
    if domain.sigma < FINEST:
        raise InputError(
            f"sigma {domain.sigma:g} is below {FINEST:g} of the size of the curve, the least whose density is "
            f"computed: set it to {FINEST:g} or more"
        )
    pieces = len(CURVES[domain.law])
    if pieces > 1 and len(domain.weights) != pieces:
        raise InputError(f"law {domain.law} has {pieces} pieces, got {len(domain.weights)} weights: give one for each")


def _check_sequences(domain: Points) -> None:
    law, size = domain.law, domain.dimension
    if law == "heartbeat" and not 1 <= domain.period <= size:
        raise InputError(f"period must be 1 to dimension = {size} sites, got {domain.period}: change one of them")
    if law != "sequences":
        return
    given = domain.sequences
    wrong = [list(one) for one in given if len(one) != size or not set(one) <= {0, 1}]
    if not given or wrong:
        raise InputError(
            f"sequences must be lists of {size} ones and zeros (dimension), got {wrong[0] if wrong else 'none'}: "
            "give sequences and dimension that fit"
        )
    if len(set(given)) < len(given) or len(given) != len(domain.weights):
        raise InputError(
            f"sequences must differ and have a weight each, got {len(given)} of which {len(set(given))} differ, and "
            f"{len(domain.weights)} weights: drop what stands twice and give as many weights"
        )


def check_drawn(domain: Points) -> None:
    """Raise InputError where ``binary`` is asked of a law of real numbers; data of a file may be of +1 and -1."""
    from physgen.domains.points.laws import BINARY, SPINS

    if domain.binary and domain.law not in (*BINARY, *SPINS):
        raise InputError(
            f"binary: law {domain.law} draws real numbers: leave it out, or take one of {', '.join((*BINARY, *SPINS))}"
        )


def as_fields(said: dict[str, Any]) -> dict[str, Any]:
    """Fields of the domain from JSON: lists become tuples."""
    return {name: _frozen(value) for name, value in said.items()}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
