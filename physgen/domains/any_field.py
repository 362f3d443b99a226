"""Fields on a lattice that name no physics: they can be judged all the same, by the diagnostics of every field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from physgen.domains.contract import Domain, list_domains
from physgen.domains.known import ANY_FIELD
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.lattice import Draws

LABELS = "labels"  # root attribute: names of the variables on which the law depends, with spaces between


@dataclass(frozen=True)
class AnyField(Domain):
    """The defaults of the contract and nothing else; it has no folder, and its name is empty."""

    name: ClassVar[str] = ""
    description: ClassVar[str] = "a field on a lattice, of no named physics"
    split_by: ClassVar[str] = "sample"

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Refused: nothing is known of the physics."""
        raise InputError(f"nothing can be simulated without a physics: name one of {', '.join(list_domains())}")


@dataclass(frozen=True)
class Fields(AnyField):
    """The same under a name (``domain: any_field``), so that a network can be trained on fields of no named physics.

    The ensemble says itself what else is known: which variables are labels (root attribute ``labels``, names with
    spaces between), and whether its box is periodic.
    """

    name: ClassVar[str] = ANY_FIELD
    description: ClassVar[str] = "real fields on a lattice, of no named physics"
    label_words: ClassVar[str] = "those that the ensemble names in its attribute 'labels'"
    learning_settings: ClassVar[tuple[str, ...]] = ("translations",)

    translations: bool = field(
        default=False,
        metadata={"help": "the law does not change when fields in a periodic box are shifted: training shifts them"},
    )

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Mean and standard deviation of each component, ranges of the labels, and whether the box is periodic."""
        from physgen.domains.lattice_field import fit_constants

        labels = str(train.attrs.get(LABELS, "")).split()
        return fit_constants(train, self.values, labels) | {"periodic": bool(int(train.attrs.get("periodic", 1)))}

    def condition(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """``labels`` (B, n) of the variables that were labels in training."""
        from physgen.domains.lattice_field import encode_labels

        labels = list(constants["label_ranges"])
        return encode_labels(ensemble, constants, labels) if labels else {}

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """``n`` configurations under the labels of ``like``, in turn, or under given ones."""
        from physgen.domains.lattice_field import request_configurations

        labels = list(constants["label_ranges"]) if constants else str(like.attrs.get(LABELS, "")).split()
        return request_configurations(like, n, given, constants, labels)

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """With ``translations`` a shift of each field, by a number of cells uniform over the box."""
        if not self.translations or not (constants or {}).get("periodic", True):
            return x, condition
        import torch

        from physgen.lattice import Moves
        from physgen.lattice.moves import whole_numbers

        shift = torch.stack(whole_numbers(draws, x.shape[2:]), dim=1)
        order = torch.arange(shift.shape[1], device=shift.device).expand_as(shift)
        return Moves(order, torch.zeros_like(shift, dtype=torch.bool), shift).move(x), condition
