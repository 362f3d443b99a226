"""Whether cubes or maps that were drawn are copies of training data, moved, turned or mirrored.

    python -m benchmarks.emulators.copies GENERATED TRAIN HELDOUT

A translation leaves the moduli of all Fourier modes as they are, and the point group of the lattice permutes them. So
one product of matrices compares each field with all training fields under all moves: the greatest correlation r of

    u_k = |delta_k|^2 / (mean of its shell in that field) - 1,  0 < |k| <= LARGEST fundamental wavenumbers,

delta the logarithm of the density. Independent fields have r of zero mean and variance 1 / (independent modes); a field
whose modes are correlated with those of a training field by rho has r near rho^2.
"""

import itertools
import sys

import numpy as np
from scipy import stats

from physgen.ensemble import load_ensemble

LARGEST, FLOOR = 6, 1e-2


def moduli(fields):
    """u (N, modes), rows of unit length and zero mean, and the wave vectors (modes, d) of fields (N, *grid)."""
    dimension = fields.ndim - 1
    numbers = np.arange(-LARGEST, LARGEST + 1)
    waves = np.stack(np.meshgrid(*[numbers] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    square = (waves**2).sum(1)
    waves = waves[(square > 0) & (square <= LARGEST**2)]
    power = np.abs(np.fft.fftn(fields, axes=tuple(range(1, fields.ndim)))[(slice(None), *waves.T)]) ** 2
    shell = np.unique((waves**2).sum(1), return_inverse=True)[1]
    mean = np.stack([np.bincount(shell, row) for row in power]) / np.bincount(shell)
    u = power / mean[:, shell] - 1
    return (u / np.linalg.norm(u, axis=1, keepdims=True)).astype(np.float32), waves


def turned(waves):
    """The order of the modes under each element of the point group: (2^d d!, modes)."""
    dimension = waves.shape[1]
    place = {tuple(wave): i for i, wave in enumerate(waves.tolist())}
    found = []
    for axes in itertools.permutations(range(dimension)):
        for signs in itertools.product((1, -1), repeat=dimension):
            found.append([place[tuple(wave)] for wave in (waves[:, axes] * signs).tolist()])
    return np.unique(np.array(found), axis=0)


def greatest(fields, train):
    """Greatest r of each field with any training field under any move, (N,); both (N, *grid)."""
    (u, waves), (v, _) = moduli(fields), moduli(train)
    best = np.full(len(u), -1.0)
    for order in turned(waves):
        best = np.maximum(best, (u[:, order] @ v.T).max(axis=1))
    return best


def main(words):
    generated, train, heldout = (
        np.log(np.maximum(1 + load_ensemble(word)["field"].values, FLOOR)).reshape(-1, *shape)
        for word in words
        for shape in [load_ensemble(word)["field"].shape[1:]]
    )
    r, null = greatest(generated, train), greatest(heldout, train)
    copies = int((r > null.max()).sum())
    bound = stats.beta.ppf(0.95, copies + 1, len(r) - copies)
    print(f"{len(r)} generated: greatest r {r.max():.3f}, median {np.median(r):.3f}")
    print(f"{len(null)} held out: greatest r {null.max():.3f}, median {np.median(null):.3f}")
    print(
        f"above all held out: {copies}; at most {bound:.2%} (95 %); p of equal r {stats.ks_2samp(r, null).pvalue:.2g}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
