"""Linear matter power spectrum: CAMB, or the fit of Eisenstein & Hu (1998). k in h/Mpc, P in (Mpc/h)^3.

The fit against CAMB 2.0.5, both of the same sigma_8, Omega_b = 0.049, h = 0.6711, n_s = 0.9624, extremes in per cent of
P over a band of k in h/Mpc (``benchmarks/emulators/spectra.py``):

=======  =============  =============  ============  ===========  ===========
Omega_m  0.01 to 0.05   0.05 to 0.1    0.1 to 0.3    0.3 to 1     1 to 5
=======  =============  =============  ============  ===========  ===========
0.1      -2.5, +18.5    -11.9, +10.2   -13.4, +12.1  -4.6, +5.2   +4.1, +6.3
0.15     -0.3, +7.1     -5.3, +6.1     -5.6, +3.4    -1.2, +3.4   +3.4, +5.8
0.2      +0.5, +3.9     -1.1, +5.1     -3.2, +1.1    -2.0, +1.6   +1.6, +4.1
0.3175   -2.5, +0.2     -0.7, +3.8     -1.6, +3.2    -2.0, -0.6   -1.5, +0.7
0.4      -3.7, -1.6     -1.5, +3.0     -1.3, +3.2    -2.9, -1.0   -2.8, -0.9
0.5      -4.7, -3.4     -3.3, +1.3     -0.6, +2.4    -3.7, -0.8   -3.8, -2.3
=======  =============  =============  ============  ===========  ===========
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import replace

import numpy as np

from physgen.domains.cosmology.background import CosmologyParams, growth_factor
from physgen.errors import InputError

METHODS = ("eisenstein_hu", "camb")
AUTO = "auto"
CMB_TEMPERATURE = 2.7255  # kelvin


def settled_method(asked: str) -> str:
    """The method that ``auto`` is on this machine: camb where it is installed. Others stay as they are.

    It is settled once, when a configuration is read, and is what the configuration, its digest and the data then say:
    machines that differ make data that differ and say so, and ``confront`` does not compare them.
    """
    if asked != AUTO:
        return asked
    return "camb" if importlib.util.find_spec("camb") else "eisenstein_hu"


def transfer_function(k: np.ndarray, params: CosmologyParams) -> np.ndarray:
    """Transfer function with baryon wiggles of Eisenstein & Hu 1998 (astro-ph/9709112), T -> 1 at small k.

    Args:
        k: wavenumbers in h/Mpc, positive, any shape.
        params: Omega_m, Omega_b and h enter.

    Returns:
        T(k), shape of ``k``; in power within 4 % of a Boltzmann code at Omega_m = 0.3, up to 19 % off at Omega_m = 0.1
        (table of the module).
    """
    matter, baryon = params.Omega_m * params.h**2, params.Omega_b * params.h**2
    fraction = params.Omega_b / params.Omega_m
    theta = CMB_TEMPERATURE / 2.7
    k_Mpc = np.asarray(k, dtype=float) * params.h
    # eqs. 2-7: equality, drag epoch, sound horizon, Silk damping
    z_eq = 2.5e4 * matter * theta**-4
    k_eq = 7.46e-2 * matter * theta**-2
    b1 = 0.313 * matter**-0.419 * (1 + 0.607 * matter**0.674)
    b2 = 0.238 * matter**0.223
    z_drag = 1291 * matter**0.251 / (1 + 0.659 * matter**0.828) * (1 + b1 * baryon**b2)
    ratio_drag, ratio_eq = (31.5 * baryon * theta**-4 * 1e3 / z for z in (z_drag, z_eq))
    sound = (2 / (3 * k_eq)) * np.sqrt(6 / ratio_eq)
    sound *= np.log((np.sqrt(1 + ratio_drag) + np.sqrt(ratio_drag + ratio_eq)) / (1 + np.sqrt(ratio_eq)))
    k_silk = 1.6 * baryon**0.52 * matter**0.73 * (1 + (10.4 * matter) ** -0.95)
    q = k_Mpc / (13.41 * k_eq)

    def pressureless(alpha: float, beta: float) -> np.ndarray:  # eqs. 19-20
        c = 14.2 / alpha + 386 / (1 + 69.9 * q**1.08)
        log_term = np.log(np.e + 1.8 * beta * q)
        return log_term / (log_term + c * q**2)

    # eqs. 9-12, 17-18: cold dark matter
    a1 = (46.9 * matter) ** 0.670 * (1 + (32.1 * matter) ** -0.532)
    a2 = (12.0 * matter) ** 0.424 * (1 + (45.0 * matter) ** -0.582)
    alpha_c = a1**-fraction * a2 ** -(fraction**3)
    b1 = 0.944 / (1 + (458 * matter) ** -0.708)
    b2 = (0.395 * matter) ** -0.0266
    beta_c = 1 / (1 + b1 * ((1 - fraction) ** b2 - 1))
    phase = k_Mpc * sound
    f = 1 / (1 + (phase / 5.4) ** 4)
    cold = f * pressureless(1.0, beta_c) + (1 - f) * pressureless(alpha_c, beta_c)
    # eqs. 14-15, 21-24: baryons
    y = (1 + z_eq) / (1 + z_drag)
    g = y * (-6 * np.sqrt(1 + y) + (2 + 3 * y) * np.log((np.sqrt(1 + y) + 1) / (np.sqrt(1 + y) - 1)))
    alpha_b = 2.07 * k_eq * sound * (1 + ratio_drag) ** -0.75 * g
    beta_b = 0.5 + fraction + (3 - 2 * fraction) * np.sqrt((17.2 * matter) ** 2 + 1)
    beta_node = 8.41 * matter**0.435
    shifted = phase / np.cbrt(1 + (beta_node / phase) ** 3)
    baryons = pressureless(1.0, 1.0) / (1 + (phase / 5.2) ** 2)
    baryons += alpha_b / (1 + (beta_b / phase) ** 3) * np.exp(-((k_Mpc / k_silk) ** 1.4))
    return fraction * baryons * np.sinc(shifted / np.pi) + (1 - fraction) * cold


def _camb_shape(k: np.ndarray, params: CosmologyParams) -> np.ndarray:
    try:
        import camb
    except ImportError as error:
        raise InputError(
            'linear_power = "camb" needs the package camb: pip install camb, or use "eisenstein_hu"'
        ) from error
    model = camb.CAMBparams(WantCls=False)
    # camb >= 2.0 fails to find a reionisation redshift with its default tau when no spectra are wanted
    model.set_cosmology(
        H0=100 * params.h,
        ombh2=params.Omega_b * params.h**2,
        omch2=(params.Omega_m - params.Omega_b) * params.h**2,
        mnu=0.0,
        tau=0.06,
        TCMB=CMB_TEMPERATURE,
    )
    model.InitPower.set_params(ns=params.n_s)
    model.set_matter_power(redshifts=[0.0], kmax=float(k.max()) * params.h * 1.1)
    model.NonLinear = camb.model.NonLinear_none
    interpolator = camb.get_results(model).get_matter_power_interpolator(nonlinear=False)
    return interpolator.P(0.0, k)


def top_hat_rms(ln_k: np.ndarray, power: np.ndarray, radius: float = 8.0) -> float:
    r"""sigma_R of a spectrum: sigma^2 = int dlnk k^3 P W(kR)^2 / 2 pi^2, W(x) = 3 (sin x - x cos x) / x^3.

    Args:
        ln_k: natural logarithm of k in h/Mpc, ascending, dense enough for the trapezoidal rule.
        power: P in (Mpc/h)^3 at these k.
        radius: R in Mpc/h.
    """
    k = np.exp(ln_k)
    x = k * radius
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    return float(np.sqrt(np.trapezoid(k**3 * power * window**2 / (2 * np.pi**2), ln_k)))


def linear_power(
    k: np.ndarray, params: CosmologyParams, method: str = "eisenstein_hu", scale_factor: float = 1.0
) -> np.ndarray:
    r"""Linear matter power P(k, a) = D(a)^2 P(k), normalised so that sigma_8 is the one asked for.

    Args:
        k: wavenumbers in h/Mpc, positive, any shape.
        params: cosmology.
        method: "eisenstein_hu" or "camb" (shape only; both are normalised here by the same integral).
        scale_factor: a of the growth factor.

    Returns:
        P in (Mpc/h)^3, shape of ``k``.

    Raises:
        InputError: unknown method, or camb is not installed.
    """
    if method not in METHODS:
        raise InputError(f"linear_power = {method!r} is unknown: choose one of {', '.join(METHODS)}")
    k = np.asarray(k, dtype=float)
    top = max(20.0, 1.05 * float(k.max(initial=0.0)))
    ln_k, shape = _shape(replace(params, sigma_8=1.0), method, top)
    amplitude = (params.sigma_8 / top_hat_rms(ln_k, shape)) ** 2 * growth_factor(scale_factor, params.Omega_m) ** 2
    return amplitude * np.exp(np.interp(np.log(k), ln_k, np.log(shape)))


@functools.lru_cache(maxsize=32)
def _shape(params: CosmologyParams, method: str, top: float) -> tuple[np.ndarray, np.ndarray]:
    """ln k up to ``top`` and P of any amplitude; CAMB takes more than a second, and sigma_8 does not enter."""
    # 2000 points a table: the first wiggle has 40 of them, and sigma_8 converges to 1e-5
    ln_k = np.linspace(np.log(1e-4), np.log(top), 2000)
    table = np.exp(ln_k)
    if method == "camb":
        return ln_k, _camb_shape(table, params)
    return ln_k, table**params.n_s * transfer_function(table, params) ** 2
