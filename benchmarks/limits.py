"""Where mean-field glasses cannot be sampled: ``python -m benchmarks.limits [--write]`` (about three CPU minutes).

Prints the tables of docs/how-to/limits.md; with ``--write`` they take the place of those of the page, and its figures
are drawn. What is theory is computed by ``physgen.domains.spins.mean_field``, what is measured has its error.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.regimes.drawing import Curve, draw_curves, save
from physgen.diffusion.exact.atoms import p_spin
from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.inference.reverse_kernels import SpinMixture
from physgen.diffusion.inference.weight_statistics import effective_fraction, log_mean_exp
from physgen.diffusion.levels import log_uniform
from physgen.domains.spins.mean_field import PSpin, can_sample, critical_lines, denoising_jump

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODELS = {"Ising p = 3": (3, False), "Ising p = 4": (4, False), "spherical p = 3": (3, True), "SK": (2, False)}
TEMPERATURES = (0.76, 0.72, 0.70)  # of p = 3: above T_tri, and between T_d and T_tri
SITES, COLD, INSTANCES, DRAWS = 12, 0.70, 8, 600  # the exact denoiser
STEPS = (8, 16, 32, 64)
LARGE, PLANTED, ITERATIONS = 200, 6, 150  # message passing


def lines_table() -> str:
    """T_K, T_d, T_tri of every model, and what the jump costs halfway between the last two."""
    rows = [
        "| model | $T_K$ | $T_d$ | $T_{tri}$ | at T | nats a spin | spins for 1 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (p, spherical) in MODELS.items():
        found = critical_lines(p, spherical)
        row = f"| {name} | " + " | ".join(f"{value:.6f}" for value in found)
        if p == 2:
            rows.append(f"{row} | | no jump | |")
            continue
        temperature = round((found.dynamical + found.tricritical) / 2, 2)
        cost = denoising_jump(temperature, p, spherical).divergence
        rows.append(f"{row} | {temperature:.2f} | {cost:.5f} | {np.log(100) / cost:.0f} |")
    return "\n".join(rows)


def exact_table() -> str:
    """Effective sample size and ln Z of the paths of an exact denoiser, by enumeration."""
    rows = ["| steps | effective fraction of the draws | error of ln Z |", "|---|---|---|"]
    for steps in STEPS:
        fractions, errors = [], []
        for instance in range(INSTANCES):
            law = p_spin(SITES, 3, 1 / COLD, torch.Generator().manual_seed(instance))
            drawn = _paths(law, steps, instance)
            fractions.append(effective_fraction(drawn))
            errors.append(log_mean_exp(drawn) - torch.logsumexp(law.log_weights, 0).item())
        spread = [np.std(values, ddof=1) / np.sqrt(INSTANCES) for values in (fractions, errors)]
        rows.append(
            f"| {steps} | {np.mean(fractions):.3f} ± {spread[0]:.3f} | {np.mean(errors):+.4f} ± {spread[1]:.4f} |"
        )
    return "\n".join(rows)


def _paths(law, steps: int, seed: int) -> torch.Tensor:
    """Log-weights of paths of the exact denoiser."""
    powers = 2 ** torch.arange(SITES)

    def log_target(x: torch.Tensor) -> torch.Tensor:
        return law.log_weights[((x.flatten(1) > 0).long() * powers).sum(1)]

    return weighted_sample(
        law,
        SpinMixture(),
        log_uniform(20.0, 0.4, steps),
        (DRAWS, 1, SITES),
        seed,
        log_target,
        readout="bernoulli",
        dtype=torch.float64,
    ).log_weight


def planted_couplings(temperature: float, seed: int) -> np.ndarray:
    r"""Symmetric J (N, N, N) of the p = 3 glass in which the state of all spins up is one of equilibrium.

    By a gauge every state can be made that one, and :math:`J \sim N(\beta\sigma^2, \sigma^2)`,
    :math:`\sigma^2 = 3/N^2`:
    above T_K this is the law of (J, s) itself, as N grows.
    """
    variance = 3 / LARGE**2
    raw = np.random.default_rng([seed, 7]).standard_normal((LARGE,) * 3, dtype=np.float32)
    total = sum(raw.transpose(axes) for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)))
    i = np.arange(LARGE)
    total[i, i] = total[i, :, i] = total[:, i, i] = 0
    total -= total.sum(dtype=np.float64) / (LARGE * (LARGE - 1) * (LARGE - 2))
    couplings = total * np.float32(np.sqrt(variance / 6)) + np.float32(variance / temperature)
    couplings[i, i] = couplings[i, :, i] = couplings[:, i, i] = 0
    return couplings


def message_passing(couplings: np.ndarray, temperature: float, gamma_squared: float, seed: int, start: float) -> float:
    """Overlap with the truth that AMP reaches from m = start for all spins, the noise y/s^2 being given."""
    beta = 1 / temperature
    noise = np.random.default_rng([seed, 11]).standard_normal(LARGE)
    noise -= noise.mean()
    outer = gamma_squared + np.sqrt(gamma_squared) * noise
    before, means = np.zeros(LARGE), np.full(LARGE, start)
    for _ in range(ITERATIONS):
        field = 0.5 * beta * ((couplings @ means.astype(np.float32)) @ means.astype(np.float32))
        onsager = 3 * beta**2 * np.mean(1 - means**2) * np.mean(means * before)
        before, means = means, np.tanh(outer + field - onsager * before)
    return float(means.mean())


def branches(temperature: float) -> dict[str, np.ndarray]:
    """Both states over gamma^2 where they exist: columns s, overlap, free energy in J above the paramagnet."""
    model, strength = PSpin(3), 1.5 / temperature**2
    ratio = np.geomspace(1e-3, 6, 1500)
    overlap = model.overlap(ratio)
    gamma_squared = ratio - strength * overlap**2
    energy = -temperature * model.free_entropy(overlap, temperature, np.maximum(gamma_squared, 0))
    table = np.stack([1 / np.sqrt(np.maximum(gamma_squared, 1e-12)), overlap, energy], axis=1)
    rising = np.gradient(gamma_squared, ratio) > 0
    folds = np.flatnonzero(np.diff(rising))
    if len(folds) < 2:
        return {"one state": table[gamma_squared > 0]}
    parts = np.split(np.arange(len(ratio)), folds[:2] + 1)
    names = ("first", "unstable", "second")
    return {name: table[part[gamma_squared[part] > 0]] for name, part in zip(names, parts, strict=True)}


def draw(folder: Path) -> None:
    """Overlaps with what message passing finds, and free energies, along the noise level."""
    overlaps, energies = {}, {}
    for temperature in TEMPERATURES:
        states = list(branches(temperature).values())
        names = ("first state", "unstable", "second state") if len(states) > 1 else ("one state",)
        title, curves, lower = f"T = {temperature:.2f} J", [], states[0]
        for place, (name, table) in enumerate(zip(names, states, strict=True)):
            curves.append(Curve(table[:, 0], table[:, 1], name=name, colour=place, line=":" if place == 1 else "-"))
        overlaps[title] = curves + _amp_curves(temperature)
        energies[title] = []
        for place, (name, table) in enumerate(zip(names, states, strict=True)):
            base = np.interp(-table[:, 0], -lower[:, 0], lower[:, 2])
            within = table[:, 0] > lower[:, 0].min()
            values = 1e3 * (table[:, 2] - base)[within]
            line = ":" if place == 1 else "-"
            energies[title].append(Curve(table[within, 0], values, name=name, colour=place, line=line))
    reach = {"xlim": (4.2, 2.2)}
    save(draw_curves(overlaps, "noise level s", "overlap with the truth q", ylim=(0, 1), **reach), folder, "overlap")
    label = "free energy above the first state (10$^{-3}$ J)"
    save(draw_curves(energies, "noise level s", label, ylim=(-6, 4), **reach), folder, "free_energy")


def _amp_curves(temperature: float) -> list[Curve]:
    """What message passing finds on planted instances, from nothing and from the truth: a point each."""
    levels = np.linspace(2.3, 4.1, 7)
    found = np.empty((2, PLANTED, len(levels)))
    for seed in range(PLANTED):
        couplings = planted_couplings(temperature, seed)
        for k, s in enumerate(levels):
            for way, start in enumerate((0.0, 1.0)):
                found[way, seed, k] = message_passing(couplings, temperature, s**-2.0, seed, start)
    named = temperature == TEMPERATURES[0]  # in one panel, where there is room
    names = (f"message passing, N = {LARGE}", "the same, from the truth") if named else ("", "")
    many = np.tile(levels, PLANTED)
    return [
        Curve(many, found[w].reshape(-1), None, name, colour)
        for w, (name, colour) in enumerate(zip(names, (0, 2), strict=True))
    ]


def main(words: list[str]) -> int:
    """Print the tables; with --write put them and the figures into the page."""
    tables = {"lines": lines_table(), "exact": exact_table()}
    tables["answers"] = "\n".join(f"- {can_sample(t, n).reason}" for t, n in ((0.80, 512), (0.70, 64), (0.70, 2048)))
    for name, table in tables.items():
        print(f"{name}\n\n{table}\n")
    if "--write" in words:
        page = DOCS / "how-to" / "limits.md"
        text = page.read_text()
        for name, table in tables.items():
            text = re.sub(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", rf"\1{table}\2", text, flags=re.DOTALL)
        page.write_text(text)
        folder = DOCS / "figures" / "limits"
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
