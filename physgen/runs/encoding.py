"""The encoding of a run: shapes and noise levels for the core, and what its domain fitted on the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from physgen.ensemble import sample_dims
from physgen.errors import InputError
from physgen.runs.encoded import Encoded, encode_part

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.domains.contract import Domain


@dataclass(frozen=True)
class Encoding:
    r"""What the numbers of a trained model mean; written to ``encoding.json`` and ``model.json``.

    Attributes:
        grid: shape of the lattice. channels: C of x (B, C, \*grid).
        condition_shapes: shape of each condition without its batch axis.
        sample_dims: dims that count configurations, in the order in which they are flattened.
        s_min, s_max: range of the noise levels that were trained, in units of the encoded field.
        domain: what the domain's ``fit_encoding`` returned, given back to its ``encode``, ``decode``, ... as it is.
        cell_size: along each axis, where cells are not cubic or have a unit.
    """

    grid: tuple[int, ...]
    channels: int
    condition_shapes: Mapping[str, tuple[int, ...]]
    sample_dims: tuple[str, ...]
    s_min: float
    s_max: float
    domain: Mapping[str, Any] = field(default_factory=dict)
    cell_size: tuple[float, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, \\*grid) of one configuration."""
        return (self.channels, *self.grid)

    @property
    def labels(self) -> int:
        """Number of scalar labels of the condition."""
        return (self.condition_shapes.get("labels") or (0,))[0]

    @property
    def for_network(self) -> dict[str, Any]:
        """The constants of the domain and the shapes, for ``Domain.network``."""
        shapes = {name: list(shape) for name, shape in self.condition_shapes.items()}
        return {**self.domain, "grid": list(self.grid), "channels": self.channels, "condition_shapes": shapes}

    def count(self, template: xr.Dataset) -> int:
        """Number of configurations that a template without values asks for."""
        found = 1
        for dim in self.sample_dims:
            found *= template.sizes.get(dim, 1)
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON values; :meth:`from_json` gives an equal object back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str) -> Encoding:
        """What :meth:`to_json` wrote; ``source`` names the file. Raises InputError where a key is missing."""
        try:
            return cls(
                grid=tuple(content["grid"]),
                channels=int(content["channels"]),
                condition_shapes={name: tuple(shape) for name, shape in content["condition_shapes"].items()},
                sample_dims=tuple(content["sample_dims"]),
                s_min=float(content["s_min"]),
                s_max=float(content["s_max"]),
                domain=dict(content["domain"]),
                cell_size=None if content["cell_size"] is None else tuple(content["cell_size"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{source} does not hold an encoding of this version ({type(error).__name__}: {error}): "
                "it was written by an earlier physgen or damaged; train anew under another name"
            ) from None


def fit_encoding(
    domain: Domain, train: xr.Dataset, s_min: float | None = None, s_max: float | None = None
) -> tuple[Encoding, torch.Tensor, dict[str, torch.Tensor]]:
    r"""Fit the encoding on the training part: (encoding, x (B, C, \*grid), condition), in memory.

    Args:
        s_min, s_max: noise levels of the configuration; left out, they follow from the Fourier modes of x
            (:meth:`physgen.diffusion.values.Values.noise_range`).
    """
    constants = dict(domain.fit_encoding(train))
    found = encode_part(domain, train, constants)
    last, first = domain.values.noise_range(found.x, constants.get("cell_size"), s_min, s_max)
    return describe_encoding(constants, found, sample_dims(train), last, first), found.x, found.condition


def describe_encoding(
    constants: Mapping[str, Any], found: Encoded, dims: Sequence[str], s_min: float, s_max: float
) -> Encoding:
    """The encoding of constants: with the shapes of what it encoded, its sample dims, and the range of noise levels."""
    cells = constants.get("cell_size")
    return Encoding(
        grid=tuple(found.x.shape[2:]),
        channels=found.x.shape[1],
        condition_shapes={name: tuple(value.shape[1:]) for name, value in found.condition.items()},
        sample_dims=tuple(dims),
        s_min=s_min,
        s_max=s_max,
        domain=constants,
        cell_size=None if cells is None else tuple(cells),
    )
