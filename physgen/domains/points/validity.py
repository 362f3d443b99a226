"""How many sequences are ones of the law, and how often each of these comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples
from physgen.domains.points.laws import law_of, named_law
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.domains.points.binary_sequences import EvenParity, Sequences

MOST = 64  # sequences whose frequencies are counted: the first ones


def valid_sequences(ensemble: xr.Dataset) -> xr.Dataset:
    """Fraction of the sequences that the law of the ensemble allows, 1 for the law itself.

    Returns:
        Dataset of kind scalar, a bare number.
    """
    known = _known(ensemble)
    found = _each(ensemble, lambda x: known.valid(x)[:, None])
    return result_of_samples(
        ensemble, found[..., 0], (), {}, diagnostic="valid_sequences", kind="scalar", units="1",
        long_name="fraction of sequences that the law allows", tolerance=0.05, tolerance_kind="difference",
        tolerance_of="all sequences",
    )  # fmt: skip


def sequence_frequencies(ensemble: xr.Dataset) -> xr.Dataset:
    """Frequency of each sequence of the law, at most 64 of them, among all vectors: its weight for the law itself.

    The chi-square of a comparison is that of all frequencies together, with their covariance.

    Returns:
        Dataset of kind scalar over ``sequence``.
    """
    known = _known(ensemble)
    if not hasattr(known, "matches"):
        raise InputError("sequence_frequencies counts the sequences of a list, which this law has not: leave it out")
    found = _each(ensemble, lambda x: known.matches(x)[:, :MOST])
    coords = {"sequence": (np.arange(found.shape[-1]), {"long_name": "sequence of the law", "units": "1"})}
    return result_of_samples(
        ensemble, found, ("sequence",), coords, diagnostic="sequence_frequencies", kind="scalar", units="1",
        long_name="frequency of the sequence", tolerance=0.05, tolerance_kind="difference",
        tolerance_of="all sequences",
    )  # fmt: skip


def _known(ensemble: xr.Dataset) -> Sequences | EvenParity:
    named = named_law(ensemble)
    known = None if named is None else law_of(named).sequences
    if known is None:
        raise InputError("the vectors name no law of sequences (heartbeat, parity, ...): leave the diagnostic out")
    return known


def _each(ensemble: xr.Dataset, of: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """x (B, d) -> (B, ...) as numbers with an axis of one component."""
    import torch

    return each_sample(ensemble, lambda x: of(torch.from_numpy(x).double()).numpy()[:, None].astype(float))
