"""The test on random features beside PQMass (Lemos et al. 2024, 2402.04355), which counts samples in random cells."""

import numpy as np

from benchmarks.judge import field_fakes
from physgen.diagnostics import hotelling
from physgen.diagnostics.feature_test import feature_statistics
from physgen.diagnostics.spectrum import power_spectrum_array
from physgen.domains.cosmology.density import log10

NAMES = (
    "truth, other initial conditions", "Gaussian copula", "lognormal of the right P(k)",
    "Zel'dovich in place of N-body", "smoothed by 10 % of the Nyquist wavelength", "tilt of 0.2",
)  # fmt: skip
WORDS = (
    "p values of equality. Random features: Hotelling's T^2 over simulations, paired by their conditions, and with all "
    "maps of a simulation as one unit. PQMass takes maps for independent, which those of one simulation are not; "
    "median of 20 tessellations of 50 cells. `pip install --no-deps pqm` (MIT), else its columns stay empty."
)
CELLS, TESSELLATIONS = 50, 20


def rows(reference, maps):
    """One row for each fake."""
    truth = feature_statistics(reference, log10)["per_unit"].values
    for name in NAMES:
        fake = field_fakes.FAKES[name](maps)
        mine = feature_statistics(fake, log10)["per_unit"].values
        found = {"fake": name, "random features": f"{hotelling.mean_is_zero(mine - truth).p_value:.1g}"}
        found["unpaired"] = f"{hotelling.means_are_equal(mine, truth).p_value:.1g}"
        yield found | {f"PQMass on {what}": _pqmass(f(reference), f(fake)) for what, f in REPRESENTATIONS.items()}


def _pixels(ensemble):
    return log10(ensemble["field"].values).reshape(ensemble.sizes["sample"], -1)


def _log_spectra(ensemble):
    return np.log(power_spectrum_array(log10(ensemble["field"].values), (1.0, 1.0))[1])


REPRESENTATIONS = {"pixels": _pixels, "log spectra": _log_spectra}


def _pqmass(first, second):
    try:
        from pqm.pqm import _pqm_test
    except ImportError:
        return ""
    np.random.seed(0)  # noqa: NPY002  it draws from numpy's global generator
    found = [_pqm_test(first, second, CELLS, False, None, 0.0)[1] for _ in range(TESSELLATIONS)]
    return f"{np.median(found):.1g}"
