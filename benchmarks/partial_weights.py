r"""Would populations along the noise levels help? How much of the final log-weight a path shows on its way.

`python -m benchmarks.partial_weights [instances] [paths]` prints a table for glass:sk, 64 spins, T = 1.2, 64 steps.

Resampling at level s needs :math:`\ln W_s = L_s + \ln\tilde p_s(y)`, with the log-ratio L_s of the steps so far and
the noised target :math:`\tilde p_s`, which nobody knows. Two stand-ins: none (L_s alone), and the free energy of
Thouless, Anderson and Palmer at the means m = D(y, s) of the network, in the field h = y/s^2,

.. math:: \ln\tilde p_s(y) \approx -\frac{|y|^2 + N}{2 s^2} - \frac{N}{2} \ln 2\pi s^2 + h\cdot m + \tfrac12 m^T K m
          + \tfrac14 \sum_{ij} K_{ij}^2 (1 - m_i^2)(1 - m_j^2) + S(m) .
"""

import math
import sys
from itertools import pairwise

import numpy as np
import torch

from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.path_weights import _log_forward
from physgen.diffusion.inference.reverse_kernels import Move, Noise, SpinMixture
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import Stream
from physgen.domains.spins.couplings import complete_graph, complete_graph_couplings, coupling_matrix
from physgen.runs.model import load_model
from physgen.runs.shipped import folder_of

SPINS, TEMPERATURE, STEPS, SEED = 64, 1.2, 64, 900
SHOWN = (8, 16, 24, 32, 40, 48, 56, 60)  # steps that are done


def free_energy(y, s, mean, couplings):
    """ln of the noised target in the approximation above, (B,)."""
    m = mean.clamp(-1 + 1e-9, 1 - 1e-9)
    up, down = 0.5 * (1 + m), 0.5 * (1 - m)
    entropy = -(up * up.log() + down * down.log()).sum(1)
    rest = 1 - m.square()
    pairs = 0.5 * ((m @ couplings) * m).sum(1) + 0.25 * ((rest @ couplings.square()) * rest).sum(1)
    gauss = -(y.square().sum(1) + SPINS) / (2 * s * s) - 0.5 * SPINS * (LOG_2PI + 2 * math.log(s))
    return gauss + (y * m).sum(1) / s**2 + pairs + entropy


def paths_of(denoiser, instance, count):
    """(final log-weights (B,), {steps done: (L_s, L_s with the stand-in)}) of one glass."""
    values = complete_graph_couplings(SPINS, "gaussian", SEED, np.array([instance]))[0]
    couplings = torch.from_numpy(coupling_matrix(complete_graph(SPINS), values, SPINS)) / TEMPERATURE
    given = {
        "matrix": couplings.float().expand(count, SPINS, SPINS),
        "labels": torch.full((count, 1), -math.log(TEMPERATURE)),
    }
    levels = log_uniform(8.0, 0.25, STEPS).double().tolist()

    def denoise(y, s):
        with torch.no_grad():
            return denoiser(y.float(), torch.full((count,), s), given).double()

    kernel, noise = SpinMixture(), Noise(Stream(instance, "partial weights"), range(count), (1, SPINS))
    y = kernel.start(noise, levels[0])
    ratio, seen = -kernel.log_start(y, levels[0]), {}
    for number, (s, s_next) in enumerate(pairwise(levels)):
        mean = denoise(y, s)
        if number in SHOWN:
            seen[number] = ratio, ratio + free_energy(y[:, 0], s, mean[:, 0], couplings)
        move = Move(y, mean, s, s_next)
        after = kernel.draw(move, noise)
        ratio = ratio + _log_forward(y, after, s, s_next) - kernel.log_density(move, after)
        y = after
    x = y[:, 0]
    return ratio + 0.5 * ((x @ couplings) * x).sum(1), seen, levels


def main():
    """The table."""
    torch.set_num_threads(1)
    instances, count = (int(word) for word in (sys.argv[1:3] or (2, 128)))
    denoiser = load_model(folder_of("glass:sk") / "model", "cpu").denoiser
    found = [paths_of(denoiser, instance, count) for instance in range(instances)]
    print(f"final ln w: standard deviation {np.mean([float(last.std()) for last, _, _ in found]):.3f}")
    print("| steps done | s | correlation of ln w with L_s | with ln W_s | sd of ln w - ln W_s | sd of ln W_s |")
    print("|---|---|---|---|---|---|")
    for number in SHOWN:
        rows = [(last, *seen[number]) for last, seen, _ in found]
        bare, full = ([float(torch.corrcoef(torch.stack([row[0], row[i]]))[0, 1]) for row in rows] for i in (1, 2))
        left, scatter = [float((row[0] - row[2]).std()) for row in rows], [float(row[2].std()) for row in rows]
        words = " | ".join(f"{np.mean(values):.2f}" for values in (bare, full, left, scatter))
        print(f"| {number} | {found[0][2][number]:.2f} | {words} |")


if __name__ == "__main__":
    main()
