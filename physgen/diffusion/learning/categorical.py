r"""A denoiser of values that are one of q kinds at each site, drawn as vectors of zeros with a single one.

Shapes: B batch, q kinds, which are the channels, \*grid lattice; y (B, q, \*grid), s (B,).
"""

from __future__ import annotations

from torch import Tensor, nn

from physgen.diffusion.convention import Condition, in_dtype, like
from physgen.diffusion.learning.denoisers import working_dtype


class CategoricalDenoiser(nn.Module):
    r"""Probability of each kind at each site: :math:`D_a = \mathrm{softmax}_a\big(y_a/s^2 + F_a/\sqrt{1 + s^2}\big)`.

    :math:`F = \mathrm{network}(y/\sqrt{1 + s^2}, \ln(s)/4, c)`. Of y = e_a + s z the likelihood is
    :math:`\propto e^{y_a/s^2}`, all vectors e_a being of one length, so that F = 0 is exact where sites are independent
    and all kinds equally likely. Of two kinds it is
    :class:`physgen.diffusion.learning.denoisers.SpinDenoiser` of the difference of both components.

    Args:
        network: module F(x, c_noise, condition) with as many channels out as in.
        kinds: q, which :meth:`error_scale` depends on; nothing else needs it.
    """

    def __init__(self, network: nn.Module, kinds: int | None = None) -> None:
        super().__init__()
        self.network, self.kinds = network, kinds

    @property
    def fixed_operations(self) -> bool:
        """Whether calls of one shape are one sequence of operations: see :mod:`physgen.diffusion.recording`."""
        return bool(getattr(self.network, "fixed_operations", False))

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""Probabilities (B, q, \*grid), which add up to 1 at each site."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        variance = like(s, y).square()
        output = self.network(y / (1 + variance).sqrt(), s.log() / 4, condition).to(dtype)
        return (y / variance + output / (1 + variance).sqrt()).softmax(1)

    def baseline(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """Independent sites, softmax(y/s^2)."""
        return (y / like(s, y).square()).softmax(1)

    def error_scale(self, s: Tensor, condition: Condition = None) -> Tensor:
        """:func:`linear_error` of the kinds, (B,). Raises ValueError where their number is not known."""
        if self.kinds is None:
            raise ValueError(
                "the error of independent sites depends on the number of kinds: give CategoricalDenoiser one"
            )
        return linear_error(s, self.kinds)

    def relative_error(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition = None) -> Tensor:
        """Squared error of D(x0 + s z, s) over :func:`linear_error` of the kinds of x0, (B,)."""
        error = (self(x0 + like(s, x0) * noise, s, condition) - x0).float().square().flatten(1).mean(1)
        return error / linear_error(s, x0.shape[1])


def linear_error(s: Tensor, kinds: int) -> Tensor:
    r"""Mean squared error of a component, (B,), of the best linear denoiser of independent sites of q kinds alike:

    .. math:: \frac{q - 1}{q} \frac{s^2}{1 + q s^2} .

    The components of e_a have the variance :math:`(q - 1)/q^2` and add up to 1, so that their covariance is
    :math:`(1 - 11^T/q)/q`: 1/q along q - 1 directions, of which each leaves :math:`(s^2/q)/(1/q + s^2)`, and 0 along
    the last one.
    """
    return (kinds - 1) / kinds * s.square() / (1 + kinds * s.square())
