"""What the training of a student changes: a training state with the loss of a method in place of denoising."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from physgen.diffusion.distillation.losses import StudentLoss
from physgen.diffusion.learning.training import Recipe, TrainingState


class StudentState(TrainingState):
    """A :class:`physgen.diffusion.learning.training.TrainingState` of a flow map.

    Args:
        loss: of the student that it holds. recipe, wrap: as there; ``recipe.level_distribution`` is along the way.
    """

    def __init__(self, loss: StudentLoss, recipe: Recipe, wrap: Callable[[nn.Module], nn.Module] | None = None) -> None:
        super().__init__(loss.student, recipe)
        self.method, self.wrapped = loss, wrap is not None
        self.loss = loss if wrap is None else wrap(loss)

    def update(self, lr: float, norm: Tensor, rejected: Tensor) -> None:
        """As there; the method is told how far the training is."""
        super().update(lr, norm, rejected)
        self.method.follow(self.step / self.recipe.steps)

    def state_dict(self) -> dict[str, Any]:
        """As there, with what the method keeps."""
        return super().state_dict() | {"method": dict(self.method.kept())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        super().load_state_dict(state)
        self.method.restore(state["method"])
        self.method.intervals.fill_(self.method.number(self.step / self.recipe.steps))
