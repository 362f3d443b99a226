"""Training time of a linear score of critical Gaussian fields (2605.12597): one layer, two layers, local kernels;
closed form against gradient descent."""

import functools
import math

import numpy as np

from benchmarks.regimes.drawing import Curve, draw_curves, save
from benchmarks.regimes.row import Row
from physgen.diagnostics.regimes.linear_score import LinearScore, descend, linear_score_times

PAPER = "(2605.12597, abstract, O(n) model)"
T = 0.01
SIZES = (8, 16, 32, 64, 128)
SAMPLED = (8, 16, 32)
LOCAL = (8, 16, 32, 64)
FIELDS, SEEDS, TOLERANCE = 128, 8, 0.05


def critical(size, dimensions=2):
    """Mode variances 1 / (k^2 + 1/L^2) of the lattice Laplacian: correlation length L."""
    k2 = (2 * np.sin(math.pi * np.fft.fftfreq(size))) ** 2
    return 1 / (sum(np.meshgrid(*[k2] * dimensions, indexing="ij")) + 1 / size**2)


@functools.cache
def exact(size, layers, target="score", dimensions=2):
    """Flow time and steps to the tolerance, in closed form."""
    found = linear_score_times(LinearScore(critical(size, dimensions), T, layers, target), TOLERANCE)
    return float(found["tau"]), float(found["steps"])


def steps_of_descent(trained, judged, rate, limit, radius=None, error=None):
    """Steps of descent until the error of the score, as ``judged`` measures it, is below the tolerance; the last error.

    ``error`` (weights -> (error, tolerance)) takes the place of the mean square.
    """
    seen = []

    def reached(step, weights):
        value, tolerance = (judged.error(weights[None])[0], TOLERANCE) if error is None else error(weights)
        seen.append(value)
        return value < tolerance

    descend(trained, rate, limit, radius, reached)
    return (len(seen) - 1 if len(seen) < limit else math.nan), float(seen[-1])


@functools.cache
def sampled(size, layers, target="score"):
    """Training time on FIELDS drawn fields, noise averaged exactly, until the error against the true law: (SEEDS,)."""
    law, found = critical(size), []
    for seed in range(SEEDS):
        white = np.random.default_rng([seed, size]).standard_normal((FIELDS, size, size))
        spectrum = law * np.mean(np.abs(np.fft.fft2(white)) ** 2, axis=0) / size**2
        model = LinearScore(spectrum, T, layers, target)
        rate = model.largest_step * (1 if layers == 1 else 0.1)  # small enough for two layers to follow the flow
        found.append(rate * steps_of_descent(model, LinearScore(law, T, layers, target), rate, 40_000)[0])
    return np.array(found)


@functools.cache
def local(size, layers, radius, every_mode=False):
    """Steps of descent with kernels cut off at ``radius`` at half the largest stable rate, and the last error.

    The error is that of the score, or with ``every_mode`` the largest relative error of a mode, to 0.2.
    """
    model = LinearScore(critical(size), T, layers)
    rate = model.largest_step
    if layers == 1:
        correlation = np.fft.ifft2(model.variance).real
        place = np.array([(i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1)])
        apart = (place[:, None] - place[None, :]) % size
        rate = 1 / float(np.linalg.eigvalsh(correlation[apart[..., 0], apart[..., 1]])[-1])
    error = (lambda weights: (np.abs(weights / model.solution - 1).max(), 0.2)) if every_mode else None
    return steps_of_descent(model, model, rate, 2000, radius, error)


def rows():
    return [*closed_forms(), *descents(), *locality()]


def closed_forms():
    found = []
    for dimensions, sizes in ((1, (64, 128)), (2, (64, 128)), (3, (16, 32))):
        few, many = (exact(size, 1, "score", dimensions)[1] for size in sizes)
        slope = math.log2(many / few)
        found.append(
            Row(
                f"one layer: exponent of the steps in L, {dimensions}-D, L = {sizes[0]} to {sizes[1]}",
                slope, 0, 2.0, f"2 {PAPER}", abs(slope - 2) < 0.01,
                "closed form; theory: V_max / V_min, derived; kept: within 0.01",
            )
        )  # fmt: skip
    slope = (exact(128, 2)[0] - exact(64, 2)[0]) / math.log(2)
    found.append(
        Row(
            "two layers: training time per ln L, L = 64 to 128", slope, 0, 1.0, f"log L {PAPER}", abs(slope - 1) < 0.01,
            "closed form; theory: growth from a start of 0.1 / V_max at rate 2, derived; kept: within 0.01",
        )
    )  # fmt: skip
    slope = math.log2(exact(128, 2, "denoiser")[1] / exact(64, 2, "denoiser")[1])
    found.append(
        Row(
            "two layers that predict x0 instead of the score: exponent of the steps in L, L = 64 to 128", slope, 0, 2.0,
            "", abs(slope - 2) < 0.1,
            "closed form; theory: rates 2 P_k, so P_max / P_min up to logarithms: depth helps the score, not the "
            "denoiser; kept: within 0.1",
        )
    )  # fmt: skip
    return found


def descents():
    """On sampled fields: the slope from the smallest to the largest lattice, with its error over the draws."""
    found = []
    between = math.log(SAMPLED[-1] / SAMPLED[0])
    note = (
        f"descent on {FIELDS} fields a lattice, {SEEDS} draws, until the error of the score is {TOLERANCE}; "
        "kept: within 3 errors"
    )
    one = [sampled(size, 1) / LinearScore(critical(size), T).largest_step for size in SAMPLED]
    # steps at one learning rate for all draws of a lattice: that of the law
    slopes = np.log(one[-1] / one[0]) / between
    expected = math.log(exact(SAMPLED[-1], 1)[1] / exact(SAMPLED[0], 1)[1]) / between
    found.append(row("one layer: exponent of the steps in L, L = 8 to 32, sampled fields", slopes, expected, "2", note))
    slopes = (sampled(SAMPLED[-1], 2) - sampled(SAMPLED[0], 2)) / between
    expected = (exact(SAMPLED[-1], 2)[0] - exact(SAMPLED[0], 2)[0]) / between
    found.append(
        row("two layers: training time per ln L, L = 8 to 32, sampled fields", slopes, expected, "log L", note)
    )
    law = LinearScore(critical(32), T)
    steps, _ = steps_of_descent(law, law, law.largest_step, 40_000)
    found.append(
        Row(
            "one layer, L = 32: steps of descent on the law itself", steps, 0, exact(32, 1)[1], "",
            abs(steps / exact(32, 1)[1] - 1) < 2e-3, "theory: closed form of the flow; kept: within 0.2 %",
        )
    )  # fmt: skip
    return found


def row(quantity, slopes, expected, paper, note):
    value, error = slopes.mean(), slopes.std(ddof=1) / math.sqrt(len(slopes))
    return Row(quantity, value, error, expected, f"{paper} {PAPER}", abs(value - expected) < 3 * error, note)


def locality():
    """Kernels of 3 x 3 and 5 x 5: the score as a whole, and its critical modes."""
    found = []
    kinds = (1, 1, "one layer, 3 x 3"), (1, 2, "one layer, 5 x 5"), (2, 2, "two equal layers, 5 x 5 each")
    why = {
        1: "The Hessian of a cut-off kernel is the field's correlation in its window, which grows like ln L in 2-D. ",
        2: "",
    }
    for layers, radius, words in kinds:
        counts = [local(size, layers, radius)[0] for size in LOCAL]
        slope = math.log(counts[-1] / counts[0]) / math.log(8)
        note = (
            f"steps {', '.join(map(str, counts))}: like ln L. {why[layers]}The mean square of the score is "
            "mostly in short waves"
        )
        quantity = f"local score, {words}: exponent of the steps in L, L = 8 to 64"
        found.append(Row(quantity, slope, 0, None, f"log L {PAPER}", None, note))
    holds = {
        kinds[0]: "3 x 3 cannot hold the score of this noise level",
        kinds[1]: "",
        kinds[2]: "two equal layers need the square root of the score, at a critical point |k|, which is not local",
    }
    for kind, because in holds.items():
        reached = [local(size, *kind[:2], True) for size in LOCAL]
        steps = ", ".join("never" if math.isnan(count) else str(count) for count, _ in reached)
        quantity = f"local score, {kind[2]}: largest relative error of a mode at the end, L = 64"
        note = f"steps until it is 0.2 (2000 at most), L = 8 to 64: {steps}. {because}"
        found.append(Row(quantity, reached[-1][1], 0, None, "", None, note.strip()))
    return found


def figures(folder):
    sizes = np.array(SIZES)
    kinds = {"one layer": (1, "score"), "two layers": (2, "score"), r"two layers, $x_0$": (2, "denoiser")}
    growth = [
        Curve(sizes, [exact(size, *which)[1] for size in SIZES], None, name, colour, "-")
        for colour, (name, which) in enumerate(kinds.items())
    ]
    for colour, layers in enumerate((1, 2)):
        step = [LinearScore(critical(size), T, layers).largest_step for size in SAMPLED]
        values = np.array([sampled(size, layers) / one for size, one in zip(SAMPLED, step, strict=True)])
        growth.append(
            Curve(
                SAMPLED,
                values.mean(1),
                values.std(1, ddof=1) / math.sqrt(SEEDS),
                "sampled fields" * (not colour),
                colour,
            )
        )
    growth.append(Curve(LOCAL, [local(size, 1, 2)[0] for size in LOCAL], None, "one layer, 5 x 5", 3, "--"))
    caption = (
        "Steps of gradient descent, at half the largest stable learning rate, until the error of the score is 5 %, for "
        "critical fields of L^2 sites at t = 0.01: closed forms (lines), descent on sampled fields (points), descent "
        "of a kernel of 5 x 5 (dashed)."
    )
    figure = draw_curves({"": growth}, r"lattice size $L$", "steps", xscale="log", yscale="log")
    first = save(figure, folder, "linear_score_steps"), caption
    modes = []
    for colour, layers in enumerate((1, 2)):
        found = linear_score_times(LinearScore(critical(64), T, layers), TOLERANCE)
        order = np.argsort(found["variance"].values)
        name = "one layer" if layers == 1 else "two layers"
        modes.append(Curve(found["variance"].values[order], found["value"].values[order], None, name, colour, "-"))
    figure = draw_curves(
        {"": modes}, r"variance $P_k + s^2$ of the mode", r"learning time $\tau$", xscale="log", yscale="log"
    )
    caption = (
        "When each mode of a 64 x 64 critical field is learned, in units of the inverse learning rate: the stable rate "
        "of one layer falls like the inverse of the largest variance, that of two layers of a score does not."
    )
    return [first, (save(figure, folder, "linear_score_modes"), caption)]
