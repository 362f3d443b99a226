r"""Contrastive divergence: maximum likelihood of :math:`e^{-E_\theta}/Z_\theta` without Z.

.. math:: \nabla_\theta \langle -\ln p_\theta \rangle_{data} =
          \langle \nabla_\theta E_\theta \rangle_{data} - \langle \nabla_\theta E_\theta \rangle_{p_\theta}

The second mean is over Markov chains. CD-k begins them at the data and takes k steps: biased, since they have not
forgotten where they began (Hinton, Neural Computation 14 (2002), 1771). Persistent chains go on where the last update
left them: they follow the model as long as it changes slowly, and the fixed point is that of maximum likelihood
(Tieleman, ICML 2008; Younes, Stochastics 65 (1999), 177).

Shapes: B batch, M chains, C channels, \*grid lattice, d = C x grid values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition
from physgen.diffusion.energy.draws import TorchDraws
from physgen.diffusion.energy.laws import EnergyAtLevel, of_condition
from physgen.diffusion.energy.moves import Move

ADAPTATION_RATE = 0.02


class ContrastiveDivergence(nn.Module):
    r"""The loss whose gradient is that of the likelihood, (x0, s, noise, condition) -> (B,):

    .. math:: \frac1d \Big[ E(y) - \langle E \rangle_{chains} +
              c \big(E(y) - \langle E \rangle_{chains}\big)^2 \Big], \qquad y = x_0 + s_0 z .

    Its *value* is not a likelihood and does not fall as training goes on: it hovers at 0. It takes the place of
    :class:`physgen.diffusion.learning.training.DenoisingLoss` as the ``loss`` of a TrainingState. The levels s
    that it is called with are not used: E is trained at its own level s_0 alone, small beside the scatter of the data;
    spins are seen as they are, and s_0 is a mere argument of the network.

    The chains are buffers, and so is their step size, which follows the acceptance through the whole training: all that
    a checkpoint must hold. They take random numbers from torch's own generator, which a training seeds for every step.

    Args:
        denoiser: module with ``energy(y, s, condition)``.
        move: what a step of the chains is.
        chains: where persistent chains begin, (M, C, \*grid); they are copied.
        level: s_0. noisy: whether data get the noise of that level; not for spins.
        steps: of the chains for each update, k.
        persistent: False begins the chains at the data of each batch, CD-k; needed with a condition, which persistent
            chains would each have to keep.
        size: first step size of the chains.
        penalty: c >= 0, keeps the energies of data and chains near each other (in place of a weight decay); 0 leaves
            the fixed point alone.

    Raises:
        ValueError: a denoiser without energy, steps < 1, persistent chains with a condition.
    """

    chains: Tensor
    log_size: Tensor
    accepted: Tensor

    def __init__(
        self,
        denoiser: nn.Module,
        move: Move,
        chains: Tensor,
        *,
        level: float,
        noisy: bool = True,
        steps: int = 1,
        persistent: bool = True,
        size: float = 0.1,
        penalty: float = 0.0,
    ) -> None:
        super().__init__()
        if steps < 1 or not size > 0 or penalty < 0:
            raise ValueError(
                f"chains take steps >= 1 of size > 0 with a penalty >= 0, got {steps}, {size} and {penalty}"
            )
        self.energy = EnergyAtLevel(denoiser, level)
        self.move, self.level, self.noisy, self.steps = move, level, noisy, steps
        self.persistent, self.penalty = persistent, penalty
        self.register_buffer("chains", chains.detach().clone())
        self.register_buffer("log_size", torch.tensor(size, dtype=torch.float64).log())
        self.register_buffer("accepted", torch.tensor(torch.nan, dtype=torch.float64))

    @property
    def denoiser(self) -> nn.Module:
        """Whose energy is trained."""
        return self.energy.denoiser

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition = None) -> Tensor:
        """The loss (B,), after the chains have moved."""
        if self.persistent and condition:
            raise ValueError(
                f"persistent chains know no condition, got {', '.join(condition)}: set persistent to False (CD-k), or "
                "train without labels"
            )
        with torch.autocast(x0.device.type, enabled=False):  # an acceptance is a difference of two energies
            y = x0 + self.level * noise if self.noisy else x0
            negative = self.advance(condition) if self.persistent else self._moved(y, condition)
            up = self.energy(y, condition)
            down = self.energy(negative, None if self.persistent else condition).mean()
            gap = up - down
            return (gap + self.penalty * gap.square()) / x0[0].numel()

    def advance(self, condition: Condition = None) -> Tensor:
        r"""Move the persistent chains by ``steps`` and return them, (M, C, \*grid)."""
        moved = self._moved(self.chains, condition)
        if self.training:
            self.chains.copy_(moved)
        return moved

    def _moved(self, x: Tensor, condition: Condition) -> Tensor:
        energy, draws = of_condition(self.energy, condition), TorchDraws()
        state = self.move.start(energy, x.detach())
        total = torch.zeros_like(self.accepted)
        for _ in range(self.steps):
            state, probability = self.move(energy, state, self.log_size.exp().to(x), draws)
            total = total + probability.mean().double() / self.steps
        self.accepted.copy_(total)
        if self.move.target is not None and self.training:
            self.log_size += ADAPTATION_RATE * (self.accepted - self.move.target)
        return state.x
