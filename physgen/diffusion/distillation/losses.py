r"""Losses of students: four ways to teach a flow map of few evaluations what a trained denoiser knows.

All compare in u (:mod:`physgen.diffusion.distillation.flow_map`), where every mode counts alike, whatever its power; sg
stops the gradient. Levels lie on the way of the teacher: of N intervals of equal length, (s', s) is the one below s.

==========================  ==============================================================================
``progressive``             u(s -> s') = two steps of the teacher in the same interval, N halved phase by phase, where
                            the student of a phase teaches the next one. Salimans and Ho, arXiv:2202.00512
``consistency``             u(s -> 0) = sg u(s' -> 0) from the teacher's step to s'. Song et al., arXiv:2303.01469
``consistency_training``    the same without the teacher, from the same noise at s', N growing: a tuning of the
                            denoiser's weights. Geng et al., arXiv:2406.14548
``mean_flow``               (G - F) d theta/d ln s + (theta(s) - theta(r)) dG/d ln s = 0, the derivative along the
                            teacher's flow, every r < s. Geng et al., arXiv:2505.13447, with a teacher
==========================  ==============================================================================

Shapes: B batch, C channels, \*grid lattice, \*modes those of the frame.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser, like
from physgen.diffusion.distillation.flow_map import FlowMap, angle, midpoint, rest
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.networks.layers import NEXT_LEVEL

FORWARD, STEP = 1.0, 3.0  # cost of an evaluation, and of one with its gradient


def mean_square(student: FlowMap, modes: Tensor) -> Tensor:
    r"""Mean over all values of the square of the field that has these modes (B, C, \*modes); (B,)."""
    squares = torch.view_as_real(modes).square().sum(-1) if modes.is_complex() else modes.square()
    if isinstance(student.spectrum, Spectrum):
        return student.spectrum.mean_over_modes(squares) / math.prod(student.spectrum.grid)
    return squares.flatten(1).mean(1)


def _mean_angle(student: FlowMap, turned: Tensor) -> Tensor:
    """Mean over all values of squares of angles, of the shape of the power; (B,) or (1,)."""
    if isinstance(student.spectrum, Spectrum):
        return student.spectrum.mean_over_modes(turned.square())
    return turned.square().flatten(1).mean(1)


class StudentLoss(nn.Module):
    """Base of the losses: called with (x0, s, noise, condition) as a denoising loss is, gives (B,).

    Args:
        student: the flow map that learns. teacher: D(y, s, condition).
        evaluations: steps at which the student shall draw.

    ``follow(share)`` is told which share of the training is done, before each step but the first.
    """

    method: ClassVar[str]
    sampler: ClassVar[str]
    cost: ClassVar[float]  # of a step, in evaluations; STEP of a denoising step
    intervals: Tensor

    def __init__(self, student: FlowMap, teacher: Denoiser, evaluations: int) -> None:
        super().__init__()
        self.student, self.evaluations = student, evaluations
        self._teacher = [teacher]  # not a part of what is trained
        self.register_buffer("intervals", torch.tensor(float(self.number(0.0))))

    @property
    def teacher(self) -> Denoiser:
        """The denoiser that teaches."""
        return self._teacher[0]

    def number(self, share: float) -> int:
        """Intervals N of the way when a share of the training is done."""
        raise NotImplementedError

    def follow(self, share: float) -> None:
        """Set what changes along the training."""
        self.intervals.fill_(self.number(share))

    def kept(self) -> dict[str, Tensor]:
        """What a checkpoint must hold besides weights and step."""
        return {}

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`kept`."""
        return None


class Consistency(StudentLoss):
    """Consistency distillation: the end does not depend on where on the teacher's path the map starts.

    What is known at s = 0 comes up the way by one interval at a time, so there are few at first: 4, 8, then 16.
    """

    method, sampler, cost = "consistency", "consistency", STEP + 3 * FORWARD

    def number(self, share: float) -> int:
        return 2 ** min(2 + int(3 * share), 4)

    def lower(self, x0: Tensor, noise: Tensor, u: Tensor, s: Tensor, below: Tensor, condition: Condition) -> Tensor:
        """u at the level below."""
        return midpoint(self.teacher, self.student.frame, u, s, below, condition)

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Squared difference of the two ends over that of the angle between their starts."""
        student, zero = self.student, torch.zeros_like(s)
        share = student.share_of(s)
        below = student.level_at((share - 1 / self.intervals).clamp(min=0)).to(s)
        below = torch.where(share * self.intervals <= 1, zero, below)
        u = student.coordinates(x0 + like(s, x0) * noise, s, condition)
        with torch.no_grad():
            lower = self.lower(x0, noise, u, s, below, condition)
            inside = below > 0
            end = student.moved(lower, torch.where(inside, below, s), zero, condition)
            end = torch.where(like(inside, lower), end, lower)
            power = student.frame(condition).to(s)
            unit = _mean_angle(student, angle(s, below, power, u))
        return mean_square(student, student.moved(u, s, zero, condition) - end) / unit


class ConsistencyTraining(Consistency):
    """Consistency training from the weights of a denoiser: intervals shrink from an eighth of the way to 1/128."""

    method, sampler, cost = "consistency_training", "consistency", STEP + FORWARD

    def number(self, share: float) -> int:
        return 2 ** min(3 + int(5 * share), 7)

    def lower(self, x0: Tensor, noise: Tensor, u: Tensor, s: Tensor, below: Tensor, condition: Condition) -> Tensor:
        """u at the level below, of the same noise: on average a step of the flow."""
        return self.student.coordinates(x0 + like(below, x0) * noise, below, condition)


class Progressive(StudentLoss):
    """Progressive distillation on the intervals of the way; in the first phase the teacher takes midpoint steps."""

    method, sampler, cost = "progressive", "flow_map", STEP + 4 * FORWARD
    PHASES: ClassVar[int] = 2

    def __init__(self, student: FlowMap, teacher: Denoiser, evaluations: int) -> None:
        super().__init__(student, teacher, evaluations)
        self._frozen: FlowMap | None = None

    def phase(self, share: float) -> int:
        """Number of the phase, from 0."""
        return min(int(self.PHASES * share), self.PHASES - 1)

    def number(self, share: float) -> int:
        return self.evaluations * 2 ** (self.PHASES - 1 - self.phase(share))

    def follow(self, share: float) -> None:
        """The student of a phase that is over teaches the next one."""
        if self.number(share) != int(self.intervals):
            self._frozen = copy.deepcopy(self.student).eval().requires_grad_(False)
        super().follow(share)

    def kept(self) -> dict[str, Tensor]:
        return {} if self._frozen is None else self._frozen.state_dict()

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        if kept:
            self._frozen = copy.deepcopy(self.student).eval().requires_grad_(False)
            self._frozen.load_state_dict(kept)

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Squared difference from two steps over the square of the angle."""
        student = self.student
        number = (student.share_of(s) * self.intervals).ceil().clamp(min=1)
        s, r = (student.level_at(n / self.intervals).to(s) for n in (number, number - 1))
        middle = student.level_at((number - 0.5) / self.intervals).to(s)
        r = torch.where(number > 1, r, torch.zeros_like(r))
        u = student.coordinates(x0 + like(s, x0) * noise, s, condition)
        with torch.no_grad():
            step = self._frozen.moved if self._frozen is not None else self._teachers_step
            end = step(step(u, s, middle, condition), middle, r, condition)
            unit = _mean_angle(student, angle(s, r, student.frame(condition).to(s), u))
        return mean_square(student, student.moved(u, s, r, condition) - end) / unit

    def _teachers_step(self, u: Tensor, s: Tensor, r: Tensor, condition: Condition) -> Tensor:
        return midpoint(self.teacher, self.student.frame, u, s, r, condition)


class MeanFlow(StudentLoss):
    r"""Mean flow along the teacher's path. r is s in a quarter of the cases, 0 in another one, else between them.

    With q = d theta/d ln s the residual :math:`R = q (G - F) + (\theta(s) - \theta(r))\,dG/d\ln s` is stepped down by
    the loss :math:`|G - \mathrm{sg}(G - R/n)|^2`, :math:`n^2` the mean over the modes of the squares of q and of the
    angle: where all modes stand still (q = 0) the network's own change with the level would else rule all steps.
    """

    # the derivative of the network takes its slow path: measured as 6 evaluations on one core
    method, sampler, cost = "mean_flow", "flow_map", STEP + 7 * FORWARD

    def number(self, share: float) -> int:
        return self.evaluations

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """The square of R/n."""
        student = self.student
        share, drawn = student.share_of(s), torch.rand_like(s)
        r = student.level_at(share * ((drawn - 0.25) / 0.5).clamp(0, 1)).to(s)
        r = torch.where(drawn < 0.25, torch.zeros_like(s), torch.where(drawn > 0.75, s, r))
        u = student.coordinates(x0 + like(s, x0) * noise, s, condition)
        given = {**(condition or {}), NEXT_LEVEL: r}
        with torch.no_grad():
            power = student.frame(condition).to(s)
            level = like(s, u)
            speed = level * power.sqrt() / (power + level.square())
            flow = rest(self.teacher, student.frame, u, s, condition)
            along = student.frame.field(-speed * flow)
            at = student.frame.field(u)

            def mean(x: Tensor, c_noise: Tensor) -> Tensor:
                return student.network(x, c_noise, given)

            changed = torch.func.jvp(mean, (at, s.log() / 4), (along, torch.full_like(s, 0.25)))[1]
            turn = angle(s, r, power, u)
            turned = turn * student.frame.modes(changed.to(s.dtype))
            unit = (_mean_angle(student, speed) + _mean_angle(student, turn)).sqrt()
        found = student.mean_rest(u, s, r, condition)
        residual = speed * (found.detach() - flow) + turned
        return mean_square(student, found - (found.detach() - residual / like(unit, residual)))


METHODS: dict[str, Callable[[FlowMap, Denoiser, int], StudentLoss]] = {
    "progressive": Progressive,
    "consistency": Consistency,
    "consistency_training": ConsistencyTraining,
    "mean_flow": MeanFlow,
}
