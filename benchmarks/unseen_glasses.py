r"""What weighted draws of glasses are worth, and their ln Z: ``python -m benchmarks.unseen_glasses FILE``.

FILE is what ``physgen sample RUN --like LIKE --weights`` wrote. One row for each temperature: means over instances with
standard errors of the share of draws that counts and of the path divergence; ln Z from one side and from both less that
of the transfer matrix where layers are narrow, elsewhere of thermodynamic integration over parallel tempering, whose
error joins theirs: how many lie within two errors, the root of the mean squared pull, the mean error.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import xarray as xr

from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.exact import log_partition
from physgen.domains.spins.integration import integrated_log_partition
from physgen.domains.spins.layout import disorder_of
from physgen.ensemble import open_ensemble
from physgen.errors import InputError

SWEEPS, HEAVY = 4000, 0.7


def reference(couplings: np.ndarray, temperature: float, seed: int) -> tuple[float, float]:
    """ln Z of a lattice and its error, 0 where it is exact."""
    try:
        if couplings[0, -1].any():
            raise InputError("a ring of layers costs a transfer matrix for each state of one")
        return log_partition(couplings, temperature)[0], 0.0
    except InputError:
        grid = couplings.shape[1:]
        found = integrated_log_partition(
            lattice_edges(grid), couplings.reshape(-1), math.prod(grid), temperature, seed, sweeps=SWEEPS
        )
        return found.log_partition, found.error


def with_error(values: np.ndarray, digits: int) -> str:
    """Mean over instances and its standard error in brackets, in units of the last digit."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.{digits}f}({round(error * 10**digits)})"


def pulls(made: xr.Dataset, name: str, level: int, known: np.ndarray) -> str:
    """How many of ln Z lie within two errors, and the root of the mean squared pull."""
    value, error = made[name].values[:, level], made[f"{name}_error"].values[:, level]
    claimed = np.ones(len(value), dtype=bool)
    if name == "log_Z_two_sided":
        claimed = made["log_Z_closed"].values[:, level] > 0
    pull = ((value - known[:, 0]) / np.hypot(error, known[:, 1]))[claimed]
    size = error[claimed].mean()
    return f"{np.sum(np.abs(pull) < 2)} of {len(pull)}, {np.sqrt(np.mean(pull**2)):.2f}, error {size:.3f}"


def rows(path: str) -> list[str]:
    """Of each temperature."""
    made = open_ensemble(path)
    couplings, temperatures = disorder_of(made).couplings, made["temperature"].values
    said = []
    for level, temperature in enumerate(temperatures):
        share, tail = made["effective_fraction"].values[:, level], made["tail"].values[:, level]
        known = np.array([reference(one, float(temperature), i) for i, one in enumerate(couplings)])
        cells = [
            " x ".join(map(str, couplings.shape[2:])), f"{temperature:g}", str(len(couplings)),
            str(made.attrs["sampler_steps"]), str(made.sizes["replica"]), with_error(share, 3),
            f"{share.min():.3f}, {share.max():.3f}", with_error(made["path_divergence"].values[:, level], 5),
            str(int((tail > HEAVY).sum())), pulls(made, "log_Z", level, known),
            pulls(made, "log_Z_two_sided", level, known) if "log_Z_two_sided" in made else "",
            f"{known[:, 1].mean():.3f}",
        ]  # fmt: skip
        said.append("| " + " | ".join(cells) + " |")
    return said


def main(words: list[str]) -> int:
    """Print the table of the files."""
    print(
        "| lattice | T | instances | steps | draws | ESS, mean | least, largest | D | heavy | ln Z within 2 errors "
        "| from both sides | error of the reference |\n|" + "---|" * 12
    )
    for path in words:
        print("\n".join(rows(path)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
