"""An ensemble a few configurations at a time, whether it is in memory or in a file of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from physgen.ensemble.layout import sample_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    Region = dict[str, slice]

    Read = TypeVar("Read", xr.Dataset, xr.Variable)

BLOCK_VALUES = 2**22  # values of the field in a block: 16 MiB of single precision


def sample_blocks(ensemble: xr.Dataset, values: int | None = None) -> Iterator[xr.Dataset]:
    """The ensemble in parts whose flattened samples, one part after the other, are those of the whole.

    Each part is in memory; of an ensemble that was opened lazily nothing else is. Where the parts are cut depends on
    the shape alone, so that what is summed over them has the same bits wherever the values lie.

    Args:
        values: of the field in a part, at most (but one sample at least); None for BLOCK_VALUES.

    Raises:
        InputError: the values cannot be read, as a checksum of their file says.
    """
    for region in sample_regions(ensemble, values):
        yield read_values(ensemble.isel(region))


def sample_regions(ensemble: xr.Dataset, values: int | None = None) -> list[Region]:
    """Where the parts of :func:`sample_blocks` lie, in the order of the flattened samples.

    Args:
        values: the most values of ``field`` in a part, unless one sample has more; ``BLOCK_VALUES`` where None.

    Returns:
        One ``{dim: slice}`` for each part, for ``ensemble.isel``; dims that are whole in it are left out.
    """
    limit = BLOCK_VALUES if values is None else values
    dims, sizes = sample_dims(ensemble), {str(d): n for d, n in ensemble.sizes.items()}
    return list(_cut(dims, sizes, ensemble["field"].size, limit))


def _cut(dims: Sequence[str], sizes: dict[str, int], values: int, limit: int) -> Iterator[Region]:
    """Slices along the first dim; where one entry of it is too many values, along the next within each entry."""
    if not dims:
        yield {}
        return
    first, *rest = dims
    count = sizes[first]
    rows = limit // max(1, values // count)
    if rows:
        yield from ({first: slice(start, min(start + rows, count))} for start in range(0, count, rows))
        return
    for start in range(count):
        yield from ({first: slice(start, start + 1)} | more for more in _cut(rest, sizes, values // count, limit))


def read_values(ensemble: Read) -> Read:
    """The ensemble, or its field, with its values in memory. Raises InputError where they cannot be read."""
    try:
        return ensemble.load()
    except Exception as error:
        source = ensemble.encoding.get("source", "the ensemble file")
        raise InputError(
            f"{source} is damaged: a checksum does not match its data ({first_line(error)}). "
            "Copy it again from its source or simulate it anew"
        ) from error


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
