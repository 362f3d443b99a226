"""The laws of a request: one for each condition, with a norm of its own, and what weighs paths against it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.domains.repeated import equal_rows
from physgen.errors import InputError
from physgen.runs.model import Model

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diffusion.values import PathMaking

FEWEST = 25  # weights of a law: of fewer the tail cannot be judged


@dataclass(frozen=True)
class Weighed:
    """What the paths of a request are weighed with.

    Attributes:
        laws: the rows of each law. condition: tensors that lead with all rows. target: (x, row) -> ln of the law.
        how: kernel and read-out; None for masked diffusion, which needs none. numbers: noise stream of each row.
    """

    laws: Laws
    condition: Mapping[str, torch.Tensor]
    target: Any
    how: PathMaking | None
    numbers: Sequence[int]

    @classmethod
    def of(cls, model: Model, template: xr.Dataset) -> Weighed:
        """Raises InputError where the domain knows no law to weigh against, or a law has fewer than 25 draws."""
        encoding, domain = model.encoding, model.domain
        target, how = domain.log_target(template, encoding.domain), domain.values.path_kernel()
        if model.is_masked:
            how = None
        if target is None or (how is None and not model.is_masked):
            raise InputError(
                f"weights need the law itself, which {domain.name} does not know of its data: leave them out (for "
                "weights of a guided law give guidance=W too)"
            )
        condition = dict(domain.condition(template, encoding.domain))
        laws = Laws(template, encoding.sample_dims, condition)
        if laws.draws < FEWEST:
            raise InputError(
                f"n = {laws.draws} draws of each law are too few to judge the tail of their weights: "
                f"give at least {FEWEST}"
            )
        streams = domain.streams(template)
        numbers = range(laws.count * laws.draws) if streams is None else [int(one) for one in streams]
        return cls(laws, condition, target, how, numbers)

    def target_of(self, rows: np.ndarray) -> Any:
        """ln of the law of these rows, x -> (b,)."""
        return partial(_at, self.target, int(rows[0]))

    def condition_of(self, rows: np.ndarray, count: int) -> dict[str, torch.Tensor]:
        """That of the law of these rows, ``count`` times."""
        return {name: value[rows[:1]].expand(count, *value.shape[1:]) for name, value in self.condition.items()}

    def streams_of(self, rows: np.ndarray) -> list[int]:
        """Noise streams of these rows."""
        return [int(self.numbers[row]) for row in rows]


def digests(condition: Mapping[str, torch.Tensor], rows: Sequence[int]) -> list[bytes]:
    """A hash of the condition of each of these rows: equal where all tensors are."""
    found = []
    for row in rows:
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(condition):
            digest.update(name.encode() + condition[name][row].contiguous().cpu().numpy().tobytes())
        found.append(digest.digest())
    return found


def _at(target: Any, row: int, x: torch.Tensor) -> torch.Tensor:
    log_density: torch.Tensor = target(x, row)
    return log_density


class Laws:
    """The laws of a template: samples whose conditions are equal along whole sample dims.

    ``dims`` of ``shape`` tell laws apart; iteration gives the numbers of the flattened samples of each, ``draws`` many.
    """

    def __init__(self, template: xr.Dataset, dims: Sequence[str], condition: Mapping[str, torch.Tensor]) -> None:
        sizes = [int(template.sizes[dim]) for dim in dims]
        apart = [i for i in range(len(dims)) if sizes[i] == 1 or not _is_constant(condition, sizes, i)]
        order = [*apart, *(i for i in range(len(dims)) if i not in apart)]
        self.dims, self.shape = tuple(dims[i] for i in apart), tuple(sizes[i] for i in apart)
        self.rows = np.arange(math.prod(sizes)).reshape(sizes).transpose(order).reshape(math.prod(self.shape), -1)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def draws(self) -> int:
        return int(self.rows.shape[1])

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.rows)


def _is_constant(condition: Mapping[str, torch.Tensor], sizes: Sequence[int], axis: int) -> bool:
    """Whether all conditions are equal along one of the sample dims."""
    rows = torch.arange(math.prod(sizes)).reshape(*sizes).movedim(axis, 0).reshape(sizes[axis], -1)
    return all(equal_rows(value, rows[0], other) for value in condition.values() for other in rows[1:])
