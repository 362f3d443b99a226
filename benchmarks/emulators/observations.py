"""Fields given observations: coverage of the posterior where it is known, and of a trained network on held-out maps.

    python -m benchmarks.emulators.observations [RUN]

The denoiser of the Gaussian field is exact and so is its covariance: what is left is the bias of the sampler. RUN is
the folder of a trained run of maps, whose test part is observed and drawn again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from benchmarks.regimes.row import Row
from physgen.diffusion.exact import GaussianField
from physgen.diffusion.inference.inverse import OBSERVED, VARIANCE, Observation, PosteriorDenoiser
from physgen.diffusion.inference.measurement import Blur, Chain, Downsample
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.ensemble import from_array

SIDE, FIELDS, DRAWS, STEPS = 16, 100, 9, 24
TOLERANCE = 0.03  # of the issue: coverage within 3 % of nominal
OPERATORS: dict[str, tuple[Chain, float, bool]] = {  # name -> what acts, noise, whether a central hole is masked
    "mask hole=0.5": (Chain(), 0.0, True),
    "noise sigma=0.5": (Chain(), 0.5, False),
    "blur fwhm=3 cells, noise sigma=0.2": (Chain((Blur((3.0, 3.0)),)), 0.2, False),
    "downsample factor=2": (Chain((Downsample(2),)), 0.0, False),
}


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


def network_rows(folder: str | Path, maps: int = FIELDS, draws: int = DRAWS) -> list[Row]:
    """Coverage of cells of the held-out maps of a trained run under each operator, and of its modes at 68 %."""
    import physgen as pg
    from physgen.diagnostics.posterior_coverage import posterior_coverage

    run, rows = pg.open_run(folder), []
    test = run.data("test")
    chosen = np.linspace(0, test.sizes["sample"] - 1, min(maps, test.sizes["sample"])).astype(int)
    truth = test.isel(sample=chosen)
    for name in OPERATORS:
        posterior = run.sample_given(run.observe(truth, name, seed=1), draws=draws, progress=False)
        found = posterior_coverage(truth, posterior)
        rows += _rows(f"{run.experiment.name}, {name}", found)
        inner = found["mode_value"].sel(level=0.68).isel(k=slice(1, None))
        rows.append(
            Row(
                f"{run.experiment.name}, {name}: coverage of modes at 68 %, mean over k",
                float(inner.mean()), float(found["mode_error"].sel(level=0.68).isel(k=slice(1, None)).mean()), 0.68,
                note="error of one shell; shells are not independent of each other",
            )
        )  # fmt: skip
    return rows


def _rows(name: str, found: xr.Dataset) -> list[Row]:
    note = f"{found.attrs['n_independent']} independent units, {found.attrs['draws']} draws each; kept: within 3 %"
    figures = zip(*(found[n].values.tolist() for n in ("level", "value", "error", "seen")), strict=True)
    return [
        Row(
            f"{name}: coverage at {100 * p:.0f} %", value, error, p,
            kept=abs(value - p) <= TOLERANCE, note=f"{note}; would see {100 * seen:.1f} %",
        )
        for p, value, error, seen in figures
    ]  # fmt: skip


def rows() -> list[Row]:
    """Those that need no trained network; about 40 s on one core."""
    return gaussian_rows()


def main(show: Callable[[str], None] = print) -> None:
    """Print the rows; of a run where its folder is given: ``RUN [MAPS [DRAWS]]``."""
    found = network_rows(sys.argv[1], *map(int, sys.argv[2:4])) if len(sys.argv) > 1 else rows()
    for row in found:
        show(f"{row.quantity:70s} {row.measured:.4f} +- {row.error:.4f} ({row.theory}) {row.kept} {row.note}")


if __name__ == "__main__":
    main()
