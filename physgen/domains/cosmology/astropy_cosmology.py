"""Cosmologies of astropy in and out. What the simulator does not honour is refused: curvature, w, massive neutrinos.

Neutrinos up to the least mass that oscillations allow, 0.06 eV as in Planck's base model, count as matter: astropy's
Om0 leaves them out, here Omega_m = Om0 + sum(m) / (93.14 eV h^2). Radiation is neglected, as in the simulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.cosmology.background import CosmologyParams

LEAST_NEUTRINOS = 0.06  # eV
NEUTRINO_DENSITY = 93.14  # eV: sum of masses over Omega_nu h^2
SPELLINGS = {"sigma_8": ("sigma_8", "sigma8"), "n_s": ("n_s", "ns", "n")}  # in ``meta``; astropy's own: sigma8, n
TEMPERATURE = 2.7255  # K, of the background where neutrinos have masses


def named_cosmology(cosmology: Any) -> Any:
    """The astropy cosmology itself, or that of its name (``Planck18``). Raises InputError for an unknown name."""
    if not isinstance(cosmology, str):
        return cosmology
    from astropy import cosmology as known

    if cosmology not in known.available:
        raise InputError(f"cosmology = {cosmology!r} is unknown to astropy: choose one of {', '.join(known.available)}")
    return getattr(known, cosmology)


def values_of(cosmology: Any, missing: dict[str, float]) -> dict[str, float]:
    """Omega_m, sigma_8, Omega_b, h, n_s of a flat cosmology with a constant; see ``CosmologyParams.from_astropy``."""
    cosmology = named_cosmology(cosmology)
    _check_honoured(cosmology)
    hubble = cosmology.H0
    little_h = float(f"{float(getattr(hubble, 'value', hubble)) / 100:.15g}")
    meta = cosmology.meta or {}
    found: dict[str, Any] = {
        name: next((meta[word] for word in words if meta.get(word) is not None), None)
        for name, words in SPELLINGS.items()
    }
    found |= {"Omega_b": cosmology.Ob0 or None, **missing}
    for name in ("sigma_8", "n_s", "Omega_b"):
        if found.get(name) is None:
            raise InputError(f"{name} is not in this astropy cosmology: pass from_astropy(cosmology, {name}=...)")
    values = {name: float(found[name]) for name in ("sigma_8", "Omega_b", "n_s")}
    matter = float(cosmology.Om0) + neutrino_mass(cosmology) / (NEUTRINO_DENSITY * little_h**2)
    return {"Omega_m": matter, "h": little_h, **values}


def neutrino_mass(cosmology: Any) -> float:
    """Sum of the masses in eV, 0 where there are none."""
    masses = getattr(cosmology, "m_nu", None)
    return 0.0 if masses is None else float(np.sum(getattr(masses, "value", masses)))


def _check_honoured(cosmology: Any) -> None:
    if abs(getattr(cosmology, "Ok0", 0.0)) > 1e-8:
        raise InputError(f"Omega_k = {cosmology.Ok0} but only flat universes are supported: use FlatLambdaCDM")
    times = np.array([0.0, 1.0, 4.0])
    law = np.asarray(cosmology.w(times)) if hasattr(cosmology, "w") else np.array(-1.0)
    if np.any(np.abs(law + 1) > 1e-8):
        today, early = float(np.ravel(law)[0]), float(np.ravel(law)[-1])
        raise InputError(
            f"dark energy with w = {today:g} at redshift 0 and {early:g} at 4, but the simulator "
            "has a cosmological constant: use FlatLambdaCDM"
        )
    mass = neutrino_mass(cosmology)
    if mass > LEAST_NEUTRINOS * (1 + 1e-6):
        raise InputError(
            f"neutrinos of {mass:g} eV, but the simulator has none beyond the {LEAST_NEUTRINOS} eV that it counts as "
            "matter: use m_nu of at most that, or import simulations that have them"
        )


def to_astropy(params: CosmologyParams) -> Any:
    """``FlatLambdaCDM`` without radiation; ``meta`` holds sigma_8 and n_s, in astropy's spelling too."""
    from astropy.cosmology import FlatLambdaCDM

    meta = {"sigma_8": params.sigma_8, "n_s": params.n_s, "sigma8": params.sigma_8, "n": params.n_s}
    return FlatLambdaCDM(H0=100 * params.h, Om0=params.Omega_m, Ob0=params.Omega_b, Tcmb0=0.0, meta=meta)


def cosmology_of(ensemble: xr.Dataset, sample: int | None = None) -> Any:
    """The astropy cosmology of an ensemble, or of one of its samples: flat, from its labels and root attributes.

    ``FlatLambdaCDM``; ``FlatwCDM`` where there is a label w other than -1; a label M_nu becomes three equal masses,
    whose density is taken off Om0. sigma_8 and n_s stand in ``meta`` where the ensemble says them.

    Args:
        sample: number along ``sample``; needed where the cosmologies of an ensemble differ.

    Raises:
        InputError: Omega_m or h unknown, or several cosmologies and no ``sample``.
    """
    import astropy.cosmology
    import astropy.units as u

    said = {name: _said(ensemble, name, sample) for name in ("Omega_m", "h", "Omega_b", "sigma_8", "n_s", "w", "M_nu")}
    for name in ("Omega_m", "h"):
        if said[name] is None:
            raise InputError(f"the ensemble says no {name}, neither as a label nor as an attribute: assign it first")
    mass, little_h, dark = said["M_nu"] or 0.0, float(said["h"] or 0.0), said["w"]
    matter = float(said["Omega_m"] or 0.0) - mass / (NEUTRINO_DENSITY * little_h**2)
    known = {name: said[name] for name in SPELLINGS if said[name] is not None}
    meta = {word: known[name] for name in known for word in SPELLINGS[name] if word != "ns"}
    options: dict[str, Any] = {"Tcmb0": TEMPERATURE if mass else 0.0, "meta": meta}
    options |= {"Ob0": said["Omega_b"]} if said["Omega_b"] is not None else {}
    options |= {"m_nu": [mass / 3] * 3 * u.eV} if mass else {}
    if dark is None or dark == -1:
        return astropy.cosmology.FlatLambdaCDM(H0=100 * little_h, Om0=matter, **options)
    return astropy.cosmology.FlatwCDM(H0=100 * little_h, Om0=matter, w0=dark, **options)


def _said(ensemble: xr.Dataset, name: str, sample: int | None) -> float | None:
    if name not in ensemble.variables:
        return float(ensemble.attrs[name]) if name in ensemble.attrs else None
    values = np.atleast_1d(ensemble[name].values if sample is None else ensemble[name].isel(sample=sample).values)
    if np.ptp(values) > 0:
        raise InputError(
            f"the ensemble holds several cosmologies ({name} from {values.min():g} to {values.max():g}): choose one, "
            "cosmology_of(ensemble, sample=0)"
        )
    return float(values.flat[0])
