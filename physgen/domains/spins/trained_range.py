"""What a network of spins has learned about: strengths of couplings, temperatures, external fields. Else it is refused.

A network that draws far from them may miss whole states, which neither its weights nor their tail show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.quenched import check_trained
from physgen.domains.spins.layout import disorder_of
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LARGEST_FIELD = 1.5  # a network takes external fields up to so many times the strongest trained ones
STRONGEST = 1.5  # and couplings that are colder, as J/T, than the coldest trained ones by so much


def coupling_strength(ensemble: xr.Dataset) -> float:
    r"""How strong the couplings of the strongest instance are, in J.

    On a lattice the root mean square of the bonds that are there; on a graph the root mean square, over the sites, of
    the field of independent spins, :math:`\sqrt{N^{-1}\sum_{ij} J_{ij}^2}`, 1 in Sherrington-Kirkpatrick models.
    """
    disorder = disorder_of(ensemble)
    squares = np.square(disorder.couplings.reshape(len(disorder.couplings), -1).astype(np.float64))
    if disorder.edges is None:
        counts = np.maximum(np.count_nonzero(squares, axis=1), 1)
    else:
        counts = np.full(len(squares), ensemble.sizes["site"] / 2)
    return float(np.sqrt(squares.sum(axis=1) / counts).max())


def check_temperatures_of_network(temperatures: np.ndarray, like: xr.Dataset, constants: Mapping[str, Any]) -> None:
    r"""Raise InputError where a temperature, or J/T, lies outside those that a network of these constants has seen.

    Only J/T counts: couplings r times as strong as the trained ones at T are those at T/r. Networks that do not say
    their ``strength`` were trained on lattices with bonds of unit variance, or are not asked.
    """
    trained = constants["temperatures"]
    known = constants.get("strength", None if constants["graph"] else 1.0)
    ratio = (coupling_strength(like) if known else 0) / (known or 1)
    other = ratio > STRONGEST or 0 < ratio < 1 / STRONGEST
    for temperature in temperatures.tolist():
        try:
            check_trained(temperature, trained)
            fits = temperature >= ratio * min(trained) / STRONGEST
        except InputError:
            if not other:
                raise
            fits = False
        if not fits:
            raise InputError(
                f"T = {temperature:g} J: the couplings are {ratio:.3g} times as strong as those of the training data, "
                f"whose {min(trained):g} to {max(trained):g} J are {ratio * min(trained):.3g} to "
                f"{ratio * max(trained):.3g} J here, and elsewhere nothing was learned. Choose a temperature of these "
                f"and, as only J/T counts, their unit: physgen import couplings FILE scale={1 / ratio:.3g} sign=... -o "
                f"J.h5, temperatures times {1 / ratio:.3g}"
            )


def field_strengths(ensemble: xr.Dataset) -> tuple[float, float]:
    """Of the external field: the largest root mean square of an instance, and the largest of all; 0 without one."""
    outer = disorder_of(ensemble).external_field
    if outer is None:
        return 0.0, 0.0
    flat = outer.reshape(len(outer), -1).astype(np.float64)
    return float(np.sqrt(np.square(flat).mean(axis=1)).max()), float(np.abs(flat).max())


def check_external_field(like: xr.Dataset, constants: Mapping[str, Any]) -> None:
    """Raise InputError where a network of these constants has learned nothing about the external fields of ``like``.

    A network that learned from fields takes weaker ones, and none.
    """
    spread, largest = field_strengths(like)
    trained = constants.get("external_field")
    if not largest or (trained and spread <= LARGEST_FIELD * trained[0] and largest <= LARGEST_FIELD * trained[1]):
        return
    rule = "the network was trained without any"
    if trained:
        rule = (
            f"those of its training data go to {trained[0]:.3g} J and {trained[1]:.3g} J, and beyond {LARGEST_FIELD:g} "
            "times that nothing was learned"
        )
    raise InputError(
        f"the couplings have external fields of {spread:.3g} J root mean square, {largest:.3g} J at most; {rule}: "
        "train one on such fields (data.random_field, data.uniform_field)"
    )
