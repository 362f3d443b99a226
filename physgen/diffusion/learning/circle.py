r"""A denoiser of angles, drawn as unit vectors of the plane.

Shapes: B batch, \*grid lattice; y (B, 2, \*grid), s (B,).
"""

from __future__ import annotations

from torch import Tensor, nn

from physgen.diffusion.convention import Condition, in_dtype, like
from physgen.diffusion.exact import von_mises
from physgen.diffusion.learning.denoisers import working_dtype


class CircleDenoiser(nn.Module):
    r"""Mean unit vector at each site, :math:`D = A(|h|)\,h/|h|` with :math:`h = y/s^2 + F/\sqrt{1 + s^2}`, A = I_1/I_0.

    :math:`F = \mathrm{network}(y/\sqrt{1 + s^2}, \ln(s)/4, c)`. Of y = e + s z the likelihood is
    :math:`\propto e^{y \cdot e/s^2}`, all e being of length 1, so that F = 0 is exact for independent angles. The
    optimal h is that of the mean of the same model with :math:`y/s^2` beside its fields (Bayes).

    Args:
        network: module F(x, c_noise, condition), two channels in and out.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def fixed_operations(self) -> bool:
        """Whether calls of one shape are one sequence of operations: see :mod:`physgen.diffusion.recording`."""
        return bool(getattr(self.network, "fixed_operations", False))

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""Mean vectors (B, 2, \*grid) inside the unit disc."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        variance = like(s, y).square()
        output = self.network(y / (1 + variance).sqrt(), s.log() / 4, condition).to(dtype)
        return von_mises.mean_of(y / variance + output / (1 + variance).sqrt())

    def baseline(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """Independent angles, h = y/s^2."""
        return von_mises.mean_of(y / like(s, y).square())

    def error_scale(self, s: Tensor, condition: Condition = None) -> Tensor:
        """Error of the best linear denoiser of independent angles, each component of variance 1/2, (B,)."""
        return 0.5 * s.square() / (0.5 + s.square())
