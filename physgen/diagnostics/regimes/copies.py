r"""Distances to training configurations modulo symmetries, and what the nearest ones say.

A :class:`Measure` says what a distance is: Euclidean for points; of fields the distance of normalised orbits,
:math:`d = \sqrt{2(1 - \rho)}` with the largest correlation :math:`\rho` over translations and the point group
(:mod:`physgen.diagnostics.nearest`); of +-1 values :math:`d = \sqrt{2(1 - |o|)}` with the overlap o, Euclidean up to a
global flip and a factor (the gap of :func:`physgen.diagnostics.nearest.nearest_binary` is that of Hamming distances,
the square of the one here). Repeated training configurations count once, so that the second nearest is another one.

Legend: Q queries, T training configurations, D numbers per configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from physgen.diagnostics.nearest import field_correlations
from physgen.errors import InputError
from physgen.lattice import Symmetry, point_group

FEWEST = 8  # generated or held-out units below which no rate of a per cent can be calibrated
BLOCK = 2**24  # distances held at once
PROBES = 64  # training configurations that set the scale of Y2
OWN_WEIGHT = 0.9  # posterior weight of a training configuration on itself, in the mean, at that scale


@dataclass(frozen=True)
class Measure:
    r"""What is near.

    Attributes:
        between: (Q, ...), (T, ...) -> distances (Q, T) on the CPU.
        repeats: whether independent configurations may be equal by chance, as few +-1 values are.
        invariants: (Q, ...), training set -> (Q, F) numbers that no symmetry changes: cells are cut by them.
        canonical: (T, ...) -> rows (T, D) that are equal where configurations are (cheap symmetries alone).
        order: grid -> number of symmetries besides translations that a comparison goes through.
    """

    between: Callable[[Tensor, Tensor], Tensor]
    repeats: bool
    invariants: Callable[[Tensor, Tensor], Tensor]
    canonical: Callable[[Tensor], Tensor]
    order: Callable[[Sequence[int]], int] = lambda grid: 1


def field_measure(group: str = "point", spacing: Sequence[float] | None = None, periodic: bool = True) -> Measure:
    """The measure "field" of a box; arguments of :func:`physgen.diagnostics.nearest.nearest_field`."""
    options = {"group": group, "spacing": spacing, "periodic": periodic}
    moves = partial(_moves, group=group, spacing=spacing)
    invariants = partial(_amplitudes, moves=moves) if periodic else partial(_averaged, moves=moves)
    return Measure(partial(_orbit_distance, options=options), False, invariants, _flat, lambda grid: len(moves(grid)))


def binary_measure(fold: bool = True) -> Measure:
    """The measure "overlap" of +-1 values; ``fold``: up to a global flip."""
    aligned = _aligned if fold else _flat_pair
    return Measure(partial(_unlike, fold=fold), True, aligned, _first_up if fold else _flat)


def measure_of(distance: str | Measure) -> Measure:
    """A measure by its name: "euclidean", "field", "translations" or "overlap", as in ``memorization``."""
    if isinstance(distance, Measure):
        return distance
    if distance not in MEASURES:
        raise InputError(f"distance {distance!r} is unknown: choose one of {', '.join(MEASURES)}, or give a Measure")
    return MEASURES[distance]()


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1).double()


def _flat_pair(x: Tensor, train: Tensor) -> Tensor:
    return _flat(x)


def _euclidean(query: Tensor, train: Tensor) -> Tensor:
    # the direct difference: |a|^2 + |b|^2 - 2ab would lose the small distances of copies to rounding
    return torch.cdist(_flat(query), _flat(train), compute_mode="donot_use_mm_for_euclid_dist").cpu()


def _orbit_distance(query: Tensor, train: Tensor, options: dict) -> Tensor:
    rho = field_correlations(query, train, **options).double()
    rho = rho.nan_to_num(nan=0.0, neginf=-1.0)  # a constant query is like none, a constant training field near none
    return torch.where(rho >= 1 - 1e-5, 0.0, (2 * (1 - rho)).clamp(min=0).sqrt())  # rounding of float32


def _moves(grid: Sequence[int], group: str, spacing: Sequence[float] | None) -> tuple[Symmetry, ...]:
    return point_group(grid, spacing) if group == "point" else (Symmetry(),)


Moved = Callable[[Sequence[int]], tuple[Symmetry, ...]]


def _amplitudes(x: Tensor, train: Tensor, moves: Moved) -> Tensor:
    """Fourier amplitudes, which no shift changes, averaged over the point group."""
    axes = tuple(range(2, x.ndim))
    centred = x.double() - x.double().mean(dim=axes, keepdim=True)
    norm = centred.flatten(1).norm(dim=1).clamp(min=1e-300).reshape(-1, *[1] * (x.ndim - 1))
    images = (torch.fft.rfftn(g.move(centred / norm), dim=axes).abs() for g in moves(x.shape[2:]))
    return torch.stack(list(images)).mean(0).flatten(1)


def _averaged(x: Tensor, train: Tensor, moves: Moved) -> Tensor:
    """Squares of the values averaged over the point group, of fields that are compared in place."""
    return torch.stack([g.move(x.double()) for g in moves(x.shape[2:])]).square().mean(0).flatten(1)


def _unlike(query: Tensor, train: Tensor, fold: bool) -> Tensor:
    overlap = _flat(query) @ _flat(train).T / query[0].numel()
    return (2 * (1 - (overlap.abs() if fold else overlap))).clamp(min=0).sqrt().cpu()


def _aligned(x: Tensor, train: Tensor) -> Tensor:
    """Turned so that the projection on the principal axis of the training set is positive."""
    axis = torch.linalg.eigh(_flat(train).T @ _flat(train))[1][:, -1]
    return _flat(x) * torch.where(_flat(x) @ axis < 0, -1.0, 1.0)[:, None]


def _first_up(x: Tensor) -> Tensor:
    return _flat(x) * torch.where(_flat(x)[:, :1] < 0, -1.0, 1.0)


MEASURES: dict[str, Callable[[], Measure]] = {
    "euclidean": lambda: Measure(_euclidean, False, _flat_pair, _flat),
    "field": field_measure,
    "translations": partial(field_measure, group="none"),
    "overlap": binary_measure,
}


def distinct(x: Tensor, measure: Measure) -> Tensor:
    """The configurations without exact repetitions, in their order."""
    rows = measure.canonical(x).cpu().numpy()
    first = np.unique(rows, axis=0, return_index=True)[1]
    return x if len(first) == len(x) else x[torch.as_tensor(np.sort(first), device=x.device)]


@dataclass(frozen=True)
class Neighbours:
    """What is known of each query (Q,) beside its training set."""

    distance: np.ndarray  # to the nearest training configuration
    gap: np.ndarray  # d1/d2, to the nearest over to the second nearest
    index: np.ndarray  # the nearest, position in the training set given
    own: np.ndarray  # from the nearest training configuration to its own nearest in the training set
    order: np.ndarray  # Y2 of the posterior over training configurations at ``scale``


def neighbours(query: Tensor, train: Tensor, measure: Measure, scale: float, own: Tensor) -> Neighbours:
    r"""Nearest training configurations of each query and :math:`Y_2 = \sum_\mu w_\mu^2` at a scale.

    Args:
        query, train: (Q, ...) and (T, ...), T >= 2 and distinct.
        measure: of distances.
        scale: variance :math:`s^2` of the weights :math:`w_\mu \propto e^{-d_\mu^2/2s^2}`.
        own: (T,) from each training configuration to its own nearest, nan where it is not known yet.
    """
    rows, parts = max(1, BLOCK // len(train)), []
    for block in query.split(rows):
        distance = measure.between(block, train)
        near, index = distance.topk(2, dim=1, largest=False)
        weights = torch.softmax(-distance.square() / (2 * scale), dim=1)
        parts.append((near, index[:, 0], weights.square().sum(1)))
    near, index, order = (torch.cat(p) for p in zip(*parts, strict=True))
    gap = torch.where(near[:, 1] > 0, near[:, 0] / near[:, 1], 1.0)
    own, used = own.clone(), index.unique()
    missing = used[own[used].isnan()]
    for block in missing.split(rows) if len(missing) else ():
        own[block] = _apart(block, train, measure).amin(dim=1)
    return Neighbours(near[:, 0].numpy(), gap.numpy(), index.numpy(), own[index].numpy(), order.numpy())


def _apart(rows: Tensor, train: Tensor, measure: Measure) -> Tensor:
    """Distances of some training configurations from all others, (len(rows), T); infinite from themselves."""
    distance = measure.between(train[rows.to(train.device)], train)
    distance[torch.arange(len(rows)), rows] = torch.inf
    return distance


def posterior_scale(train: Tensor, measure: Measure, seed: int) -> tuple[float, Tensor]:
    r"""Variance :math:`s^2` at which a training configuration has posterior weight .9 on itself, in the mean.

    :math:`w = 1/(1 + \sum_{\nu \ne \mu} e^{-d_{\mu\nu}^2/2s^2})`, averaged over at most 64 of them, chosen by the
    seed; at distance 0 is the same configuration. A copy has :math:`Y_2 \gtrsim .8` there.

    Returns:
        :math:`s^2`, and the distance (T,) of each training configuration from its nearest other one, nan for those that
        were not looked at.
    """
    rows = torch.as_tensor(np.random.default_rng(seed).permutation(len(train))[:PROBES])
    apart = _apart(rows, train, measure)
    own = torch.full((len(train),), torch.nan, dtype=apart.dtype)
    own[rows] = apart.amin(dim=1)
    squared = torch.where(apart == 0, torch.inf, apart).square()
    known = squared[squared.isfinite()]
    if len(known) == 0:
        raise InputError("all training configurations are the same up to symmetries: a second nearest one is needed")
    typical = float(known.mean())

    def excess(log_scale: float) -> float:
        others = torch.exp(-squared / (2 * typical * np.exp(log_scale))).sum(1)
        return float((1 / (1 + others)).mean()) - OWN_WEIGHT

    if excess(10.0) > 0:  # hardly any other configuration
        return typical * 1e4, own
    low = -25.0
    while excess(low) < 0:  # a few very near ones
        low -= 25.0
    return typical * float(np.exp(brentq(excess, low, 10.0, xtol=1e-4))), own


def check_shapes(generated: Tensor, train: Tensor, heldout: Tensor) -> None:
    """Raise InputError unless the three are configurations of one shape, in numbers that suffice."""
    shapes = {tuple(x.shape[1:]) for x in (generated, train, heldout)}
    if len(shapes) > 1:
        raise InputError(f"configurations of shapes {sorted(map(str, shapes))} cannot be compared: use one lattice")
    if len(train) < 2 or min(len(generated), len(heldout)) < FEWEST:
        raise InputError(
            f"{len(generated)} generated and {len(heldout)} held-out against {len(train)} training configurations: "
            f"a calibrated rate needs at least {FEWEST} of the first two and 2 of the last; draw or hold out more"
        )
