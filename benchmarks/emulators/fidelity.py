"""How faithful maps or cubes that were drawn are: bands of the power of the density and its logarithm, beside goals.

    python -m benchmarks.emulators.fidelity GENERATED REFERENCE [NAME=FILE ...]

prints one table; further files are judged against the same reference, a column each. REFERENCE is a file or the folder
of a run, which stands for its test part. What was drawn under the conditions of the reference is compared with it unit
by unit, condition by condition.

    python -m benchmarks.emulators.fidelity --paired FINE NAME=FILE ...

compares files that were drawn from the same noise under the same conditions (one seed, one network, other samplers or
steps): map by map, so that the error is that of the difference.
"""

import sys
from pathlib import Path

import numpy as np

from physgen.diagnostics.comparison import MeasuredReference
from physgen.domains.contract import get_domain, with_units
from physgen.ensemble import load_ensemble
from physgen.figures import format_value

# bands in units of k_Nyquist and the deviation of the mean power ratio that is the goal there
BANDS = {(0.05, 0.2): 0.02, (0.2, 0.4): 0.02, (0.4, 0.7): 0.02, (0.7, 0.9): 0.05}


def band_ratios(reference, generated, diagnostic):
    r"""Mean of the ratio P_generated / P_reference over the bins of each band, (bands,), its error, worst bin of each.

    The error has the covariance of the bins over units, which share their initial conditions within one simulation.
    """
    measured, _, found = MeasuredReference(reference).compare(generated, diagnostic)
    ratio, covariance = found["ratio"].values, found["ratio_covariance"].values
    part = found["k"].values / measured.attrs["nyquist"]
    means, errors, worst = [], [], []
    for low, high in BANDS:
        inside = np.flatnonzero((part >= low) & (part < high))
        weight = np.full(len(inside), 1 / len(inside))
        means.append(weight @ ratio[inside])
        errors.append(np.sqrt(weight @ covariance[np.ix_(inside, inside)] @ weight))
        deviation = np.abs(ratio[inside] - 1)
        place = inside[deviation.argmax()]
        worst.append((float(ratio[place]), float(np.sqrt(covariance[place, place])), float(part[place])))
    return np.array(means), np.array(errors), worst


def reached(value, error, goal):
    """Whether a ratio is within the goal of 1: yes, no, or open, at two errors."""
    away = abs(value - 1)
    return "yes" if away + 2 * error <= goal else "no" if away - 2 * error > goal else "open"


def table(reference, sets):
    """Markdown: a line for each band of each quantity, a column for each set."""
    domain = get_domain(reference.attrs["domain"])()
    diagnostics = domain.diagnostics()
    confronted = {name: domain.confront(reference, made, name) for name, made in sets.items()}
    lines = ["| mean power ratio | k / k_Nyquist | goal | " + " | ".join(sets) + " |", "|---" * (3 + len(sets)) + "|"]
    for name in ("power_spectrum", "log_power_spectrum"):
        found = {of: band_ratios(reference, made, diagnostics[name]) for of, made in confronted.items()}
        quantity = "density" if name == "power_spectrum" else "its logarithm"
        for i, ((low, high), goal) in enumerate(BANDS.items()):
            cells = [f"{format_value(v[i], e[i])} ({reached(v[i], e[i], goal)})" for v, e, _ in found.values()]
            lines.append(f"| {quantity} | {low:g} to {high:g} | within {goal:.0%} | " + " | ".join(cells) + " |")
            worst = [f"{format_value(w[i][0], w[i][1])} at {w[i][2]:.2f}" for _, _, w in found.values()]
            lines.append(f"| {quantity}, worst bin | {low:g} to {high:g} | | " + " | ".join(worst) + " |")
    return "\n".join(lines)


def paired_table(fine, sets):
    """Markdown: per cent by which the power of each set differs from that of the same maps in ``fine``, by band."""
    units = fine["simulation"].values
    lines = [f"| power, per cent above {len(units)} maps | " + " | ".join(sets) + " |", "|---" * (1 + len(sets)) + "|"]
    for quantity, transform in (("density", np.asarray), ("its logarithm", lambda d: np.log(np.maximum(1 + d, 1e-4)))):
        power = {name: _band_powers(transform(made["field"].values)) for name, made in (sets | {"fine": fine}).items()}
        for i, (low, high) in enumerate(BANDS):
            cells = []
            for name in sets:
                excess = 100 * np.log(power[name][:, i] / power["fine"][:, i])
                by_unit = np.array([excess[units == unit].mean() for unit in np.unique(units)])
                cells.append(format_value(by_unit.mean(), by_unit.std(ddof=1) / np.sqrt(len(by_unit))))
            lines.append(f"| {quantity}, {low:g} to {high:g} k_Nyquist | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _band_powers(maps):
    r"""(N, bands) from maps (N, \*grid) of equal sides; modes weigh |k|^(1-d): all |k| of a band count alike."""
    side, axes = maps.shape[-1], tuple(range(1, maps.ndim))
    along = np.meshgrid(*[np.fft.fftfreq(side)] * (len(axes) - 1), np.fft.rfftfreq(side), indexing="ij")
    part = 2 * np.sqrt(sum(k**2 for k in along))
    twice = np.where((np.arange(side // 2 + 1) % (side // 2)) == 0, 1, 2)
    shells = twice / np.maximum(part, 1e-9) ** (len(axes) - 1)
    weights = [np.where((part >= low) & (part < high), shells, 0) for low, high in BANDS]
    power = np.abs(np.fft.rfftn(maps, axes=axes)) ** 2
    return np.stack([(power * weight).sum(axes) / weight.sum() for weight in weights], axis=1)


def reference_file(word):
    """The file itself, or the test part of a run that it is the folder of."""
    return Path(word) / "data" / "test.h5" if Path(word).is_dir() else Path(word)


def main(words):
    if words[0] == "--paired":
        fine, *named = (with_units(load_ensemble(word.split("=", 1)[-1])) for word in words[1:])
        names = [word.split("=", 1)[0] for word in words[2:]]
        print(paired_table(fine, dict(zip(names, named, strict=True))))
        return
    generated, reference, *others = words
    files = {Path(generated).stem: generated} | dict(word.split("=", 1) for word in others)
    read = with_units(load_ensemble(reference_file(reference)))
    print(table(read, {name: with_units(load_ensemble(file)) for name, file in files.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
