"""Power spectra against the FFT that they need, Pylians and powerbox; their growth; the judging of maps by all."""

import numpy as np
import torch
import xarray as xr

from benchmarks.speed.row import growth, race
from physgen import from_array
from physgen.diagnostics.spectrum import power_spectrum_array
from physgen.domains.contract import get_domain
from physgen.stages.evaluation import evaluate_ensembles

LENGTH = 250.0
OF_POWERBOX = {"remove_shotnoise": False, "bins_upto_boxlen": True}
JUDGED, PART = 1500, 0.2  # maps of 256^2 on either side, and the part of them that is run


def rows():
    pylians, powerbox = _pylians(), _powerbox()
    yield _of_a_box(pylians, powerbox)
    yield _of_maps(pylians, powerbox)
    yield _growth()
    yield _judging()


def _of_a_box(pylians, powerbox):
    box = np.random.default_rng(0).standard_normal((256, 256, 256), dtype=np.float32)
    return race(
        "P(k) of one 256^3 float32 field",
        {
            "physgen": lambda: power_spectrum_array(box, (LENGTH / 256,) * 3),
            "FFT (torch.fft.rfftn)": lambda: torch.fft.rfftn(torch.from_numpy(box)),
            "Pylians": pylians and (lambda: pylians.Pk(box, LENGTH, 0, None, torch.get_num_threads(), verbose=False)),
            "powerbox": powerbox and (lambda: powerbox.get_power(box, LENGTH, **OF_POWERBOX)),
        },
        goal="<= 2 x FFT, 3 x faster than Pylians",
        note="Pylians also bins in the angle to an axis",
    )


def _of_maps(pylians, powerbox):
    maps = np.random.default_rng(1).standard_normal((1000, 256, 256), dtype=np.float32)
    few = maps[:20]
    return race(
        "P(k) of 1000 float32 maps of 256^2",
        {
            "physgen": lambda: power_spectrum_array(maps, (LENGTH / 256,) * 2),
            "FFT (torch.fft.rfftn)": lambda: torch.fft.rfftn(torch.from_numpy(maps), dim=(-2, -1)),
            "FFT, four maps at a time": lambda: _one_by_one(lambda x: torch.fft.rfftn(x, dim=(-2, -1)), maps),
            "Pylians": pylians and (lambda: [pylians.Pk_plane(m, LENGTH, "None", 1, verbose=False) for m in few]),
            "powerbox": powerbox and (lambda: [powerbox.get_power(m, LENGTH, **OF_POWERBOX) for m in few]),
        },
        goal="<= 2 x FFT",
        note="Pylians and powerbox: 20 maps, times 50; four maps at a time stay in the cache, on one thread",
        share={"Pylians": 0.02, "powerbox": 0.02},
    )


def _one_by_one(transform, maps):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for start in range(0, len(maps), 4):
            transform(torch.from_numpy(maps[start : start + 4]))
    finally:
        torch.set_num_threads(threads)


def _growth():
    largest = np.random.default_rng(2).standard_normal((512, 512, 512), dtype=np.float32)

    def measure(n):
        field = largest.reshape(-1)[: n**3].reshape(n, n, n)
        return lambda: power_spectrum_array(field, (LENGTH / n,) * 3)

    return growth("P(k) of one N^3 float32 field", "N", {n: measure(n) for n in (64, 128, 256, 512)}, goal="N^3 log N")


def _judging():
    generated, reference = (lognormal_maps(int(JUDGED * PART), 256, seed) for seed in (1, 2))
    domain = get_domain(reference.attrs["domain"])()
    return race(
        f"all diagnostics of {JUDGED} maps of 256^2 against {JUDGED}, compared",
        {"physgen": lambda: evaluate_ensembles(generated, reference, domain=domain)},
        goal="60 s of wall time",
        repeats=3,
        note=f"{PART:.0%} of the maps are run and their cost is scaled, comparisons of constant cost included",
        share={"physgen": PART},
    )


def lognormal_maps(count: int, size: int, seed: int) -> xr.Dataset:
    """Maps of exp(g), g Gaussian with a falling spectrum; six to a simulation, two labels of each."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    amplitude = (1 + (np.hypot(*np.meshgrid(*frequency, indexing="ij")) / 6) ** 2) ** -0.9
    amplitude[0, 0] = 0
    g = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((count, size, size))) * amplitude)
    g *= 0.8 / g.std()
    simulation = np.arange(count) // 6
    labels = np.random.default_rng(0).uniform((0.1, 0.6), (0.5, 1.0), (simulation.max() + 1, 2))[simulation]
    ensemble = from_array(
        np.exp(g - g.var() / 2).astype(np.float32),
        f"{LENGTH:g} Mpc/h",
        labels={"Omega_m": labels[:, 0], "sigma_8": labels[:, 1]},
        simulation=simulation,
    )
    return ensemble.assign_attrs(domain="cosmology", field_kind="surface_density")


def _pylians():
    try:
        import Pk_library
    except ImportError:
        return None
    return Pk_library


def _powerbox():
    try:
        import powerbox
    except ImportError:
        return None
    return powerbox
