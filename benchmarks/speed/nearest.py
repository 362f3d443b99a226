"""Nearest training map of each query modulo translations and symmetries: pruned, against one inverse FFT a pair."""

import dataclasses

import numpy as np
import torch

from benchmarks.speed.row import race
from physgen.diagnostics.nearest import nearest_field
from physgen.diagnostics.shift_bounds import spectrum
from physgen.diagnostics.shift_search import worth_bounding
from physgen.lattice import wavenumber

# mean spectrum of log10(1 + delta) of the maps of configs/cosmology/demo.yaml: k in h/Mpc, P in (Mpc/h)^2
WAVENUMBERS = (0.04, 0.059, 0.2, 0.347, 0.496, 0.639, 0.786, 0.936, 1.082, 1.229, 1.376, 1.524, 2.3)
POWER = (40.0, 27.18, 4.986, 1.729, 0.8547, 0.4733, 0.2733, 0.1601, 0.09363, 0.05489, 0.0326, 0.02092, 0.001)
QUERIES, TRAINING, CELLS, CELL = 96, 1000, 64, 2.0  # of few queries each thread has too few for its products
ALL = 1000 * 10000  # pairs of the goal


def maps(seed, count, white=False):
    """Gaussian maps with the spectrum of the demo's logarithms, (count, 1, 64, 64), or white noise."""
    noise = torch.randn(count, 1, CELLS, CELLS, generator=torch.Generator().manual_seed(seed))
    if white:
        return noise
    k = np.maximum(wavenumber((CELLS, CELLS), (CELL, CELL)), WAVENUMBERS[0])
    shape = np.exp(0.5 * np.interp(np.log(k), np.log(WAVENUMBERS), np.log(POWER)))
    return torch.fft.irfft2(torch.fft.rfft2(noise) * torch.from_numpy(shape).float())


def an_fft_a_pair(query, train):
    """Every pair, without a shared line of code: torch's inverse FFT of 16 cross spectra at a time."""
    query, train = (x - x.mean(dim=(2, 3), keepdim=True) for x in (query, train))
    query, train = (x / x.flatten(1).norm(dim=1)[:, None, None, None] for x in (query, train))
    train = torch.fft.rfft2(train[:, 0]).conj().resolve_conj()
    for one in torch.fft.rfft2(query[:, 0]):
        rho = torch.cat([torch.fft.irfft2(one * t).flatten(1).amax(dim=1) for t in train.split(16)])
        rho.topk(2)


def rows():
    """Races for translations alone, with the 8 symmetries, and for white noise, where bounds say nothing."""
    for work, group, symmetries, white, goal in (
        ("translations", "none", 1, False, "1000 x 10000 in 120 s on two cores"),
        ("translations and 8 symmetries", "point", 8, False, "1000 x 10000 in 480 s on two cores"),
        ("translations, white noise", "none", 1, True, "no more than every pair"),
    ):
        query, train = maps(0, QUERIES // (3 if symmetries > 1 else 1), white), maps(1, TRAINING, white)
        row = race(
            f"nearest of {TRAINING} maps of {CELLS}^2, {len(query)} queries, {work}",
            {
                "physgen": lambda q=query, t=train, g=group: nearest_field(q, t, group=g),
                "physgen, every pair": lambda q=query[:8], t=train, g=group: nearest_field(q, t, group=g, prune=False),
                "torch, an FFT a pair": lambda q=query[:8], t=train: an_fft_a_pair(q, t),
            },
            goal,
            share={"physgen, every pair": 8 / len(query), "torch, an FFT a pair": 8 / (len(query) * symmetries)},
        )
        # per pair the work is the same for ten times as many training maps
        whole = ALL / (len(query) * TRAINING)
        cost = row.costs["physgen"]
        low = worth_bounding(query, spectrum(train, 2).conj().resolve_conj(), symmetries)
        bounds = f"low modes to {low.reach[0]} of {CELLS // 2}" if low else "every pair"
        note = f"1000 x 10000: {whole * cost.cpu:.0f} CPU s, {whole * cost.wall:.0f} s of wall time; {bounds}"
        yield dataclasses.replace(row, note=note)
