"""Figures of the random-features score: spectrum, learning curves, scaling with the number of data."""

import numpy as np

from benchmarks.regimes.drawing import Curve, draw_curves, save
from benchmarks.regimes.random_features import CONSTANTS, GAP, SEEDS, TAU, curves, mean_and_error, overfit, window
from physgen.diagnostics.regimes.random_features import FeatureModel, random_features_spectrum
from physgen.diagnostics.regimes.random_features_check import draw_features
from physgen.diagnostics.regimes.random_features_training import random_features_losses


def draw(folder):
    return [draw_spectrum(folder), draw_losses(folder), draw_scaling(folder)]


def draw_spectrum(folder):
    model = FeatureModel(64, 8, CONSTANTS)
    spectrum = random_features_spectrum(model)
    values = draw_features(model, 100, seed=0).eigenvalues
    counts, bins = np.histogram(np.log(values), 60)
    height = counts / 6400 / np.diff(bins)
    error = np.sqrt(counts) / 6400 / np.diff(bins)
    centre = np.exp((bins[1:] + bins[:-1]) / 2)
    drawn = [
        Curve(centre[counts > 0], height[counts > 0], error[counts > 0], "one draw, d = 100"),
        Curve(spectrum["eigenvalue"], spectrum["value"] * spectrum["eigenvalue"], None, "saddle point", 1, "-"),
    ]
    figure = draw_curves(
        {"": drawn}, r"eigenvalue $\lambda$ of $U$", r"density in $\ln\lambda$", xscale="log", yscale="log",
        ylim=(1e-4, 0.3),
    )  # fmt: skip
    caption = (
        "Spectrum of U without its delta, psi_p = 64, psi_n = 8, t = 0.01, tanh: modes of the noise, of single data "
        "(memorization), of the law (generalization). Bars: square root of the count."
    )
    return save(figure, folder, "random_features_spectrum"), caption


def draw_losses(folder):
    panels = {"test loss": [], "train loss": []}
    for colour, psi_n in enumerate(SEEDS):
        limit = random_features_losses(TAU, FeatureModel(64, psi_n, CONSTANTS))
        for name, column in (("train", 0), ("test", 1)):
            value, error = mean_and_error(curves(psi_n)[:, column])
            panel = panels[f"{name} loss"]
            panel.append(Curve(TAU[::10], value[::10], error[::10], rf"$\psi_n = {psi_n}$", colour))
            panel.append(Curve(TAU, limit[name], None, "", colour, "-"))
    figure = draw_curves(
        panels, r"training time $\tau$", "denoising loss per dimension", xscale="log", ylim=(0.55, 1.5)
    )
    caption = (
        "Learning curves, psi_p = 64, t = 0.01: lines are the closed form at infinite size, points diagonalised "
        "matrices at d = 40."
    )
    return save(figure, folder, "random_features_losses"), caption


def draw_scaling(folder):
    noise = CONSTANTS.noise_variance
    panels = {"least error of the score": [], "window of generalization": []}
    error_panel, time_panel = panels.values()
    sizes = np.array([2, 4, 8, 16, 32, 64, 128, 256, 512])
    for colour, psi_p in enumerate((64, 8192)):
        found = [window(psi_p, int(n)) for n in sizes]
        error_panel.append(
            Curve(sizes, [f["score_error"] for f in found], None, rf"limit, $\psi_p = {psi_p}$", colour, "-")
        )
        name = rf"test $-$ train = {GAP}, $\psi_p = {psi_p}$"
        time_panel.append(Curve(sizes, [f["tau_gap"] for f in found], None, name, colour, "-"))
        name = rf"least error, $\psi_p = {psi_p}$"
        time_panel.append(Curve(sizes, [f["tau_best"] for f in found], None, name, colour, "--"))
    measured = np.array([mean_and_error(((curves(n)[:, 1] - 1 + noise) / noise).min(axis=1)) for n in SEEDS])
    error_panel.append(Curve(list(SEEDS), *measured.T, r"$d = 40$, $\psi_p = 64$", 0))
    measured = np.array([mean_and_error(overfit(n)) for n in SEEDS])
    time_panel.append(Curve(list(SEEDS), *measured.T, r"$d = 40$, $\psi_p = 64$", 0))
    time_panel.append(Curve(sizes, 1500 * sizes, None, "slope 1", 3, ":"))
    figure = draw_curves(panels, r"$\psi_n = n/d$", "", xscale="log", yscale="log")
    caption = (
        "Least error of the score; the time at which it is reached and the time at which test and train loss are 0.1 "
        "apart: between them the network generalizes. Slope 1 is reached only for 1 << psi_n << psi_p; at "
        "psi_n > 1.75 psi_p the gap never comes. Lines: closed "
        "form; points: diagonalised."
    )
    return save(figure, folder, "random_features_scaling"), caption
