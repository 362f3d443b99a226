r"""Masked diffusion of +-1 spins: sites are unmasked one after another in any order, with exact log-probability.

A model h(x, u, condition) sees a configuration x whose masked sites are 0 and others +-1, and gives local fields: a
masked spin is drawn with :math:`p(S_i = \pm1) = e^{\pm h_i}/2\cosh h_i`, independently of those drawn in the same
step. Along an order of the sites :math:`\log q(S|\mathrm{order}) = \sum_i \log p(S_i | \text{spins before})` is exact,
so for a target :math:`e^{-\beta E}` each draw has the weight

.. math:: \log w = -\beta E(S) - \log q(S|\mathrm{order}), \qquad E[w] = Z,

unbiased for any model, any distribution of orders and any number of steps; its statistics:
:mod:`physgen.diffusion.inference.weight_statistics`.

All probabilities are float64 and a spin is +1 where a float64 uniform number lies below p: float32 Gumbel draws
lower the temperature (Zheng et al., arXiv:2409.02908, section 4), and the temperature is what a spin model is asked
for.

Shapes: B batch, N samples, C channels, \*grid lattice, n = C x grid sites; x (B, C, \*grid); u (B,) the masked
fraction; orders (B, n), the sites in C order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from physgen.diffusion.convention import Condition, Denoiser, in_dtype, turned
from physgen.diffusion.learning.denoisers import working_dtype
from physgen.diffusion.noise import Stream
from physgen.diffusion.sampling.tiles import Execution, check_condition

CLOSEST = 1e-15  # of a magnetisation to +-1; the field stays finite, below 18


class MaskedModel(Protocol):
    """Any callable h(x, u, condition) -> local fields, shape of x; its values at known sites are not used."""

    def __call__(self, x: Tensor, u: Tensor, condition: Condition = None, /) -> Tensor: ...


class MaskedDenoiser(nn.Module):
    """The local fields of a network F(x, u, condition), which gets the masked fraction in place of c_noise.

    The condition's ``field``, where it has one, adds to F: h of the free spin in its field.

    Args:
        network: module F. antisymmetric: use (F(x) - F(-x))/2, exact Z2 symmetry (twice the cost).
    """

    def __init__(self, network: nn.Module, antisymmetric: bool = False) -> None:
        super().__init__()
        self.network, self.antisymmetric = network, antisymmetric

    def forward(self, x: Tensor, u: Tensor, condition: Condition = None) -> Tensor:
        """Local fields h (B, C, *grid), float64."""
        dtype = working_dtype(self.network)
        x, u, condition = x.to(dtype), u.to(dtype), in_dtype(condition, dtype)
        fields = self.network(x, u, condition)
        if self.antisymmetric:
            fields = (fields - self.network(-x, u, turned(condition))) / 2
        return fields.double() + self.baseline(x, u, condition)

    def baseline(self, x: Tensor, u: Tensor, condition: Condition = None) -> Tensor:
        """Free spins: the condition's ``field`` where there is one, else 0; shape of x, float64."""
        field = (condition or {}).get("field")
        return torch.zeros_like(x, dtype=torch.float64) if field is None else field.reshape(x.shape).double()


class MaskedLoss(nn.Module):
    r"""Mean of :math:`-\log p(S_i | \text{known})` over the masked sites: in nats, an average of -log q(S|order)/n.

    Exactly that average over all orders if u is uniform in (0, 1): then the number of masked sites m = ceil(u n) is
    uniform in 1...n. It is also a bound on the entropy per spin, met by the exact conditional law alone. Source:
    Hoogeboom et al., arXiv:2110.02037, eq. 4; equal to the masked diffusion bound of Sahoo et al., arXiv:2406.07524.

    It has the call of the other losses, so the same trainer serves: levels s = u distributed by
    :func:`uniform_fraction`, and the m sites of largest noise are masked.
    """

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """The loss (B,) in nats per masked site; ``s`` is the masked fraction u."""
        return cross_entropy(self.denoiser, x0, s, noise, condition)


def cross_entropy(model: MaskedModel, x0: Tensor, u: Tensor, noise: Tensor, condition: Condition = None) -> Tensor:
    r"""Mean of :math:`-\log p(S_i | \text{known})` over the masked sites of each configuration, (B,), nats.

    The :math:`m = \lceil u n \rceil` sites of largest ``noise`` (shape of x0) are masked.
    """
    sites = x0[0].numel()
    rank = noise.flatten(1).argsort(1).argsort(1)
    count = (u.double() * sites).ceil().clamp(1, sites)
    masked = (rank >= sites - count[:, None]).reshape(x0.shape)
    fields = model(torch.where(masked, torch.zeros_like(x0), x0), count / sites, condition)
    log_p = logsigmoid(2 * fields.double() * x0)
    return -(log_p * masked).flatten(1).sum(1) / count


def uniform_fraction(u: Tensor) -> Tensor:
    """The distribution of masked fractions for ``Recipe.level_distribution``: uniform in (0, 1)."""
    return u


def from_denoiser(denoiser: Denoiser) -> MaskedModel:
    r"""The masked model inside a denoiser of spins, with one noise level for known sites and none for the others.

    y/s^2 is a field on every spin: a strong one (60) fixes the known spins, none acts on the masked ones, and the
    magnetisation m gives h = artanh m. With an exact law of spins, e.g. EnumeratedIsing, it is the exact model.
    """

    def fields(x: Tensor, u: Tensor, condition: Condition = None) -> Tensor:
        magnetisation = denoiser(60 * x.double(), x.new_ones(len(x), dtype=torch.float64), condition)
        return torch.atanh(magnetisation.clamp(-1 + CLOSEST, 1 - CLOSEST))

    return fields


@dataclass(frozen=True)
class Unmasked:
    r"""Draws x (N, C, \*grid) of +-1, float64, log q(x|order) (N,), natural logarithm, and their orders (N, n)."""

    x: Tensor
    log_probability: Tensor
    order: Tensor


def sample_masked(
    model: MaskedModel,
    shape: Sequence[int],
    seed: int,
    condition: Condition = None,
    steps: int | None = None,
    order: Tensor | None = None,
    *,
    known: Tensor | None = None,
    tile: int | None = None,
    start_index: int = 0,
    device: torch.device | str = "cpu",
    streams: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Unmasked:
    r"""Draw configurations by unmasking; sample number j depends on (seed, j, its condition) alone.

    Args:
        shape: (N, C, \*grid). condition: tensors that lead with N.
        steps: evaluations of the model; the sites are unmasked in this many groups as equal as can be. None: one site
            a step, which draws from the model's law exactly; fewer steps have their own law, and their own exact q.
        order: (n,) sites for all samples. None: an independent random order each.
        known: (N, C, \*grid), +-1 at sites that were observed and 0 at those to draw: they come first in every order,
            so that the others are drawn from the model's law given them, exactly at one site a step;
            ``log_probability`` is that of the drawn sites alone. None: nothing is known.
        tile, start_index, device, streams: as in :func:`physgen.diffusion.sampling.samplers.sample`.

        progress: called as progress(done, total) after each tile, in samples.

    Raises:
        ValueError: steps not in 1...n, or an order that is not a permutation of the sites.
    """
    plan, count, one = Execution(tile, start_index, device, streams=streams), int(shape[0]), tuple(shape[1:])
    check_condition(condition, count)
    parts = []
    with torch.no_grad():
        for part in plan.tiles(count, one):
            numbers, orders = _numbers(seed, part.numbers, math.prod(one), order, device)
            blank = torch.zeros(len(part.index), *one, dtype=torch.float64, device=device)
            seen = None if known is None else part.take(known).to(blank)
            drawn = _unmask(model, blank, orders, part.condition(condition, device), steps, numbers, seen)
            parts.append([value[part.inside] for value in drawn])
            if progress is not None:
                progress(min(part.place.stop, count), count)
    xs, logs, all_orders = zip(*parts, strict=True)
    return Unmasked(torch.cat(xs), torch.cat(logs), torch.cat(all_orders))


def log_probability(
    model: MaskedModel, x: Tensor, order: Tensor, condition: Condition = None, steps: int | None = None
) -> Tensor:
    r"""log q(x|order) of given configurations x (B, C, \*grid) of +-1 along orders (B, n) or (n,), shape (B,).

    Differentiable in the model; ``steps`` as in :func:`sample_masked`.
    """
    orders = order.to(x.device).expand(len(x), -1)
    return _unmask(model, x.double(), orders, condition, steps, None)[1]


def _check_known(known: Tensor) -> None:
    strange = known[(known != 0) & (known.abs() != 1)]
    if len(strange):
        raise ValueError(f"known sites hold +1 or -1, and 0 where nothing is known, got {float(strange[0]):g}")


def _numbers(
    seed: int, index: Sequence[int], sites: int, order: Tensor | None, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Uniform numbers (B, n) and orders (B, n), each row from the stream of its sample."""
    uniform = Stream(seed, "unmasking", device=device).uniform(index, (sites,), torch.float64)
    if order is not None:
        return uniform, order.to(device).expand(len(uniform), -1)
    return uniform, random_orders(seed, index, sites, device)


def random_orders(
    seed: int,
    index: Sequence[int],
    sites: int,
    device: torch.device | str = "cpu",
    purpose: str = "unmasking order",
) -> Tensor:
    """An independent random order (B, n) of n sites for each sample number of ``index`` (B,), of a named stream."""
    places = Stream(seed, purpose, device=device).uniform(index, (sites,), torch.float64)
    return places.argsort(stable=True, dim=1)


def _unmask(
    model: MaskedModel,
    x: Tensor,
    order: Tensor,
    condition: Condition,
    steps: int | None,
    uniform: Tensor | None,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw where there are uniform numbers (B, n), else score x; returns the spins, log q and the orders."""
    sites = x[0].numel()
    groups = sites if steps is None else steps
    if not 1 <= groups <= sites:
        raise ValueError(f"unmasking {sites} sites takes 1 to {sites} steps, got {groups}")
    if not torch.equal(order.sort(1).values, torch.arange(sites, device=order.device).expand_as(order)):
        raise ValueError(
            f"an order must hold each of the {sites} sites once, got {order[0].tolist()}: take a permutation"
        )
    spins, total = x.flatten(1).clone(), x.new_zeros(len(x))
    seen = torch.zeros_like(spins)
    if known is not None:
        _check_known(known)
        seen = known.flatten(1).clone()
        spins = torch.where(seen != 0, seen, spins)
        first = (seen == 0).long().gather(1, order)  # known sites to the front, the others in their order
        order = order.gather(1, first.argsort(stable=True, dim=1))
    for group in range(groups):
        start, stop = group * sites // groups, (group + 1) * sites // groups
        group_sites = order[:, start:stop]
        # known sites are seen before their turn
        u = x.new_full((len(x),), 1 - start / sites) if known is None else (seen == 0).to(x.dtype).mean(1)
        fields = model(seen.reshape(x.shape), u, condition).double().flatten(1).gather(1, group_sites)
        if uniform is not None:
            up = uniform[:, start:stop] < torch.sigmoid(2 * fields)
            held = seen.gather(1, group_sites)
            spins = spins.scatter(1, group_sites, torch.where(held != 0, held, 2.0 * up.double() - 1))
        value = spins.gather(1, group_sites)
        drawn = seen.gather(1, group_sites) == 0
        total = total + (logsigmoid(2 * fields * value) * drawn).sum(1)
        seen = seen.scatter(1, group_sites, value)
    return spins.reshape(x.shape), total, order
