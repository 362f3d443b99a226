r"""The inventions in the order of their years: a rule of steps and the noise levels that its source chose.

All draw with one denoiser D(y, s), so that what differs is what is done with its evaluations. DDPM and DDIM (= Euler's
method in y, s) and both stochastic ones take times that are equally spaced in the variance-preserving process of DDPM
(beta from 0.1 to 20, :math:`s(t) = (e^{\int\beta} - 1)^{1/2}`), EDM its own levels (rho = 7), DPM-Solver++ those
that are equally spaced in ln s. Levels are cut at the range that the network was trained on, and the last is 0 for all.

Sources: Ho et al. 2006.11239 (DDPM), Song et al. 2010.02502 (DDIM), Song et al. 2011.13456 (score SDE), Karras et al.
2206.00364 (EDM), Lu et al. 2211.01095 (DPM-Solver++).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from physgen.diffusion.levels import karras, log_uniform
from physgen.diffusion.sampling import evaluations
from physgen.diffusion.sde import VP
from physgen.errors import InputError
from physgen.runs.levels import Levels, choose_levels
from physgen.runs.model import Model

Rule = Callable[[Model, str, int], torch.Tensor]


def even_times(model: Model, sampler: str, steps: int) -> torch.Tensor:
    """Levels of equally spaced times of the process of DDPM, (steps + 1,)."""
    process = VP()
    first, last = (float(process.t_of_s(s)) for s in (model.encoding.s_max, model.encoding.s_min))
    times = torch.linspace(first, last, steps, dtype=torch.float64)
    return torch.cat([process.s(times), torch.zeros(1, dtype=torch.float64)])


def of_levels(levels: Callable[..., torch.Tensor], model: Model, sampler: str, steps: int) -> torch.Tensor:
    """``levels`` over the range that was trained."""
    return levels(model.encoding.s_max, model.encoding.s_min, steps)


def checked(model: Model, sampler: str, steps: int) -> torch.Tensor:
    """Those that physgen takes by itself."""
    return choose_levels(model, sampler, steps).values


@dataclass(frozen=True)
class Method:
    """A line of the table: its name, its year, a sampler of physgen and the levels that it takes."""

    name: str
    year: int
    sampler: str
    levels: Rule

    def within(self, model: Model, most: int) -> tuple[Levels, int]:
        """The levels of as many steps as ``most`` evaluations allow, and the evaluations that they cost.

        Raises InputError where they allow no two steps.
        """
        for steps in range(most, 1, -1):
            values = torch.linspace(1, 0, steps + 1)  # the cost is that of their number
            if evaluations(self.sampler, values) <= most:
                found = self.levels(model, self.sampler, steps)
                return Levels(found, self.name), evaluations(self.sampler, found)
        raise InputError(f"{self.name} needs more than {most} evaluations")


METHODS = (
    Method("DDPM, ancestral", 2020, "ancestral", even_times),
    Method("DDIM", 2020, "euler", even_times),
    Method("score SDE, Euler-Maruyama", 2020, "euler_maruyama", even_times),
    Method("score SDE, predictor-corrector", 2020, "predictor_corrector", even_times),
    Method("EDM, Heun", 2022, "heun", partial(of_levels, karras)),
    Method("DPM-Solver++ 2M", 2022, "dpmpp_2m", partial(of_levels, log_uniform)),
    Method("modes, 4th order (physgen)", 2026, "modal_4m", checked),
)
