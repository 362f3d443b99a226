"""Proposals of a trained network for a Monte Carlo that accepts them with the exact probability.

A domain's Monte Carlo takes them as a callable and knows no network; what makes them exact is
:mod:`physgen.diffusion.inference.path_moves`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.config import Experiment
from physgen.diffusion.inference.path_moves import PathProposal
from physgen.diffusion.sampling.tiles import tile_of
from physgen.ensemble import SPACE
from physgen.errors import InputError
from physgen.runs.folder import Run, open_run
from physgen.runs.levels import Levels, path_levels
from physgen.runs.model import Model, load_model
from physgen.stages.laws import Laws
from physgen.stages.sampling import known_conditions

if TYPE_CHECKING:
    import xarray as xr

VALUES = 2**14  # of all rows in one call of the network
# (configurations, number of the move) -> (configurations, ln of the ratio to accept each with)
Propose = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Proposals:
    """A network that proposes whole configurations under any conditions that it can draw under.

    Attributes:
        model: the network.
        levels: noise levels of its paths.
        seed: of the random numbers of all moves.
    """

    model: Model
    levels: Levels
    seed: int = 0

    @classmethod
    def of(cls, run: str | Path | Run, steps: int | None = None, seed: int = 0, device: str = "auto") -> Proposals:
        """Those of a run or of a network that comes with the package.

        Args:
            run: its folder or name.
            steps: of each path; None for the run's own number. More of them cost more and are accepted more often.
            seed: of the moves.
            device: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            InputError: no run, or a domain that does not know the law of its data.
        """
        run = run if isinstance(run, Run) else open_run(run)
        model = load_model(run.folder / "model", device)
        model.check_noise("moving by noise and back")
        how = model.domain.values.path_kernel()
        if how is None:
            raise InputError(f"proposals need paths with weights, which {model.domain.name} does not have: use sample")
        count = run.experiment.sampling.steps if steps is None else steps
        if count < 2:
            raise InputError(f"steps = {steps} is too few: give at least 2, or leave it out for the run's own")
        return cls(model, path_levels(model, how, count, partial(known_conditions, run, model)), seed)

    def model_for(self, like: xr.Dataset, many: int) -> tuple[Model, xr.Dataset]:
        """The network on the lattice of ``like``, and a template of ``many`` draws under each of its conditions.

        Raises InputError where the network cannot draw under them.
        """
        template = self.model.domain.request(like, many, {}, self.model.encoding.domain)
        encoding = replace(self.model.encoding, grid=_grid(self.model, template))
        return replace(self.model, encoding=encoding), template

    def __call__(self, like: xr.Dataset, many: int) -> Propose:
        r"""What proposes ``many`` configurations under each condition of ``like``, all in one batch.

        Returns:
            a callable: configurations (\*conditions, many, \*grid), and a number that differs from move to move ->
            configurations of the same shape and dtype, and the logarithms (\*conditions, many) of the ratios w'/w;
            each is to be accepted with probability min(1, w'/w).

        Raises:
            InputError: conditions that the network cannot draw under, or a law that the domain does not know.
        """
        model, template = self.model_for(like, many)
        domain, encoding, constants = model.domain, model.encoding, model.encoding.domain
        target, how = domain.log_target(template, constants), domain.values.path_kernel()
        if target is None or how is None:
            raise InputError(f"proposals need the law itself, which {domain.name} does not know of its data")
        condition = {name: value.to(model.device) for name, value in domain.condition(template, constants).items()}
        laws = Laws(template, encoding.sample_dims, condition)

        def propose(configurations: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
            sizes = [int(template.sizes[dim]) for dim in encoding.sample_dims]
            shape = np.shape(configurations)
            if np.size(configurations) != np.prod([*sizes, *encoding.grid]):
                raise InputError(
                    f"configurations of shape {shape} are not {sizes} of the lattice {encoding.grid}: give as many as "
                    "the proposals were made for"
                )
            dims = [*encoding.sample_dims, *(dim for dim in SPACE if dim in template.sizes)]
            field = np.reshape(configurations, (*sizes, *encoding.grid))
            x, _ = domain.encode(template.assign(field=(dims, field)), constants)
            found = paths(x.to(model.device), number)
            new = domain.decode(found.x.cpu(), template, constants)["field"].transpose(*dims).values
            # configurations may come with their sites in one axis
            leading = next(k for k in range(len(shape), -1, -1) if np.prod(shape[:k]) == len(found.log_ratio))
            ratio = found.log_ratio.cpu().numpy().reshape(shape[:leading])
            return new.astype(configurations.dtype).reshape(shape), ratio

        paths = PathProposal(
            model.denoiser, how[0], self.levels.values, partial(_log_target, target, laws), how[1], condition or None,
            self.seed, model.device, _tile(laws.count * laws.draws, encoding.shape, model.device),
        )  # fmt: skip
        return propose


@dataclass(frozen=True)
class NetworkMoves:
    """What a Monte Carlo is to be given: the network of a run, and how often it proposes.

    Attributes:
        run: its folder or name, or the name of a network that comes with the package.
        every: sweeps between two proposals.
        steps: of each path; None for the run's own number.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    run: str | Path
    every: int = 100
    steps: int | None = None
    device: str = "auto"

    def proposals(self, experiment: Experiment) -> Proposals:
        """Those of the network, with the seed of an experiment.

        Raises InputError where the network knows another physics than the experiment is of, or has no paths.
        """
        if self.every < 1:
            raise InputError(f"{self.every} sweeps between proposals: give at least 1")
        run = open_run(self.run)
        theirs = run.experiment.domain
        if theirs != experiment.domain:
            raise InputError(
                f"{self.run} is a network for {theirs}, the experiment simulates {experiment.domain}: propose with a "
                "run of the same domain"
            )
        return Proposals.of(run, self.steps, experiment.seed, self.device)


def _tile(count: int, shape: tuple[int, ...], device: torch.device) -> int:
    """As many at once as there are, up to a bound in values: every move of a run has the same number of rows."""
    return min(count, max(tile_of(shape, device.type), VALUES // math.prod(shape)))


def _grid(model: Model, template: xr.Dataset) -> tuple[int, ...]:
    """The lattice of a template, where the network is one for it."""
    grid, trained = tuple(int(template.sizes[dim]) for dim in SPACE if dim in template.sizes), model.encoding.grid
    if grid != trained and not model.domain.fits_lattice(model.experiment.network.model_dump(), trained, grid):
        raise InputError(f"the lattice {grid} is not that of the network, {trained}: propose with one trained on it")
    return grid


def _log_target(target: Any, laws: Laws, x: torch.Tensor) -> torch.Tensor:
    """ln of the law of every row, law by law."""
    found = torch.empty(len(x), dtype=torch.float64, device=x.device)
    for rows in laws:
        found[rows] = target(x[rows], int(rows[0]))
    return found
