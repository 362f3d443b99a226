r"""Networks whose outputs, all summed, are an energy: of a lattice, the same at every site, and of any values.

Both begin as zero and are smooth (SiLU), so that an energy of theirs has a gradient and a second derivative. They have
the call of the other networks, F(x, c_noise, condition), and go into
:class:`physgen.diffusion.learning.denoisers.EnergyDenoiser`.

Shapes: B batch, C channels, \*grid lattice, d = C x grid values of a sample in C order, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.networks.layers import NoiseEmbedding, PeriodicConvolution, zeroed


class Modulated(nn.Module):
    r""":math:`\mathrm{SiLU}((1 + g) h + b)` of hidden values h (B, W, ...), with g, b (B, W) of an embedding."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.modulation = zeroed(nn.Linear(embedding, 2 * width))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Shape of ``hidden``."""
        pair = self.modulation(embedding).reshape(*embedding.shape[:1], -1, *[1] * (hidden.ndim - 2))
        gain, bias = pair.chunk(2, dim=1)
        return F.silu((1 + gain) * hidden + bias)


class LocalEnergy(nn.Module):
    r"""A local energy at every site of a periodic lattice and a quadratic form of finite range:

    .. math:: F_i = f(x_{i + r}, |r| \le R) + \sum_{|r| \le K/2} x_i A_r x_{i + r}

    f is L convolutions with activations between them and a readout, so :math:`R = L (k - 1)/2`. Known to it: that the
    law is the same at every site, and that its energy is a sum of terms of this range; no form and no number of them.
    The quadratic form is what f, which grows linearly, has not: it can hold the values together.

    Args:
        dimension: of the lattice, 1 to 3. channels: C. labels: number of scalar labels in ``condition["labels"]``.
        width: W. layers: L. kernel: k, sites along each side of a convolution, odd. reach: K, of the quadratic form.

    Raises:
        ValueError: sizes that are no whole numbers >= 1, or kernels that are even.

    Example:
        >>> network = LocalEnergy(2, width=16, layers=2)
    """

    def __init__(
        self,
        dimension: int,
        channels: int = 1,
        labels: int = 0,
        *,
        width: int = 16,
        layers: int = 2,
        kernel: int = 3,
        reach: int = 3,
    ) -> None:
        super().__init__()
        _check(width=width, layers=layers, kernel=kernel, reach=reach)
        if kernel % 2 == 0 or reach % 2 == 0:
            raise ValueError(f"a convolution has a site in its middle: kernel and reach odd, got {kernel} and {reach}")
        sizes = [channels, *[width] * layers]
        self.layers = nn.ModuleList(
            PeriodicConvolution(dimension, before, after, kernel)
            for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.embedding = NoiseEmbedding(2 * width, labels)
        self.activations = nn.ModuleList(Modulated(width, 2 * width) for _ in range(layers))
        self.readout = zeroed(PeriodicConvolution(dimension, width, channels, 1))
        self.form = zeroed(PeriodicConvolution(dimension, channels, channels, reach))
        self.strength = zeroed(nn.Linear(2 * width, channels))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        r"""x (B, C, \*grid), c_noise (B,) = ln(s)/4 -> F, shape of x."""
        embedding, hidden = self.embedding(c_noise, condition), x
        for layer, activation in zip(self.layers, self.activations, strict=True):
            hidden = activation(layer(hidden), embedding)
        strength = 1 + self.strength(embedding).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        return self.readout(hidden) + x * strength * self.form(x)


class DenseEnergy(nn.Module):
    r"""A quadratic form of all pairs, a field, and a function of all values:

    .. math:: F = \tfrac12 x^T A x + h^T x + f(x)

    f is L linear layers with activations between them and a readout to one number; ``layers = 0`` leaves it out: a
    Boltzmann machine without hidden units. Nothing is known to it: no neighbours, no two values that are alike.

    Args:
        values: d. labels: number of scalar labels in ``condition["labels"]``.
        width: W. layers: L. pairs: whether there is the quadratic form.

    Raises:
        ValueError: sizes that are no whole numbers, or a network of nothing.
    """

    def __init__(self, values: int, labels: int = 0, *, width: int = 64, layers: int = 2, pairs: bool = True) -> None:
        super().__init__()
        _check(values=values, width=width)
        if layers < 0 or (layers == 0 and not pairs):
            raise ValueError(f"a dense energy has layers >= 1 or pairs, got layers = {layers}, pairs = {pairs}")
        self.values = values
        sizes = [values, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes, sizes[1:], strict=False))
        self.embedding = NoiseEmbedding(2 * width, labels) if layers else None
        self.activations = nn.ModuleList(Modulated(width, 2 * width) for _ in range(layers))
        self.readout = zeroed(nn.Linear(width, 1)) if layers else None
        self.form = zeroed(nn.Linear(values, values, bias=False)) if pairs else None
        self.field = nn.Parameter(torch.zeros(values))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        r"""x (B, C, \*grid) of d values, c_noise (B,) = ln(s)/4 -> terms (B, d) or (B, d + 1), to be summed."""
        if x[0].numel() != self.values:
            raise ValueError(
                f"this network was built for samples of {self.values} values, got {math.prod(x.shape[1:])}"
            )
        flat = x.flatten(1)
        terms = flat * self.field
        if self.form is not None:
            terms = terms + 0.5 * flat * self.form(flat)
        if self.embedding is None or self.readout is None:
            return terms
        embedding, hidden = self.embedding(c_noise, condition), flat
        for layer, activation in zip(self.layers, self.activations, strict=True):
            hidden = activation(layer(hidden), embedding)
        return torch.cat([terms, self.readout(hidden)], dim=1)


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {size!r}")
