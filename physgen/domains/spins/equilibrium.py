"""Callen's identity at import: it holds, or it names the convention under which it would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.domains.spins.axes import bonds_up, equal_axes
from physgen.domains.spins.callen import callen_z, predicted_variance
from physgen.domains.spins.layout import SAMPLE, Disorder, disorder_of, grid_dims, spin_template
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LIMIT = 5.0  # |z| above which spins, couplings and temperatures do not belong together
FITS = 3.0  # |z| of another convention that the data do not exclude
MOST = 2e7  # spins that the identity is averaged over; of more, evenly chosen replicas
TRIED = 64  # replicas and instances on which other conventions are tried


class Data(NamedTuple):
    """Spins (D, T, R, *grid), couplings and temperatures that are compared with each other."""

    spins: np.ndarray
    disorder: Disorder
    temperatures: np.ndarray


def check_equilibrium(ensemble: xr.Dataset, strict: bool = True) -> tuple[str, list[str]]:
    """What Callen's identity says of an ensemble, and conventions that it cannot exclude.

    Args:
        strict: raise InputError at \\|z\\| > 5.

    Returns:
        a sentence with z at each temperature, and notes.
    """
    data = Data(ensemble["field"].values, disorder_of(ensemble), ensemble["temperature"].values.astype(float))
    replicas = data.spins.shape[2]
    step = max(1, int(np.ceil(data.spins.size / MOST)))
    z, fitted = _callen(data._replace(spins=data.spins[:, :, :: min(step, replicas)]))
    said = f"Callen's identity <s h> = <h tanh(h/T)>: z = {_list(z)} at T = {_list(data.temperatures)} J"
    small = _part(data)
    if np.abs(z).max() <= LIMIT:
        open_ones = [words for words, other in _single(small) if _worst(other) < FITS]
        notes = [f"these data are too few to exclude: {'; '.join(open_ones)}"] if open_ones else []
        if np.abs(z).max() > FITS:
            notes.append(f"beyond {FITS:g}, so look again: the temperatures that fit best are {_list(fitted)} J")
        return said, notes
    if not strict:
        return f"{said}: not in equilibrium, or conventions that do not belong together (check=off)", []
    fits = _fitting(_single(small)) or _fitting(_double(small))
    if fits:
        hint = "It holds with " + ", or with ".join(f"{words} (|z| <= {w:.1f})" for w, words in fits[:3])
    else:
        hint = f"No other convention tried fits; the temperatures that would fit are {_list(fitted)} J"
    raise InputError(
        f"{said}, beyond {LIMIT:g}: spins, couplings and temperatures do not belong together in equilibrium. {hint}. "
        "If the configurations are not meant to be in equilibrium, give check=off"
    )


def _fitting(conventions: Iterator[tuple[str, Data]]) -> list[tuple[float, str]]:
    """Those that the data do not exclude, the best first."""
    found = [(_worst(other), words) for words, other in conventions]
    return sorted(one for one in found if one[0] <= FITS)


def _list(values: np.ndarray) -> str:
    return ", ".join(f"{v:.3g}" for v in values)


def _callen(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """z and fitted temperature at each temperature."""
    grid = data.spins.shape[3:]
    template = spin_template(
        data.disorder, grid, data.temperatures, np.arange(len(data.spins)), data.spins.shape[2]
    )  # fmt: skip
    found = callen_z(template.assign(field=((*SAMPLE, *grid_dims(template)), data.spins)))
    z = np.nan_to_num(found["z"].values)
    if np.abs(z).max() > LIMIT:
        # cold spins hardly flip: where no rare flip is among the data, their scatter is no error
        least = np.sqrt(predicted_variance(*data))
        z = np.where(least > found["error"].values, found["value"].values / least, z)
    return z, found["fitted_temperature"].values


def _worst(data: Data) -> float:
    return float(np.abs(_callen(data)[0]).max())


def _part(data: Data) -> Data:
    """As many evenly chosen replicas and the first instances as suffice to tell conventions apart."""
    step = max(1, data.spins.shape[2] // TRIED)
    couplings, edges, *rest = data.disorder
    disorder = Disorder(couplings[:TRIED], edges, *(None if one is None else one[:TRIED] for one in rest))
    return Data(data.spins[:TRIED, :, ::step], disorder, data.temperatures)


def _single(data: Data) -> Iterator[tuple[str, Data]]:
    yield from _energies(data)
    yield from _geometries(data)


def _double(data: Data) -> Iterator[tuple[str, Data]]:
    """One convention of the energies and one of the axes together."""
    for geometry, moved in _geometries(data):
        for energy, other in _energies(moved):
            yield f"{geometry} and {energy}", other


def _energies(data: Data) -> Iterator[tuple[str, Data]]:
    """Other readings of signs, factors and temperatures."""
    spins, disorder, temperatures = data
    outer = disorder.external_field

    def scaled(factor: float) -> Data:
        scaled_field = None if outer is None else outer * factor
        levels = None if disorder.levels is None else disorder.levels * factor
        return Data(spins, Disorder(disorder.couplings * factor, disorder.edges, scaled_field, levels), temperatures)

    yield "the other sign of the couplings (sign=plus or minus)", scaled(-1.0)
    yield "half the couplings, each pair counted twice (scale=0.5)", scaled(0.5)
    yield "twice the couplings (scale=2)", scaled(2.0)
    if not np.allclose(temperatures, 1):
        yield "inverse temperatures in place of temperatures (betas=...)", data._replace(temperatures=1 / temperatures)
    if len(temperatures) > 1:
        yield "the temperatures in the reverse order", data._replace(temperatures=temperatures[::-1])


def _geometries(data: Data) -> Iterator[tuple[str, Data]]:
    """Other readings of axes, bonds and instances, as far as they differ from the one at hand."""
    spins, disorder, temperatures = data
    couplings, outer = disorder.couplings, disorder.external_field
    for order in equal_axes(spins.shape[:3]):
        turned = spins.transpose([order.index(name) for name in SAMPLE] + list(range(3, spins.ndim)))
        if not np.array_equal(turned, spins):
            yield f"sample axes in the order axes={','.join(order)},...", data._replace(spins=turned)
    if len(spins) > 1 and outer is None:
        for shift, words in ((1, "earlier"), (-1, "later")):
            rolled = np.roll(couplings, -shift, axis=0)
            if not np.array_equal(rolled, couplings):
                yield (
                    f"the couplings shifted by one instance (spins of instance i stand with couplings {words} by one)",
                    data._replace(disorder=disorder._replace(couplings=rolled)),
                )
    if disorder.edges is not None or np.all(couplings == couplings.flat[0]):
        return
    dimension, grid = couplings.shape[1], spins.shape[3:]
    down = bonds_up(couplings)
    if not np.array_equal(down, couplings):
        yield "bonds that lead one step down (bonds=down)", data._replace(disorder=disorder._replace(couplings=down))
    if dimension > 1:
        names = "zyx"[3 - dimension :]
        swapped = disorder._replace(couplings=couplings[:, ::-1])
        yield f"the directions in the order directions={','.join(names[::-1])}", data._replace(disorder=swapped)
        if len(set(grid)) == 1:
            axes = [0, 1, 2, *range(spins.ndim - 1, 2, -1)]
            words = f"the spins' space axes in the order {','.join(names[::-1])} (axes=..., or transpose them)"
            yield words, Data(spins.transpose(axes), disorder, temperatures)
