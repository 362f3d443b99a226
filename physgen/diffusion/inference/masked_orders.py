r"""Bounds of ln P(S) of a masked process: the mean over orders of the sites, and the importance-weighted one.

Along an order of the sites :math:`\ln q(S|\mathrm{order})` is exact (:mod:`physgen.diffusion.masked`). With orders
drawn at random the probability of S is the mean of q(S|order) over them, so that, for K orders,

.. math:: E \ln q(S|\mathrm{order}) \;\le\; E \ln \frac1K \sum_{j \le K} q(S|\mathrm{order}_j) \;\le\; \ln P(S),

the last one the K to infinity limit. The first one is minus n times the training loss
(:class:`physgen.diffusion.masked.MaskedLoss`): the variational bound of masked diffusion. An exact model has the same
:math:`\ln q` along all orders, and both bounds are its law. The bound splits into what is paid at each step, of equally
many sites: there is no prior, and the last step is the reconstruction.

Sources: Hoogeboom et al., arXiv:2110.02037, eq. 4; Burda, Grosse, Salakhutdinov, arXiv:1509.00519.

Shapes: N configurations, K orders of each, n = C x grid sites, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from physgen.diffusion.convention import Condition
from physgen.diffusion.inference.reversed_paths import FEWEST_VALUES, ChainBounds
from physgen.diffusion.masked import MaskedModel
from physgen.diffusion.noise import Stream
from physgen.diffusion.sampling.tiles import check_condition, tile_of


@torch.no_grad()
def masked_bounds(
    model: MaskedModel,
    x: Tensor,
    paths: int,
    seed: int,
    *,
    steps: int | None = None,
    condition: Condition = None,
    streams: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ChainBounds:
    r"""Bounds of ln P(x) of the process that unmasks the sites in random orders.

    Args:
        model: local fields h(x, u, condition), as ``sample_masked`` takes them.
        x: (N, C, \*grid) of +-1.
        paths: K orders of each, at least 2. Order j is the same whatever K is.
        seed: of the orders.
        steps: evaluations of the model an order, the sites in so many groups; None: one site a step. Fewer have their
            own law, which is then bounded.
        condition: tensors that lead with N. streams: N numbers of the orders; the position where None.
        progress: called as progress(done, total) with configurations.

    Returns:
        The bounds; ``levels`` are masked fractions, 1 to 0, ``terms`` has a prior of zeros, ``squared_error`` is that
        of the means of the masked sites, by site of all.

    Raises:
        ValueError: fewer than two orders, steps not in 1...n, a condition whose length is not N.
    """
    sites = x[0].numel()
    groups = sites if steps is None else steps
    if paths < 2 or not 1 <= groups <= sites:
        raise ValueError(f"bounds need two orders and 1 to {sites} steps, got {paths} and {groups}: change them")
    check_condition(condition, len(x))
    numbers = torch.arange(len(x)) if streams is None else torch.as_tensor(list(streams))
    size = max(tile_of(tuple(x.shape[1:]), x.device.type), FEWEST_VALUES // sites)
    edges = [group * sites // groups for group in range(groups + 1)]
    parts = []
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        given = condition and {name: value[rows] for name, value in condition.items()}
        draws = []
        for path in range(paths):
            stream = Stream(seed, "reversed order", path, x.device)
            places = stream.uniform(numbers[rows].to(x.device), (sites,), torch.float64)
            draws.append(_unmasked(model, x[rows].double(), given, places.argsort(stable=True, dim=1), edges))
        parts.append([torch.stack(found) for found in zip(*draws, strict=True)])
        if progress is not None:
            progress(min(first + size, len(x)), len(x))
    terms, errors = (torch.cat(found, dim=-1) for found in zip(*parts, strict=True))
    levels = 1 - torch.tensor(edges, dtype=torch.float64) / sites
    return ChainBounds(-terms.sum(1), terms.mean(0), levels, errors.mean(0), paths * groups)


def _unmasked(
    model: MaskedModel, x: Tensor, condition: Condition, order: Tensor, edges: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """What each step pays (T + 1, b) along orders (b, n), a prior of zeros first, and the squared errors (T, b)."""
    spins, seen = x.flatten(1), torch.zeros_like(x).flatten(1)
    terms, errors = [x.new_zeros(len(x))], []
    for start, stop in zip(edges, edges[1:], strict=False):
        u = x.new_full((len(x),), 1 - start / spins.shape[1])
        fields = model(seen.reshape(x.shape), u, condition).double().flatten(1)
        hidden = seen == 0
        errors.append(((spins - torch.tanh(fields)).square() * hidden).mean(1))
        sites = order[:, start:stop]
        value = spins.gather(1, sites)
        terms.append(-logsigmoid(2 * fields.gather(1, sites) * value).sum(1))
        seen = seen.scatter(1, sites, value)
    return torch.stack(terms), torch.stack(errors)
