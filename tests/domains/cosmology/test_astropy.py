"""Cosmologies and lengths of astropy: taken where the simulator honours them, refused where not, given back."""

import astropy.cosmology as known
import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology.units import littleh

import physgen as pg
from physgen.config import check_config
from physgen.domains.cosmology import Cosmology, CosmologyParams, cosmology_of
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.errors import InputError

FLAT = {"H0": 70, "Om0": 0.3, "Ob0": 0.05}
MORE = {"sigma_8": 0.8, "n_s": 0.96}


def test_a_name_or_an_object_stands_for_five_parameters():
    """Planck 2018, table 2: Omega_m = 0.3111 counts the neutrinos that astropy's Om0 leaves out."""
    by_name, by_object = Cosmology(cosmology="Planck18"), Cosmology(cosmology=known.Planck18)
    assert by_name == by_object and by_name.cosmology is None
    assert by_name.Omega_m == pytest.approx((0.3111, 0.3111), abs=5e-5)
    assert by_name.sigma_8 == (0.8102, 0.8102) and (by_name.h, by_name.n_s) == (0.6766, 0.9665)
    flat = known.FlatLambdaCDM(**FLAT, meta={"sigma8": 0.8, "n": 0.96})
    assert CosmologyParams.from_astropy(flat) == CosmologyParams(0.3, 0.8, 0.05, 0.7, 0.96)


def test_a_configuration_stores_the_numbers():
    content = {"name": "a", "domain": "cosmology", "data": {"cosmology": "Planck15", "n_s": 0.9667}}
    experiment = check_config(content)
    stored = experiment.resolved()["data"]
    assert stored["cosmology"] is None and stored["Omega_b"] == experiment.data.Omega_b == known.Planck15.Ob0
    assert check_config(experiment.resolved()).digest() == experiment.digest()
    content["data"]["h"] = 0.7
    with pytest.raises(InputError, match="h = 0.7 and cosmology = Planck15, whose h is 0.6774: give one of them"):
        check_config(content)
    assert pg.Experiment(name="b", domain="cosmology", data=Cosmology(cosmology=known.WMAP9)).data.h == 0.6932


@pytest.mark.parametrize(
    ("cosmology", "message"),
    [
        ("Planck19", "unknown to astropy: choose one of WMAP1"),
        (known.FlatwCDM(**FLAT, w0=-0.9), "w = -0.9 at redshift 0 and -0.9 at 4.*cosmological constant"),
        (known.Flatw0waCDM(**FLAT, w0=-1, wa=0.2), "w = -1 at redshift 0 and -0.84 at 4"),
        (known.FlatLambdaCDM(**FLAT, Tcmb0=2.7, m_nu=[0, 0, 0.1] * u.eV), "neutrinos of 0.1 eV"),
        (known.LambdaCDM(H0=70, Om0=0.3, Ode0=0.6, Ob0=0.05), "only flat universes"),
        (known.FlatLambdaCDM(H0=70, Om0=0.3), "Omega_b is not in this astropy cosmology"),
    ],
)
def test_what_the_simulator_does_not_honour_is_refused(cosmology, message):
    with pytest.raises(InputError, match=message):
        CosmologyParams.from_astropy(cosmology, **MORE)


def test_lengths_with_little_h_and_without():
    data = Cosmology(box_size=256 * u.Mpc / littleh, thickness=32e3 * u.kpc / littleh, h=0.5)
    assert (data.box_size, data.thickness) == (256, 32)
    assert Cosmology(box_size=256 * u.Mpc, thickness=64 * u.Mpc, h=0.5).box_size == 128


def test_an_ensemble_gives_its_cosmology_back():
    labels = {"Omega_m": np.array([0.3, 0.3, 0.2]), "sigma_8": np.array([0.8, 0.8, 0.9])}
    fields = np.zeros((3, 4, 4)) + [-0.5, 0.5, -0.5, 0.5]
    ensemble = make_ensemble(fields, "delta", 25.0, labels, np.arange(3), {"h": 0.7, "Omega_b": 0.05, "n_s": 0.96})
    first = cosmology_of(ensemble, sample=0)
    assert CosmologyParams.from_astropy(first) == CosmologyParams(0.3, 0.8, 0.05, 0.7, 0.96)
    assert CosmologyParams.from_astropy(cosmology_of(ensemble.isel(sample=[0, 1]))).sigma_8 == 0.8
    with pytest.raises(InputError, match="several cosmologies .Omega_m from 0.2 to 0.3.: choose one"):
        cosmology_of(ensemble)
    dark = ensemble.assign(w=("sample", [-0.9, -1, -1]), M_nu=("sample", [0.0, 0.3, 0.0]))
    assert cosmology_of(dark, 0).w0 == -0.9 and type(cosmology_of(dark, 2)).__name__ == "FlatLambdaCDM"
    # all matter is Omega_m: astropy's own density of massive neutrinos, within its approximation of 1e-3
    heavy = cosmology_of(dark, 1)
    light = heavy.Onu0 + heavy.Om0
    assert light == pytest.approx(0.3, abs=1e-3 * 0.3)
    with pytest.raises(InputError, match="says no h"):
        cosmology_of(ensemble.drop_attrs(deep=False), 0)
