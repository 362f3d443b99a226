"""Diffusion of latents beside that of the maps themselves, at equal CPU time: 32 x 32 maps of N-body slabs.

    python -m benchmarks.latent train [MAPS.h5]    every autoencoder and every diffusion -> latent.jsonl
    python -m benchmarks.latent                    the tables of that record, and the figure of what is lost

The budget of a road is that of one training of benchmarks.dit; an autoencoder takes its third of it. All are judged on
the same held-out simulations, which neither autoencoders nor networks have seen. Maps themselves: the best U-Net of
benchmarks/dit.jsonl.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import dit
from physgen.diffusion.latent import AutoencoderOptions, Fit, Information, kept_information
from physgen.domains.any_field import Fields
from physgen.figures import format_value
from physgen.stages.latents import LatentModel, field_ensemble, fit_latents, latent_ensemble

RECORD = Path(__file__).with_suffix(".jsonl")
SHARE = 1 / 3  # of the budget, for an autoencoder
AUTOENCODERS = {  # name -> channels, factor, width
    "truncation, factor 2": (1, 2, 0),
    "autoencoder, factor 2": (1, 2, 16),
    "truncation, factor 4": (1, 4, 0),
}
SHOWN = ("power_spectrum", "log_power_spectrum", "one_point", "bispectrum", "phase_moments", "scattering", "peaks",
         "euler_characteristic", "features")  # fmt: skip
DIFFUSED = ("truncation, factor 2", "autoencoder, factor 2")
NETWORK, RATE = {"kind": "unet", "width": 16, "multipliers": (1, 2, 3)}, 3e-3


def autoencoder(case: dit.Case, name: str) -> tuple[LatentModel, float]:
    """One autoencoder, and the CPU seconds of its training."""
    channels, factor, width = AUTOENCODERS[name]
    options = AutoencoderOptions(channels, factor, width)
    if not width:
        return fit_latents(case.train, options, domain=case.domain), 0.0
    begun = time.process_time()
    fit_latents(case.train, options, Fit(steps=10), case.domain)
    fixed = _setup(case)
    each = (time.process_time() - begun - fixed) / 10
    steps, begun = max(20, round(SHARE * case.seconds / each)), time.process_time()
    model = fit_latents(case.train, options, Fit(steps=steps), case.domain)
    return model, round(time.process_time() - begun - fixed, 1)


def _setup(case: dit.Case) -> float:
    """CPU seconds of all but the steps: of the autoencoder without parameters."""
    begun = time.process_time()
    fit_latents(case.train, AutoencoderOptions(1, 2, 0), domain=case.domain)
    return time.process_time() - begun


def lost(case: dit.Case, model: LatentModel) -> Information:
    """What comes back of the held-out maps, in their encoded values."""
    x = case.domain.encode(case.heldout, model.constants)[0]
    return kept_information(x, model.back(model.encode(case.heldout)), case.unit, model.constants["cell_size"])


def diffused(case: dit.Case, model: LatentModel, seconds: float) -> Iterator[dict[str, Any]]:
    """Diffusion of the latents for what is left of the budget; the judge on fields as they come back, and with noise of
    the missing power."""
    latents = latent_ensemble(model, case.train)
    physics = Fields(translations=True)
    own = dataclasses.replace(case, domain=physics, train=latents, heldout=latent_ensemble(model, case.heldout),
                              seconds=case.seconds - seconds)  # fmt: skip
    data = dit.encode(own)
    state, told = dit.fitted(own, data, NETWORK, RATE)
    z = dit.drawn(data, state, len(data.heldout))
    made = physics.decode(z, physics.request(own.heldout, len(z), {}, data.constants), data.constants)
    for residual in (False, True):
        yield told | {"residual": residual, "judge": dit.verdicts(case, field_ensemble(model, made, residual, 5))}


def best_possible(case: dit.Case, model: LatentModel) -> Iterator[dict[str, Any]]:
    """The judge on held-out maps that went through the autoencoder: no diffusion of its latents can do better."""
    for residual in (False, True):
        back = field_ensemble(model, latent_ensemble(model, case.heldout), residual, 6)
        yield {"residual": residual, "judge": dit.verdicts(case, back)}


def campaign() -> None:
    """All of it; each line is written as it is measured."""
    case = dit.maps(Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    for name in AUTOENCODERS:
        model, seconds = autoencoder(case, name)
        found = {k: np.asarray(v).tolist() for k, v in vars(lost(case, model)).items()}
        _write({"autoencoder": name, "seconds": seconds, "information": found})
        if name not in DIFFUSED:
            continue
        for row in best_possible(case, model):
            _write({"autoencoder": name, "what": "held-out maps, encoded and decoded", **row})
        for row in diffused(case, model, seconds):
            _write({"autoencoder": name, "what": "diffusion of latents", **row, "autoencoder_seconds": seconds})


def _write(row: dict[str, Any]) -> None:
    with RECORD.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print({k: v for k, v in row.items() if k not in ("information", "judge")}, flush=True)


# --- tables ---------------------------------------------------------------------------------------------


def records() -> list[dict[str, Any]]:
    """What was measured."""
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def information_rows() -> Iterator[list[str]]:
    """A line for each autoencoder: what comes back in parts of the Nyquist wavenumber, and what is lost in all."""
    for row in records():
        if "information" not in row:
            continue
        found = {k: np.array(v) for k, v in row["information"].items()}
        part = found["k"] / (np.pi / 2.0)  # cells of 2 Mpc/h
        cells = [row["autoencoder"], f"{row['seconds']:g}"]
        for wanted in (0.25, 0.44, 0.5, 0.56, 0.75):
            i = int(np.abs(part - wanted).argmin())
            r, error = found["correlation"][0, i], found["correlation_error"][0, i]
            cells.append("1" if 1 - r < 1e-9 else format_value(r, error))
        yield [*cells, format_value(float(found["total"]), float(found["total_error"]))]


def judged_rows() -> Iterator[list[str]]:
    """A line for each road: chi^2 per degree of freedom, and the mean ratio of P, of each diagnostic."""
    rows = [row for row in records() if "judge" in row]
    pixels = dit.best("maps", "unet")
    if pixels is not None:
        rows = [{"autoencoder": "none", "what": "diffusion of maps", **pixels}, *rows]
    for row in rows:
        cells = [row["what"], row["autoencoder"], "yes" if row.get("residual") else "no"]
        spent = [row[name] for name in ("autoencoder_seconds", "seconds") if name in row]
        cells.append(" + ".join(f"{s:g}" for s in spent))
        cells.append(str(sum(found["status"] == "fail" for found in row["judge"].values())))
        for name in SHOWN:
            found = row["judge"][name].get("chi2_per_dof", {})
            cells.append("" if found.get("value") is None else format_value(found["value"], found["error"]))
        yield cells


def figure() -> Path:
    """r(k) and the residual power of each autoencoder, docs/figures/latent.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    path = Path(__file__).parents[1] / "docs" / "figures" / "latent.png"
    shown, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharex=True)
    for row in records():
        if "information" in row:
            found = {k: np.array(v) for k, v in row["information"].items()}
            dashed = "--" if row["autoencoder"].startswith("truncation") else "-"
            for axis, name in zip(axes, ("correlation", "residual"), strict=True):
                axis.errorbar(found["k"], found[name][0], found[f"{name}_error"][0], ls=dashed, capsize=2,
                              label=row["autoencoder"])  # fmt: skip
    for axis, label in zip(axes, ("cross-correlation r(k)", "residual power over P(k)"), strict=True):
        axis.set(xlabel="k [h/Mpc]", ylabel=label, xlim=(0, 1.6))
    axes[0].legend(fontsize=8, frameon=False)
    shown.savefig(path, dpi=110)
    plt.close(shown)
    return path


def main() -> None:
    """Measure, or print."""
    if sys.argv[1:2] == ["train"]:
        torch.set_num_threads(1)
        campaign()
        return
    parts = [f"r at {part:g} k_Ny" for part in (0.25, 0.44, 0.5, 0.56, 0.75)]
    print("\n".join(dit.lines(("latents", "CPU s", *parts, "lost variance"), information_rows())))
    head = ("what is judged", "latents", "residual", "CPU s", "fails of 24", *SHOWN)
    print("\nchi^2 per degree of freedom\n")
    print("\n".join(dit.lines(head, judged_rows())))
    print(f"\nwrote {figure()}")


if __name__ == "__main__":
    main()
