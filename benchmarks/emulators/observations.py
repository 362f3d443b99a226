"""Fields given observations: coverage of the posterior where it is known, and of a trained network on held-out maps.

    python -m benchmarks.emulators.observations [RUN [--operator ...] [--maps N] [--twin] [-o rows.json]]

The denoiser of the Gaussian field is exact and so is its covariance: what is left is the bias of the sampler. RUN is
the folder of a trained run of maps, whose test part is observed and drawn again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from benchmarks.regimes.row import Row
from physgen.diffusion.exact import GaussianField
from physgen.diffusion.inference.inverse import OBSERVED, VARIANCE, Observation, PosteriorDenoiser
from physgen.diffusion.inference.measurement import Blur, Chain, Downsample
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.samplers import sample
from physgen.ensemble import from_array, sample_count, units_of_samples
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages import observation
from physgen.stages.observation import PosteriorOptions, posterior_ensemble
from physgen.stages.observed import Frame, observe

SIDE, FIELDS, DRAWS, STEPS = 16, 100, 9, 24
TOLERANCE = 0.03  # of the issue: coverage within 3 % of nominal
OPERATORS: dict[str, tuple[Chain, float, bool]] = {  # name -> what acts, noise, whether a central hole is masked
    "mask hole=0.5": (Chain(), 0.0, True),
    "noise sigma=0.5": (Chain(), 0.5, False),
    "blur fwhm=3 cells, noise sigma=0.2": (Chain((Blur((3.0, 3.0)),)), 0.2, False),
    "downsample factor=2": (Chain((Downsample(2),)), 0.0, False),
}
MAP_OPERATORS = (
    "mask hole=0.5",
    "downsample factor=2",
    "downsample factor=4",
    "noise sigma=0.5, mask hole=0.3",
    "blur fwhm=2 cells, noise sigma=0.2, mask hole=0.3",
)
BANDS = ((0.05, 0.3), (0.3, 0.6), (0.6, 1.0))  # of k_Nyquist


def exact_field() -> GaussianField:
    """A steep spectrum on SIDE^2 sites, of unit variance."""
    k = torch.fft.fftfreq(SIDE, 1 / SIDE, dtype=torch.float64)
    power = 1 / (1 + k[:, None] ** 2 + k**2) ** 1.25
    return GaussianField((power / power.mean())[None])


def gaussian_rows(fields: int = FIELDS, draws: int = DRAWS) -> list[Row]:
    """Coverage of cells of an exact Gaussian field under each operator."""
    from physgen.diagnostics.posterior_coverage import posterior_coverage

    law, rows = exact_field(), []
    truth = law.sample(fields, torch.Generator().manual_seed(1))
    for name, (linear, sigma, hole) in OPERATORS.items():
        a = linear(truth)
        a = a + sigma * torch.randn(a.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        if hole:
            a[..., SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = torch.nan
        given = {OBSERVED: a, VARIANCE: torch.full_like(a, sigma**2)}
        denoiser = PosteriorDenoiser(law, Observation(linear), "wiener", tolerance=1e-4)
        x = sample(
            denoiser, log_uniform(120, 0.01, STEPS), (fields * draws, 1, SIDE, SIDE), 3,
            {key: value.repeat_interleave(draws, 0) for key, value in given.items()}, tile=draws * fields // 4,
        )  # fmt: skip
        drawn = x.reshape(fields, draws, SIDE, SIDE).numpy()
        known = from_array(truth[:, 0].numpy(), f"{SIDE} Mpc/h")
        posterior = known.drop_vars("field").assign(field=(("sample", "draw", "y", "x"), drawn))
        if hole:
            told = torch.nan_to_num(a[:, 0]).numpy(), np.isfinite(a[:, 0].numpy()).astype(np.int8)
            names = ("observation", "observation_seen")
            posterior = posterior.assign({n: (("sample", "y", "x"), v) for n, v in zip(names, told, strict=True)})
        rows += _rows(f"Gaussian field {SIDE}^2, {name}", posterior_coverage(known, posterior))
    return rows


def _rows(name: str, found: xr.Dataset, how: str = "") -> list[Row]:
    note = f"{found.attrs['n_independent']} independent units, {found.attrs['draws']} draws each; kept: within 3 %"
    figures = zip(*(found[n].values.tolist() for n in ("level", "value", "error", "seen")), strict=True)
    return [
        Row(
            f"{name}: coverage at {100 * p:.0f} %", value, error, p,
            kept=abs(value - p) <= TOLERANCE, note=f"{note}; would see {100 * seen:.1f} %; {how}".removesuffix("; "),
        )
        for p, value, error, seen in figures
    ]  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """How a run is observed and drawn again.

    Attributes:
        maps: the first of each of so many simulations, so that all are independent. draws: of each.
        twin: draw the truth from the Gaussian surrogate of the run, through the same decoding, and take its exact
            denoiser: what is left then is no fault of the network.
        steps, sampler, method: of the posterior; None for those of ``physgen sample --given``.
    """

    maps: int = FIELDS
    draws: int = DRAWS
    twin: bool = False
    steps: int | None = None
    sampler: str | None = None
    method: str | None = None


def network_rows(folder: str | Path, operators: Sequence[str], trial: Trial) -> Iterator[Row]:
    """Coverage of cells, and of modes in three bands, of held-out maps of a trained run under each operator."""
    from physgen.diagnostics.posterior_coverage import posterior_coverage

    run = open_run(folder)
    model = load_model(run.folder / "model", "cpu")
    truth, name = one_of_each(run.part("test"), trial.maps), run.experiment.name
    if trial.twin:
        model = dataclasses.replace(model, denoiser=FieldDenoiser(Silent(), model.denoiser.spectrum))
        truth = surrogate_maps(Frame.of(run, model), truth)
        name = f"Gaussian twin of {name}"
    known, observation.METHOD = observation.METHOD, trial.method or observation.METHOD
    try:
        for text in operators:
            began = time.process_time()
            options = PosteriorOptions(draws=trial.draws, sampler=trial.sampler, steps=trial.steps)
            options = dataclasses.replace(options, operator=text)
            posterior = posterior_ensemble(run, observe(run, truth, text, 1, model), options, model=model)
            found = posterior_coverage(truth, posterior)
            made = posterior.attrs
            how = f"{made['sampler_steps']} steps of {made['sampler']}, {made['posterior_method']}"
            yield from _map_rows(f"{name}, {text}", found, f"{how}, {time.process_time() - began:.0f} CPU s")
    finally:
        observation.METHOD = known


def one_of_each(test: xr.Dataset, count: int) -> xr.Dataset:
    """The first map of each of ``count`` simulations."""
    units = units_of_samples(test)
    first = np.sort(np.unique(units, return_index=True)[1])[:count]
    return test.isel({test["field"].dims[0]: first})


class Silent(torch.nn.Module):
    """A network that says nothing, which leaves the Wiener filter."""

    def forward(self, x: torch.Tensor, noise: torch.Tensor, condition: object = None) -> torch.Tensor:
        """0."""
        return torch.zeros_like(x)


def surrogate_maps(frame: Frame, truth: xr.Dataset, seed: int = 5) -> xr.Dataset:
    """Fields of the Gaussian surrogate under the labels of the truth, decoded as the network's are."""
    spectrum = frame.model.denoiser.spectrum
    condition = frame.model.domain.condition(truth, frame.constants)
    white = noise_like(seed, "benchmark twin", range(sample_count(truth)), frame.model.encoding.shape)
    return frame.ensemble(spectrum.field(spectrum(condition).sqrt() * spectrum.modes(white)), truth)


def _map_rows(name: str, found: xr.Dataset, how: str) -> Iterator[Row]:
    from physgen.diagnostics.posterior_coverage import band_coverage

    yield from _rows(name, found, how)
    nyquist = float(found["k"].max()) / np.sqrt(2)  # the last shell lies in the corner of the lattice
    for low, high in BANDS:
        value, error = band_coverage(found, low * nyquist, high * nyquist)
        for p, v, e in zip(found["level"].values, value, error, strict=True):
            where = f"{name}: coverage of modes at {100 * p:.0f} %, {low:g} to {high:g} k_Nyq"
            yield Row(where, float(v), float(e), float(p), kept=bool(abs(v - p) <= TOLERANCE), note=how)
        shells = found.sel(k=slice(low * nyquist, high * nyquist))
        r = [float(shells[f"{kind}_correlation"].mean()) for kind in ("mean", "draw")]
        error = float(shells["mean_correlation_error"].mean())
        where = f"{name}: r(k) of the posterior mean, {low:g} to {high:g} k_Nyq"
        yield Row(where, r[0], error, note=f"of one draw {r[1]:.3f}; error of one shell")


def rows() -> list[Row]:
    """Those that need no trained network; about 40 s on one core."""
    return gaussian_rows()


def main(words: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    """Print the rows: those that need no network, or those of a run; ``-o`` keeps them as a file of JSON too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="folder of a trained run of maps; none: the exact Gaussian field alone")
    parser.add_argument("--operator", action="append", help="one of several; default: those of MAP_OPERATORS")
    for name in ("maps", "draws", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Trial, name))
    parser.add_argument("--twin", action="store_true", help="the Gaussian twin of the run in its place")
    parser.add_argument("--sampler")
    parser.add_argument("--method")
    parser.add_argument("-o", "--output")
    given = vars(parser.parse_args(words))
    folder, operators, output = (given.pop(key) for key in ("run", "operator", "output"))
    found = network_rows(folder, operators or MAP_OPERATORS, Trial(**given)) if folder else iter(rows())
    kept = []
    for row in found:
        show(f"{row.quantity:70s} {row.measured:.4f} +- {row.error:.4f} ({row.theory}) {row.kept} {row.note}")
        kept.append(dataclasses.asdict(row))
        if output:  # what was measured before an interruption stays
            Path(output).write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
