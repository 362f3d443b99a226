"""Fields on a lattice that name no physics: they can be judged all the same, by the diagnostics of every field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from physgen.domains.contract import Domain, list_domains
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class AnyField(Domain):
    """The defaults of the contract and nothing else; it has no folder, and its name is empty."""

    name: ClassVar[str] = ""
    description: ClassVar[str] = "a field on a lattice, of no named physics"
    split_by: ClassVar[str] = "sample"

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Refused: nothing is known of the physics."""
        raise InputError(f"nothing can be simulated without a physics: name one of {', '.join(list_domains())}")
