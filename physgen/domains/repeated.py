r"""A tensor whose rows repeat: what many samples share stands in memory once.

Conditions lead with the number of samples B, one row a sample; samples of one law have one condition, and as rows of
their own these would take B times the size of one (measured: 2.5 GB for 1500 laws of 100 samples, 16 kB each).
:class:`Repeated` is a tensor of these B rows that holds a table of the different ones, and which of them each row is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_ATEN = torch.ops.aten
_OF_ROWS = (_ATEN.slice.Tensor, _ATEN.index_select.default, _ATEN.select.int)  # with the dim as second argument
SHARED = "rows that repeat share their memory: take some, or clone() all, before you change one"


class Repeated(torch.Tensor):
    """The tensor ``table[rows]`` (B, ...) of a table (U, ...) and rows (B,), not made until it is needed.

    Taking rows of it (``[...]``, ``index_select``) gives an ordinary tensor of these alone; another device or dtype is
    taken on by the table. Every other operation makes the whole tensor first: right, and as large as it says.

    Raises:
        RuntimeError: of what would change it in place.

    Example:
        >>> rows = Repeated(table, torch.arange(10).repeat_interleave(100))  # 1000 rows, 10 in memory
        >>> rows[[3, 4]]
    """

    table: Tensor
    rows: Tensor

    @staticmethod
    def __new__(cls, table: Tensor, rows: Tensor) -> Repeated:
        shape = (len(rows), *table.shape[1:])
        made = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=table.dtype, device=table.device)
        made.table, made.rows = table, rows
        return made

    def whole(self) -> Tensor:
        """All rows as an ordinary tensor."""
        return self.table[self.rows]

    def __setitem__(self, place: Any, value: Any) -> None:
        raise RuntimeError(SHARED)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """All rows as an array."""
        return self.whole().numpy(force=force)

    def tolist(self) -> Any:
        """All rows as lists."""
        return self.whole().tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Repeated({tuple(self.shape)}, of {len(self.table)} different rows, {self.dtype})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """What torch calls with every operation."""
        kwargs, first = kwargs or {}, args[0] if args else None
        if isinstance(first, Repeated):
            written = func._schema.arguments[0].alias_info  # type: ignore[attr-defined]
            if written is not None and written.is_write:
                raise RuntimeError(
                    "rows that repeat share their memory: take some, or clone() all, before changing one"
                )
            if func is _ATEN._to_copy.default:
                return cls(func(first.table, *args[1:], **kwargs), first.rows.to(kwargs.get("device") or first.device))
            if func is _ATEN.index.Tensor and _one_index(args[1]):
                return first.table[first.rows[args[1][0]]]
            if func in _OF_ROWS and (len(args) < 2 or args[1] == 0):
                return first.table[func(first.rows, *args[1:], **kwargs)]
        plain: tuple[Sequence[Any], Mapping[str, Any]] = tree_map(_whole, (args, kwargs))
        return func(*plain[0], **plain[1])


def _one_index(indices: Sequence[Tensor | None]) -> bool:
    """Whether numbers of rows stand there and nothing else."""
    return len(indices) == 1 and indices[0] is not None and not indices[0].dtype.is_floating_point


def _whole(value: Any) -> Any:
    return value.whole() if isinstance(value, Repeated) else value


def equal_rows(value: Tensor, some: Tensor, others: Tensor) -> bool:
    """Whether these rows of a tensor equal those, one by one; of a :class:`Repeated` mostly without reading them."""
    if isinstance(value, Repeated) and torch.equal(value.rows[some], value.rows[others]):
        return True
    return torch.equal(value[some], value[others])
