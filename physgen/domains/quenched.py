r"""What laws with quenched couplings at several temperatures share, whatever stands on the sites.

Their ensembles have the dims :data:`SAMPLE`; B runs over them in C order. Legend: D instances, T temperatures, R
replicas, d space dims.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.domains.repeated import Repeated
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SAMPLE = ("disorder", "temperature", "replica")
MARGIN = 0.05  # share of the trained range by which a temperature may lie outside it
CLOSE = 1e-5  # relative difference of two temperatures that are the same: files hold them as float32
MATCHED_BY = "temperatures are matched by value, in any order"


def sample_shape(template: xr.Dataset) -> tuple[int, int, int]:
    """Numbers of disorder instances, temperatures and replicas."""
    disorder, temperature, replica = (int(template.sizes[name]) for name in SAMPLE)
    return disorder, temperature, replica


def over_temperatures(values: np.ndarray, template: xr.Dataset) -> torch.Tensor:
    r"""Numbers of each instance (D, ...) in J -> :math:`\beta` times those, of each sample (B, ...) float32.

    In memory they stand once for all replicas (:class:`physgen.domains.repeated.Repeated`).
    """
    shape = values.shape[1:]
    beta = _beta(template).reshape(1, -1, *[1] * len(shape))
    table = (torch.from_numpy(values.astype(np.float64))[:, None] * beta).to(torch.float32)
    laws = torch.arange(table.shape[0] * table.shape[1])
    return Repeated(table.reshape(-1, *shape), laws.repeat_interleave(int(template.sizes["replica"])))


def over_samples(values: np.ndarray, template: xr.Dataset) -> torch.Tensor:
    """What belongs to each instance whatever the temperature, (D, ...) -> of each sample (B, ...); in memory once."""
    _, temperatures, replicas = sample_shape(template)
    return Repeated(torch.from_numpy(values), torch.arange(len(values)).repeat_interleave(temperatures * replicas))


def temperature_labels(template: xr.Dataset) -> torch.Tensor:
    r""":math:`\ln\beta` of each sample, (B, 1) float32."""
    logs = _beta(template).log().to(torch.float32).reshape(1, -1, 1, 1)
    return logs.expand(*sample_shape(template), 1).reshape(-1, 1)


def _beta(template: xr.Dataset) -> torch.Tensor:
    return torch.from_numpy(1 / template["temperature"].values.astype(np.float64))


def around_sites(couplings: np.ndarray) -> np.ndarray:
    r"""Bonds (D, d, \*grid) -> the 2d bonds around each site (D, 2d, \*grid): for each dim, up then down."""
    dimension = couplings.shape[1]
    channels = []
    for axis in range(dimension):
        up = couplings[:, axis]
        channels += [up, np.roll(up, 1, axis + 1)]
    return np.stack(channels, axis=1).astype(np.float64)


def check_trained(temperature: float, trained: Sequence[float]) -> None:
    """Raise InputError where a temperature lies outside the trained ones by more than MARGIN of their range."""
    low, high = min(trained), max(trained)
    slack = max(MARGIN * (high - low), 1e-6 * high)
    if not low - slack <= temperature <= high + slack:
        raise InputError(
            f"the temperature {temperature:g} lies outside those of the training data, {low:g} to {high:g} (and "
            f"{100 * MARGIN:g} % of their range beyond), where nothing was learned: choose one within"
        )


def match_temperatures(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` at the temperatures that both hold, in the order and with the values of the reference."""
    wanted, given = reference["temperature"].values, other["temperature"].values
    close = np.abs(given[None, :] / wanted[:, None] - 1) < CLOSE
    if not close.any():
        raise InputError(
            f"temperatures {_list(wanted)} in the reference and {_list(given)} in {name} do not overlap: "
            f"{MATCHED_BY}; draw or import some of the reference's, in units of J"
        )
    if close.sum(axis=1).max() > 1 or close.sum(axis=0).max() > 1:
        raise InputError(
            f"temperatures {_list(wanted)} in the reference, {_list(given)} in {name}: one stands twice, so they "
            "cannot be matched by value: merge or drop one"
        )
    common = np.flatnonzero(close.any(axis=1))
    chosen = other.isel(temperature=close[common].argmax(axis=1))
    return chosen.assign_coords(temperature=("temperature", wanted[common], other["temperature"].attrs))


def _list(temperatures: np.ndarray) -> str:
    return "[" + ", ".join(f"{t:.6g}" for t in temperatures) + "] J"


def numbers_of_streams(names: Sequence[bytes], template: xr.Dataset, person: bytes) -> np.ndarray:
    """Number (B,) of the noise stream of each sample: a hash of its couplings, temperature and replica number.

    So a sample is the same whatever the number of replicas, instances and temperatures drawn with it, and in whatever
    order. Of instances with equal names (a ferromagnet) the second, third, ... have streams of their own.

    Args:
        names: of each instance, equal where and only where its couplings are. person: of the hash, at most 16 bytes.
    """
    numbers: list[int] = []
    met: Counter[bytes] = Counter()
    for name in names:
        for temperature in template["temperature"].values.tolist():
            for replica in range(template.sizes["replica"]):
                key = name + f"/{met[name]}/{temperature!r}/{replica}".encode()
                hashed = hashlib.blake2b(key, digest_size=8, person=person).digest()
                numbers.append(int.from_bytes(hashed, "little") >> 1)
        met[name] += 1
    return np.array(numbers, dtype=np.int64)
