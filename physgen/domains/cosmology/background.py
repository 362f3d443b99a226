"""Flat LCDM background: expansion and growth. Scale factor a = 1 today; radiation and neutrino masses are neglected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import hyp2f1

from physgen.errors import InputError


@dataclass(frozen=True)
class CosmologyParams:
    """Flat LCDM and its linear power: what a density field depends on. Defaults: the Quijote fiducial model.

    Attributes:
        Omega_m: matter density today over the critical density, in (0, 1]; Omega_Lambda = 1 - Omega_m.
        sigma_8: rms of the linear density in spheres of 8 Mpc/h today.
        Omega_b: baryon density, in (0, Omega_m).
        h: Hubble constant in 100 km/s/Mpc.
        n_s: slope of the primordial spectrum.
    """

    Omega_m: float = 0.3175
    sigma_8: float = 0.834
    Omega_b: float = 0.049
    h: float = 0.6711
    n_s: float = 0.9624

    def __post_init__(self) -> None:
        if not 0 < self.Omega_m <= 1:
            raise InputError(f"Omega_m = {self.Omega_m} is outside (0, 1]: give the matter fraction of a flat universe")
        if not 0 < self.Omega_b < self.Omega_m:
            raise InputError(f"Omega_b = {self.Omega_b} must lie between 0 and Omega_m = {self.Omega_m}: lower Omega_b")
        if not (self.sigma_8 > 0 and self.h > 0):
            raise InputError(f"sigma_8 = {self.sigma_8} and h = {self.h} must be positive")

    def to_astropy(self) -> Any:
        """The same background as ``astropy.cosmology.FlatLambdaCDM``; sigma_8 and n_s travel in its ``meta``."""
        from physgen.domains.cosmology.astropy_cosmology import to_astropy

        return to_astropy(self)

    @classmethod
    def from_astropy(cls, cosmology: Any, **missing: float) -> CosmologyParams:
        """From a flat astropy cosmology or its name; what astropy does not know is in its ``meta`` or in ``missing``.

        Args:
            cosmology: a ``FlatLambdaCDM`` (or any object with H0, Om0, Ob0, Ok0), or ``"Planck18"``.
            missing: ``sigma_8``, ``n_s`` or ``Omega_b``; they win over ``meta``.

        Raises:
            InputError: a curved universe, w other than -1, neutrinos of more than 0.06 eV, or sigma_8, n_s or Omega_b
                unknown.
        """
        from physgen.domains.cosmology.astropy_cosmology import values_of

        return cls(**values_of(cosmology, missing))


def hubble_rate(scale_factor: Any, Omega_m: float) -> Any:
    r"""E(a) = H(a)/H_0 = (Omega_m a^-3 + 1 - Omega_m)^(1/2)."""
    return np.sqrt(Omega_m * np.asarray(scale_factor, dtype=float) ** -3 + 1 - Omega_m)


def matter_fraction(scale_factor: Any, Omega_m: float) -> Any:
    r"""Omega_m(a) = Omega_m a^-3 / E(a)^2."""
    a = np.asarray(scale_factor, dtype=float)
    return Omega_m * a**-3 / hubble_rate(a, Omega_m) ** 2


def _growing_mode(scale_factor: Any, Omega_m: float) -> Any:
    # D -> a at early times; closed form of (5/2) Omega_m E int da / (a E)^3 in flat LCDM
    a = np.asarray(scale_factor, dtype=float)
    return a * hyp2f1(1 / 3, 1.0, 11 / 6, -(1 - Omega_m) / Omega_m * a**3)


def growth_factor(scale_factor: Any, Omega_m: float) -> Any:
    r"""Linear growth D(a), D(1) = 1: the growing solution of D'' + 2 H D' = (3/2) Omega_m(a) H^2 D.

    Source: D proportional to a 2F1(1/3, 1; 11/6; -(1/Omega_m - 1) a^3), flat LCDM (Heath 1977 in closed form).
    """
    return _growing_mode(scale_factor, Omega_m) / _growing_mode(1.0, Omega_m)


def growth_rate(scale_factor: Any, Omega_m: float) -> Any:
    r"""f(a) = dlnD/dlna = Omega_m(a) (5 a / 2 g - 3/2), g the growing mode with g -> a at early times."""
    a = np.asarray(scale_factor, dtype=float)
    return matter_fraction(a, Omega_m) * (2.5 * a / _growing_mode(a, Omega_m) - 1.5)


@lru_cache(maxsize=64)
def _second_order_solution(Omega_m: float) -> Any:
    # d2D2/dlna2 + (2 + dlnE/dlna) dD2/dlna = (3/2) Omega_m(a) (D2 - D^2), from the matter era D2 = -3/7 D^2
    start = np.log(1e-3)

    def right_side(ln_a: float, y: np.ndarray) -> list[float]:
        fraction = matter_fraction(np.exp(ln_a), Omega_m)
        source = 1.5 * fraction * (y[0] - growth_factor(np.exp(ln_a), Omega_m) ** 2)
        return [y[1], source - (2 - 1.5 * fraction) * y[1]]

    d2 = -3 / 7 * growth_factor(1e-3, Omega_m) ** 2
    return solve_ivp(right_side, (start, 0.1), [d2, 2 * d2], rtol=1e-8, atol=1e-12, dense_output=True).sol


def second_order_growth(scale_factor: Any, Omega_m: float) -> tuple[Any, Any]:
    r"""Second-order growth D2(a) and dD2/dlna in the convention x = q - D grad phi1 + D2 grad phi2.

    In the matter era D2 = -(3/7) D^2; the exact ordinary differential equation is solved, valid for 1e-3 <= a <= 1.1.
    Source: Bouchet et al. 1995; Scoccimarro 1998, appendix D.
    """
    d2, slope = _second_order_solution(float(Omega_m))(np.log(np.asarray(scale_factor, dtype=float)))
    return d2, slope
