"""Random-features score network (2505.17638): spectrum, learning curves and times, the limit of infinite size against
diagonalised matrices of finite d."""

import functools
import math

import numpy as np
from scipy.optimize import brentq

from benchmarks.regimes.row import Row
from physgen.diagnostics.regimes.random_features import (
    FeatureModel,
    feature_constants,
    random_features_spectrum,
    saddle_point,
)
from physgen.diagnostics.regimes.random_features_check import draw_features, finite_losses, training_curves
from physgen.diagnostics.regimes.random_features_training import random_features_losses, random_features_window

PAPER = "2505.17638"
CONSTANTS = feature_constants(0.01)
SEEDS = {4: 16, 8: 12, 16: 6, 32: 3}  # psi_n -> draws at d = 40
TAU = np.geomspace(10, 3e6, 160)
GAP = 0.1


def rows():
    return [*constants(), *edges(), *resolvents(), *losses(), *structured(), *plateaus(), *later(), *times(), *limits()]


def constants():
    found = {
        "kappa_a": (CONSTANTS.kappa_a, 0.605706),
        "kappa_b^2": (CONSTANTS.kappa_b**2, 0.0072647),
        "kappa_v^2": (CONSTANTS.kappa_v2, 0.0255418),
        "kappa_s^2": (CONSTANTS.kappa_s2, 0.00187355),
    }
    note = "Gauss-Hermite quadrature against an independent integration to six digits; kept: within 1e-5"
    return [
        Row(f"{name} of tanh, t = 0.01", value, 0, expected, "", abs(value / expected - 1) < 1e-5, note)
        for name, (value, expected) in found.items()
    ]


def mean_and_error(values):
    values = np.asarray(values, dtype=float)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(len(values))


@functools.cache
def sampled_edges(d, draws):
    """Lowest and highest of the d largest eigenvalues, and the highest below them: (draws, 3)."""
    model = FeatureModel(64, 8, CONSTANTS)
    values = [draw_features(model, d, seed).eigenvalues for seed in range(draws)]
    return np.array([(v[-d], v[-1], v[-d - 1]) for v in values])


def edges():
    """Sampled edges lie inside those of the limit by d^(-2/3): extrapolated along that law from two sizes."""
    spectrum = random_features_spectrum(FeatureModel(64, 8, CONSTANTS))
    names = "generalization_low", "generalization_high", "memorization_high"
    words = "second bulk, lower edge", "second bulk, upper edge", "first bulk, upper edge"
    paper = f"about 10 ({PAPER}, Fig. 4)", f"about 45 ({PAPER}, Fig. 4)", ""
    earlier = 10.33, 43.29, 0.357
    (small, small_error), (large, large_error) = (
        mean_and_error(sampled_edges(50, 16)),
        mean_and_error(sampled_edges(100, 10)),
    )
    weight = 1 / (1 - 2 ** (-2 / 3))  # of the larger size in the extrapolation
    found = []
    for i, name in enumerate(names):
        theory = float(spectrum[name])
        found.append(
            Row(
                f"{words[i]}, psi_p = 64, psi_n = 8, t = 0.01, d = 100", large[i], large_error[i], theory, paper[i],
                None,
                f"10 draws; one draw elsewhere gave {earlier[i]}; theory: limit of infinite d, outside by d^(-2/3)",
            )
        )  # fmt: skip
        limit = weight * large[i] + (1 - weight) * small[i]
        error = math.hypot(weight * large_error[i], (1 - weight) * small_error[i])
        found.append(
            Row(
                "the same, extrapolated to infinite d", limit, error, theory, paper[i],
                abs(limit - theory) < 3 * error + 0.01 * theory,
                "from d = 50 (16 draws) and 100 (10) along d^(-2/3); kept: within 3 errors + 1 % for the next order",
            )
        )  # fmt: skip
    edge = CONSTANTS.kappa_s2 + CONSTANTS.kappa_v2 * (1 + math.sqrt(8)) ** 2
    note = "theory: the paper's edge for psi_n >> 1 (theorem 3.2); at psi_n = 8 the saddle point lies lower"
    return [*found, Row("first bulk, upper edge by the saddle point", theory, 0, edge, PAPER, None, note)]


def resolvents():
    """Any data covariance: half of the directions with variance 0.5, half with 1.5, and a power law."""
    power = 1 / np.arange(1, 61.0)
    found = []
    for words, covariance in (("0.5 and 1.5", (0.5, 1.5)), ("1/i, i = 1..60", power / power.mean())):
        model = FeatureModel(8, 3, CONSTANTS, covariance)
        for z in (0.05 + 0.02j, 2 + 0.5j):
            draws = [draw_features(model, 120, seed) for seed in range(4)]
            values = [(np.sum(1 / (f.eigenvalues - z)) + f.silent / (CONSTANTS.kappa_s2 - z)).imag / 960 for f in draws]
            measured, error = mean_and_error(values)
            theory = float(saddle_point(np.array([z]), model).q[0].imag)
            found.append(
                Row(
                    f"Im q({z:g}), psi_p = 8, psi_n = 3, data variances {words}", measured, error, theory, "",
                    abs(measured - theory) < 4 * error + abs(theory) / 120,
                    "4 draws at d = 120; kept: within 4 errors + 1/d",
                )
            )  # fmt: skip
    return found


def structured():
    """Data with a spectrum: learning curves in closed form, which the paper has not."""
    spectrum = np.array([4, 2, 1, 0.5, 0.25, 0.125])
    model, tau = FeatureModel(8, 3, CONSTANTS, tuple(spectrum / spectrum.mean())), np.array([1e3, 1e5, 1e9])
    limit, drawn = random_features_losses(tau, model), finite_losses(tau, model, 96, range(12))
    return [
        Row(
            f"test loss at tau = {when:.0e}, psi_p = 8, psi_n = 3, six data variances of ratio 2",
            float(drawn["test"][i]), float(drawn["test_error"][i]), float(limit["test"][i]), "",
            abs(float(drawn["test"][i] - limit["test"][i]))
            < 4 * float(drawn["test_error"][i]) + abs(float(limit["test"][i]) - 1) / 96,
            "Gaussian equivalents, 12 draws at d = 96; kept: within 4 errors + 1/d",
        )
        for i, when in enumerate(tau)
    ]  # fmt: skip


def losses():
    model, tau = FeatureModel(8, 3, CONSTANTS), np.array([1e3, 1e5, 1e9])
    limit = random_features_losses(tau, model)
    equivalent = finite_losses(tau, model, 100, range(12))
    small, large = (finite_losses(tau, model, d, range(8), "features") for d in (40, 80))
    found = []
    for name in ("train", "test"):
        for i, when in enumerate(tau):
            theory = float(limit[name][i])
            value, error = float(equivalent[name][i]), float(equivalent[f"{name}_error"][i])
            at = f"{name} loss at tau = {when:.0e}, psi_p = 8, psi_n = 3, t = 0.01"
            found.append(
                Row(
                    f"{at}: Gaussian equivalents, d = 100", value, error, theory, "",
                    abs(value - theory) < 4 * error + abs(theory - 1) / 100, "12 draws; kept: within 4 errors + 1/d",
                )
            )  # fmt: skip
            extrapolated = 2 * float(large[name][i]) - float(small[name][i])
            error = math.hypot(2 * float(large[f"{name}_error"][i]), float(small[f"{name}_error"][i]))
            found.append(
                Row(
                    f"{at}: true tanh features, d to infinity", extrapolated, error, theory, "",
                    abs(extrapolated - theory) < 4 * error + abs(theory - 1) / 80,
                    f"along 1/d from d = 40 and 80, 8 draws each (at d = 80: {float(large[name][i]):.4f}); "
                    "kept: within 4 errors + 1/80",
                )
            )  # fmt: skip
    return found


def later():
    """The exponent at t = 0.1."""
    constants, tau = feature_constants(0.1), np.geomspace(3, 100, 60)
    noise, kept, theory = constants.noise_variance, {}, {}
    for psi_n, draws in {4: 12, 8: 8, 16: 4, 32: 2}.items():
        model = FeatureModel(64, psi_n, constants)
        test = [training_curves(tau, model, draw_features(model, 60, seed))[1] for seed in range(draws)]
        kept[psi_n] = mean_and_error(((np.array(test) - 1 + noise) / noise).min(axis=1))
        theory[psi_n] = random_features_losses(tau, model)["score_error"].values.min()
    found = []
    for psi_n in (4, 8, 16):
        (a, da), (b, db) = kept[psi_n], kept[2 * psi_n]
        measured, error = math.log2(a / b), math.hypot(da / a, db / b) / math.log(2)
        limit = math.log2(theory[psi_n] / theory[2 * psi_n])
        found.append(
            Row(
                f"exponent eta at t = 0.1, psi_n = {psi_n} to {2 * psi_n}, psi_p = 64, d = 60", measured, error, limit,
                f"0.59 ({PAPER})", abs(measured - limit) < 3 * error + 1 / (60 * math.log(2)),
                "single draws elsewhere gave 0.61, 0.62, 0.71; kept: within 3 errors + 1/(d ln 2) of the limit",
            )
        )  # fmt: skip
    return found


@functools.cache
def curves(psi_n):
    """Train and test losses at d = 40 over TAU: (draws, 2, T)."""
    model = FeatureModel(64, psi_n, CONSTANTS)
    return np.array([training_curves(TAU, model, draw_features(model, 40, seed)) for seed in range(SEEDS[psi_n])])


@functools.cache
def window(psi_p, psi_n):
    found = random_features_window(FeatureModel(psi_p, psi_n, CONSTANTS), GAP)
    return {name: float(value) for name, value in found.items()}


def plateaus():
    """Least error of the score, and its exponent in psi_n by doubling."""
    noise = CONSTANTS.noise_variance
    found, kept = [], {}
    for psi_n, draws in SEEDS.items():
        kept[psi_n] = mean_and_error(((curves(psi_n)[:, 1] - 1 + noise) / noise).min(axis=1))
        found.append(
            Row(
                f"least error of the score, psi_p = 64, psi_n = {psi_n}, t = 0.01, d = 40", *kept[psi_n],
                window(64, psi_n)["score_error"], "",
                abs(kept[psi_n][0] / window(64, psi_n)["score_error"] - 1)
                < 3 * kept[psi_n][1] / kept[psi_n][0] + 1 / 40,
                f"{draws} draws; theory: infinite d; kept: within 3 errors + 1/d",
            )
        )  # fmt: skip
    for psi_n in (4, 8, 16):
        (a, da), (b, db) = kept[psi_n], kept[2 * psi_n]
        measured, error = math.log2(a / b), math.hypot(da / a, db / b) / math.log(2)
        theory = math.log2(window(64, psi_n)["score_error"] / window(64, 2 * psi_n)["score_error"])
        found.append(
            Row(
                f"exponent eta of the error, psi_n = {psi_n} to {2 * psi_n}, psi_p = 64, d = 40", measured, error,
                theory, f"0.59 ({PAPER})", abs(measured - theory) < 3 * error + 1 / (40 * math.log(2)),
                "single draws elsewhere gave 0.59, 0.60, 0.69; kept: within 3 errors + 1/(d ln 2) of the limit",
            )
        )  # fmt: skip
    return found


def overfit(psi_n):
    """Training time at which the gap of the losses reaches GAP, one a draw."""
    gap = curves(psi_n)[:, 1] - curves(psi_n)[:, 0]
    past = np.argmax(gap > GAP, axis=1)
    return np.array(
        [np.exp(np.interp(GAP, g[j - 1 : j + 1], np.log(TAU[j - 1 : j + 1]))) for g, j in zip(gap, past, strict=True)]
    )


def times():
    earlier = {4: 2991, 8: 9381, 16: 22489, 32: 55297}
    kept = {psi_n: mean_and_error(overfit(psi_n)) for psi_n in SEEDS}
    found = []
    for psi_n, (value, error) in kept.items():
        theory = window(64, psi_n)["tau_gap"]
        found.append(
            Row(
                f"tau at which test - train = {GAP}, psi_p = 64, psi_n = {psi_n}, t = 0.01, d = 40", value, error,
                theory, "", abs(value / theory - 1) < 3 * error / value + 2 / 40,
                f"{SEEDS[psi_n]} draws; one draw elsewhere gave {earlier[psi_n]}; kept: within 3 errors + 2/d",
            )
        )  # fmt: skip
    for psi_n in (4, 8, 16):
        (a, da), (b, db) = kept[psi_n], kept[2 * psi_n]
        theory = math.log2(window(64, 2 * psi_n)["tau_gap"] / window(64, psi_n)["tau_gap"])
        found.append(
            Row(
                f"its slope in ln n, psi_n = {psi_n} to {2 * psi_n}", math.log2(b / a),
                math.hypot(da / a, db / b) / math.log(2), theory, f"1 ({PAPER}, for psi_n >> 1)", None,
                "not 1 at these sizes, nor in the limit of infinite d: the threshold is finite and psi_n is not large",
            )
        )  # fmt: skip
    chosen = window(64, 8)
    for name, words in (("tau_gen", "slowest mode of the law"), ("tau_best", "least error of the score")):
        found.append(
            Row(f"{name}: {words}, psi_p = 64, psi_n = 8", chosen[name], 0, None, "", None, "predicted, no training")
        )
    found.append(
        Row(
            "tau_mem, the paper's: slowest mode of single data, psi_p = 64, psi_n = 8", chosen["tau_mem"], 0, None, "",
            None, f"the fastest is learned at {chosen['tau_mem_onset']:.4g}, the gap is {GAP} at "
            f"{chosen['tau_gap']:.4g}",
        )
    )  # fmt: skip
    return found


def limits():
    """Where the asymptotic statements become true: 1 << psi_n << psi_p."""
    few, many = window(8192, 256), window(8192, 512)
    slope = math.log2(many["tau_gap"] / few["tau_gap"])
    eta = math.log2(few["score_error"] / many["score_error"])

    def gap_at_last(ratio, psi_p):
        losses = random_features_losses(1e13, FeatureModel(psi_p, psi_p * ratio, CONSTANTS))
        return math.log(float(losses["test"][0] - losses["train"][0]) / GAP)

    most = {psi_p: psi_p * brentq(gap_at_last, 1, 3, args=(psi_p,), xtol=1e-6) for psi_p in (64, 256)}
    capacity = math.log(most[256] / most[64]) / math.log(4)
    return [
        Row(
            "slope of the overfitting time in ln n, psi_n = 256 to 512, psi_p = 8192, infinite d", slope, 0, 1.0,
            f"1 ({PAPER}, asymptotically)", abs(slope - 1) < 0.05,
            "closed form of the Gaussian equivalents; kept: within 0.05 of the asymptotic slope",
        ),
        Row(
            "exponent eta of the least error there", eta, 0, None, f"0.59 ({PAPER})", None,
            "eta is no constant: at psi_p = 8192 it grows from 0.43 (psi_n = 2 to 4) towards 1 while psi_n << psi_p; "
            "0.59 is its value near psi_n = 10",
        ),
        Row(
            f"exponent in p of n*, beyond which the gap stays below {GAP} for ever, psi_p = 64 to 256, infinite d",
            capacity, 0, 1.0, f"n*(p) = p ({PAPER})", abs(capacity - 1) < 0.01,
            f"n*/p = {most[64] / 64:.3f} and {most[256] / 256:.3f} for this gap, a smooth crossover; kept: within 0.01",
        ),
    ]  # fmt: skip


def figures(folder):
    from benchmarks.regimes.random_features_figures import draw

    return draw(folder)
