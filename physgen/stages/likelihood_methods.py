"""The ways to ln p of a configuration under a run: which of them there are for its values, and what each one finds.

Density by the probability flow, the bound from denoising errors, the bounds of the generative chain (variational, and
weighted over K reversed paths), and the law itself where the domain knows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.folder import Run
from physgen.runs.model import Model
from physgen.stages.encoded_data import EncodedData, noise_levels, noised
from physgen.stages.likelihood_options import (
    FLOWS,
    LAW,
    OF_DENSITIES,
    OF_ORDERS,
    OF_PROBABILITIES,
    LikelihoodOptions,
)

if TYPE_CHECKING:
    import torch

    from physgen.diffusion.inference.reverse_kernels import PathKernel
    from physgen.diffusion.inference.reversed_paths import ChainBounds

SMALL = 32  # values of a configuration whose exact trace costs little more than its probes


@dataclass(frozen=True)
class Estimate:
    """ln p of N configurations by one method.

    Attributes:
        method: its name. ln_p: nats, (N,).
        errors: parts of the error of one configuration, (N,) each; none for a closed form.
        cost: evaluations of the denoiser for one configuration, in words.
        meaning: what it is ln p of.
        shared: error of the mean over configurations that no number of them lowers, nats.
    """

    method: str
    ln_p: np.ndarray
    errors: Mapping[str, np.ndarray]
    cost: str
    meaning: str
    shared: float = 0.0

    @property
    def error(self) -> np.ndarray:
        """All parts in quadrature, (N,)."""
        return np.sqrt(sum((value**2 for value in self.errors.values()), np.zeros(len(self.ln_p))))


@dataclass(frozen=True)
class Measurement:
    """The methods on encoded data, each when it is asked for.

    Attributes:
        run, model, data, plan: what is measured, and how. progress: called as progress(done, total).
    """

    run: Run
    model: Model
    data: EncodedData
    plan: LikelihoodOptions
    progress: Progress | None = field(default=None, repr=False)

    @property
    def is_discrete(self) -> bool:
        """Whether configurations have probabilities instead of densities."""
        return self.model.domain.values.path_kernel() is not None

    @property
    def _every(self) -> tuple[str, ...]:
        if self.is_masked:
            return OF_ORDERS
        return OF_PROBABILITIES if self.is_discrete else OF_DENSITIES

    @property
    def dimension(self) -> int:
        """Numbers that a configuration has: all components of real ones, one of each site of kinds or angles."""
        x = self.data.x
        return x[0].numel() // (x.shape[1] if self._readout in ("categorical", "angle") else 1)

    @property
    def _readout(self) -> str | None:
        how = self.model.domain.values.path_kernel()
        return None if how is None else how[1]

    @property
    def _exact_words(self) -> str:
        """What is stated of values that a last step reads out."""
        return "p(x) per radian" if self._readout == "angle" else "P(x)"

    @property
    def is_masked(self) -> bool:
        """Whether the network unmasks sites, in any order, instead of denoising them."""
        return self.model.is_masked

    def estimates(self) -> list[Estimate]:
        """One for each method; ``law`` is left out of ``all`` where the domain does not know it."""
        by: dict[str, Callable[[str], Estimate | None]] = dict.fromkeys(FLOWS, self._flow)
        by |= {"bound": self._bound, "vlb": self._variational, "path": self._path, LAW: self._law}
        found = {name: by[name](name) for name in self.plan.methods(self._every, not self.is_discrete)}
        if found.get(LAW, 0) is None and LAW in self.plan.method.split(","):
            raise InputError(
                "method = 'law' needs a law in closed form, which is not known of these data: leave it out"
            )
        return [estimate for estimate in found.values() if estimate is not None]

    @cached_property
    def chain(self) -> ChainBounds:
        """Bounds from reversed paths, those of ``vlb`` and ``path``."""
        from physgen.diffusion.inference.masked_orders import masked_bounds
        from physgen.diffusion.inference.reversed_paths import chain_bounds

        model, plan, seed = self.model, self.plan, self.plan.seed
        shared: dict[str, Any] = {"condition": self._given, "streams": self._numbers, "progress": self.progress}
        x = self.data.x.to(model.device)
        if self.is_masked:  # its levels are masked fractions, its paths are orders of the sites
            return masked_bounds(model.denoiser, x, plan.paths, seed, steps=plan.steps, **shared)
        x = x if self.is_discrete else self._noisy
        kernel, readout = model.domain.values.path_kernel() or (self._real_kernel(), "gaussian")
        return chain_bounds(
            model.denoiser, kernel, self._levels(), x, plan.paths, seed, readout=readout, dtype=working_dtype(model),
            **shared,
        )  # fmt: skip

    def _levels(self) -> torch.Tensor:
        """Of the chain: down to 0 for discrete values, whose last step reads them out, else to s_min."""
        from physgen.diffusion.levels import log_uniform
        from physgen.runs.levels import path_levels
        from physgen.stages.sampling import known_conditions

        steps = self.plan.steps_of("path")
        how = self.model.domain.values.path_kernel()
        if how is not None:
            return path_levels(self.model, how, steps, partial(known_conditions, self.run, self.model)).values
        s_min, s_max = noise_levels(self.model)
        return log_uniform(s_max, s_min, steps + 1)[:-1]

    def _real_kernel(self) -> PathKernel:
        from physgen.diffusion.inference.reverse_kernels import Ancestral
        from physgen.diffusion.inference.spectrum_kernel import SpectrumCovariance

        spectrum: Any = getattr(self.model.denoiser, "spectrum", None)
        return Ancestral() if spectrum is None or self.plan.kernel == "ancestral" else SpectrumCovariance(spectrum)

    @property
    def _numbers(self) -> list[int]:
        return list(range(len(self.data.x)))

    @property
    def _given(self) -> dict[str, torch.Tensor] | None:
        return {name: value.to(self.model.device) for name, value in self.data.condition.items()} or None

    @property
    def _noisy(self) -> torch.Tensor:
        return noised(self.model, self.data.x, self._numbers, self.plan.seed).to(self.model.device)

    def _flow(self, name: str) -> Estimate:
        found = flow_likelihood(
            self.model, self.data.x, self._given, self._numbers, self.plan, self.progress, method=name
        )
        size, blocks = self.data.x[0].numel(), math.ceil(len(self.data.x) / self._tile)
        divergence, calls = divergence_of(name, size), found.evaluations / blocks
        slopes = calls * (self.plan.probes if divergence == "hutchinson" else size)
        words = {"hutchinson": "trace by probes", "exact": "exact trace", "jacobian": "exact Jacobian of its steps"}
        parts = {"probe_error": found.probe_error, "step_error": found.step_error, "prior_error": found.prior_error}
        return Estimate(
            name, found.nats.cpu().numpy(), {part: value.cpu().numpy() for part, value in parts.items()},
            f"{calls:.0f} + {slopes:.0f} backward", f"probability flow, {words[divergence]}, at y = x + s_min z",
            float((found.step_error + found.prior_error).mean()),
        )  # fmt: skip

    @property
    def _tile(self) -> int:
        from physgen.diffusion.sampling.tiles import tile_of

        return tile_of(tuple(self.data.x.shape[1:]), self.model.device.type)

    def _bound(self, name: str) -> Estimate:
        from physgen.diffusion.exact.law import LOG_2PI
        from physgen.diffusion.inference.bound import BoundSettings, denoising_bound

        plan, model = self.plan, self.model
        settings = BoundSettings(plan.probes, plan.steps_of(name), plan.seed)
        drawn = denoising_bound(
            model.denoiser, noise_levels(model), self.data.x.to(model.device), self._given, self._numbers, settings,
            self.progress,
        ).numpy()  # fmt: skip
        error = {"draw_error": drawn.std(0, ddof=1) / math.sqrt(len(drawn))}
        cost, meaning = f"{plan.probes * plan.steps_of(name)}", "denoising errors, mean over the noise z"
        nats = drawn.mean(0)
        if self.is_discrete:  # the noise that is left hides no value: less its own entropy this is ln P
            # of angles only the noise across the circle is over and above the value
            across = self.data.x[0].numel() - (self.dimension if self._readout == "angle" else 0)
            nats = nats + 0.5 * across * (LOG_2PI + 1 + 2 * math.log(model.encoding.s_min))
            meaning = f"denoising errors down to {model.encoding.s_min:.3g}, in continuous time, {self._exact_words}"
        shared = float(drawn.mean(1).std(ddof=1)) / math.sqrt(len(drawn))  # all rows have the levels of a draw
        return Estimate(name, nats, error, cost, meaning, shared)

    def _variational(self, name: str) -> Estimate:
        found = self.chain
        return self._of_chain(name, found.variational, found.variational_error, "variational bound")

    def _path(self, name: str) -> Estimate:
        found = self.chain
        return self._of_chain(name, found.importance(), found.importance_error(), f"{self.plan.paths} reversed paths")

    def _of_chain(self, name: str, nats: torch.Tensor, error: torch.Tensor, words: str) -> Estimate:
        where = self._exact_words if self.is_discrete else "y = x + s_min z"
        meaning = f"{words} of the chain of {len(self.chain.levels) - 1} steps, {where}"
        errors = {"path_error": error.cpu().numpy()}
        return Estimate(name, nats.cpu().numpy(), errors, f"{self.chain.evaluations}", meaning)

    def _law(self, name: str) -> Estimate | None:
        """The law at the data, one call for all that have the same condition."""
        import torch

        from physgen.stages.laws import digests

        law = self.model.domain.log_law(self.data.ensemble, self.model.encoding.domain)
        if law is None:
            return None
        s, x = (0.0, self.data.x.double()) if self.is_discrete else (self.model.encoding.s_min, self._noisy.cpu())
        same: dict[bytes, list[int]] = {}
        for row, digest in enumerate(digests(self.data.condition, self._numbers)):
            same.setdefault(digest, []).append(row)
        nats = torch.empty(len(x), dtype=torch.float64)
        for rows in same.values():
            nats[rows] = law(x[rows], rows[0], s)
        meaning = f"the law of the data itself, {self._exact_words if self.is_discrete else 'y = x + s_min z'}"
        return Estimate(name, nats.numpy(), {}, "0", meaning) if bool(nats.isfinite().all()) else None


def divergence_of(method: str, size: int) -> Literal["exact", "hutchinson", "jacobian"]:
    """How a flow of this name gets the divergence of configurations of so many values."""
    if method == "flow":
        return "exact" if size <= SMALL else "hutchinson"
    return method if method in ("exact", "jacobian") else "hutchinson"  # type: ignore[return-value]


def flow_likelihood(
    model: Model,
    x: torch.Tensor,
    condition: Any,
    numbers: list[int],
    plan: LikelihoodOptions,
    progress: Any = None,
    method: str = "hutchinson",
) -> Any:
    """ln p by the probability flow from s_min to s_max, of x with its noise; probes and noise by ``numbers``."""
    from physgen.diffusion.inference.likelihood import log_likelihood
    from physgen.diffusion.levels import log_uniform
    from physgen.diffusion.sampling.tiles import tile_of

    s_min, s_max = noise_levels(model)
    y = noised(model, x, numbers, plan.seed).to(model.device)
    divergence = divergence_of(method, x[0].numel())
    return log_likelihood(
        model.denoiser, log_uniform(s_max, s_min, plan.steps_of(method) + 1), y, condition,
        method="heun" if divergence == "jacobian" else "rk4", divergence=divergence, probes=plan.probes, seed=plan.seed,
        batch=tile_of(tuple(x.shape[1:]), model.device.type), dtype=working_dtype(model), streams=numbers,
        progress=progress,
    )  # fmt: skip


def working_dtype(model: Model) -> torch.dtype:
    """Of the weights."""
    return next(iter(model.denoiser.parameters())).dtype
