"""A correction of spectra from the configuration, the command line and Python: it acts alike on both ensembles."""

import numpy as np
import pytest
import xarray as xr

import physgen as pg
from physgen.cli.__main__ import main
from physgen.config import JudgingConfig
from physgen.diagnostics import Correction
from physgen.domains.contract import Domain, get_domain
from physgen.ensemble import save_ensemble
from physgen.errors import InputError
from physgen.stages import evaluate_ensembles

pytestmark = pytest.mark.usefixtures("blank_figures")

CELLS = 16


class Two(get_domain("cosmology")):
    """Two diagnostics of the domain: one that takes a correction and one that does not."""

    def diagnostics(self):
        found = super().diagnostics()
        return {name: found[name] for name in ("power_spectrum", "one_point")}


@pytest.fixture(scope="module")
def pair():
    """Two ensembles of maps that say how they were painted."""

    def make(seed):
        fields = np.random.default_rng(seed).gamma(4.0, 0.25, (24, CELLS, CELLS)).astype(np.float32) - 1
        coords = {d: (d, np.arange(CELLS) + 0.5, {"units": "Mpc/h"}) for d in "yx"}
        attrs = {"domain": "cosmology", "field_kind": "delta", "mass_assignment": "CIC of the particles"}
        return xr.Dataset({"field": (("sample", "y", "x"), fields)}, coords, attrs)

    return make(0), make(1)


def judged(pair, **rules):
    return evaluate_ensembles(*pair, domain=Two(), judging=JudgingConfig(**rules))


def test_a_correction_acts_on_both_and_cancels_in_their_ratio(pair):
    """Divided windows leave the ratio of two fields alone but for the weight of modes; the values say what was done."""
    plain, divided = judged(pair), judged(pair, deconvolve="window", mass_assignment="CIC")
    before, after = (e.results["power_spectrum"] for e in (plain, divided))
    for mine, theirs in zip(before[:2], after[:2], strict=True):
        gain = (theirs["value"] / mine["value"]).values
        assert np.all(np.diff(gain) > 0) and gain[0] > 1 and gain[-1] > 2
        assert theirs.attrs["deconvolve"] == "window" and "modes are divided by the window of CIC" in theirs.convention
        assert "deconvolve" not in mine.attrs and "no window divided out" in mine.attrs["convention"]
    np.testing.assert_allclose(after[2]["ratio"], before[2]["ratio"], atol=0.1)
    assert plain.summary["one_point"] == divided.summary["one_point"]
    aliased = judged(pair, deconvolve="aliased").results["power_spectrum"]
    assert float(aliased[0]["value"][-1]) != float(after[0]["value"][-1])
    noisy = judged(pair, shot_noise=0.05).results["power_spectrum"]
    assert float((before[0]["value"] - noisy[0]["value"])[0]) == pytest.approx(0.05, rel=0.05)


def test_a_correction_that_cannot_act_is_refused(pair):
    with pytest.raises(InputError, match="mass_assignment = TSC, but the field states CIC"):
        judged(pair, deconvolve="window", mass_assignment="TSC")
    done = pg.diagnostics.deconvolved(pair[0])
    with pytest.raises(InputError, match="differs"):
        judged((pair[0], done))
    with pytest.raises(InputError, match="divided out already"):
        judged((done, done), deconvolve="window")
    with pytest.raises(InputError, match="needs the root attribute number_density"):
        judged(pair, shot_noise="poisson")
    only = type("Only", (Two,), {"diagnostics": lambda self: {"one_point": Domain.diagnostics(self)["one_point"]}})
    with pytest.raises(InputError, match="no diagnostic of this physics takes them"):
        evaluate_ensembles(*pair, domain=only(), judging=JudgingConfig(deconvolve="window"))
    for wrong in ({"mass_assignment": "CIC"}, {"shot_noise": -1.0}, {"deconvolve": "yes"}):
        with pytest.raises(ValueError, match="has no effect alone|positive level|window"):
            JudgingConfig(**wrong)


def test_the_command_line_and_python_take_it(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("physgen.report.evaluation.Evaluation.write", lambda self, *rest, **more: self)
    seen = []
    monkeypatch.setattr("physgen.stages.evaluation.corrected", lambda d, c: seen.append(c) or {})
    paths = [str(save_ensemble(e, tmp_path / f"{i}.h5")) for i, e in enumerate(pair)]
    words = ["evaluate", paths[0], "--reference", paths[1]]
    for given, expected in (
        (["deconvolve=window", "mass_assignment=CIC"], Correction("window", "CIC")),
        (["shot_noise=0.5"], Correction(shot_noise=0.5)),
    ):
        assert main([*words, "--correct", *given]) == 0 and seen.pop() == expected
    assert main(words) == 0 and not seen.pop().acts
    for given, why in (("window=CIC", "unknown"), ("mass_assignment=CIC", "takes nothing off"), ("deconvolve=x", "x")):
        assert main([*words, "--correct", given]) == 2 and why in capsys.readouterr().err
    pg.evaluate(*pair, correction=Correction("aliased"))
    assert seen.pop() == Correction("aliased")
