"""physgen combine: files of costly units and surrogates, matched by their starts; numbers, page and refusals."""

import json

import numpy as np
import pytest
import xarray as xr

import physgen as pg
from physgen.cli import main
from physgen.errors import InputError

CELLS, PAIRS, MORE = 8, 8, 120


def maps(values, starts, seconds=None):
    found = pg.from_array(values, box_size="8 mm")
    found["start"] = ("sample", starts, {"role": "pairing"})
    cost = {} if seconds is None else {"draw_seconds": seconds * len(values)}
    return found.assign_attrs(cost)


@pytest.fixture(scope="module")
def numbers():
    """White maps c of 128 starts and x = 1.2 c + 0.2 e, whose power is 1.48 a cell."""
    rng = np.random.default_rng(7)
    c = rng.standard_normal((PAIRS + MORE, CELLS, CELLS))
    x = 1.2 * c + 0.2 * rng.standard_normal(c.shape)
    starts = rng.permutation(10**6)[: len(c)]
    return x, c, starts


def test_files_become_numbers_a_page_and_figures(numbers, tmp_path, capsys):
    x, c, starts = numbers
    order = np.random.default_rng(8).permutation(len(c))  # matched by start, not by position
    costly = pg.save_ensemble(maps(x[:PAIRS], starts[:PAIRS], 50.0), tmp_path / "costly.h5")
    cheap = pg.save_ensemble(maps(c[order], starts[order], 1.0), tmp_path / "cheap.h5")
    reference = pg.save_ensemble(maps(x[4:], starts[4:]), tmp_path / "reference.h5")
    assert main(["combine", str(costly), str(cheap), "--reference", str(reference)]) == 0
    assert "at equal cost" in capsys.readouterr().out
    folder = tmp_path / "costly-combined"
    summary = json.loads((folder / "summary.json").read_text())
    found = xr.open_dataset(folder / "combined.nc", group="power_spectrum", engine="h5netcdf").load()
    assert found.attrs["n_pairs"] == PAIRS and found.attrs["n_cheap"] == MORE and found.attrs["is_average"] == 1
    assert found.attrs["n_reference"] == len(x) - PAIRS  # the starts of the pairs are left out
    assert found.attrs["bias_p_value"] > 1e-3 and found.attrs["covariance_bias_p_value"] > 1e-3
    assert (np.abs(found["value"] - 1.48) < 5 * found["error"]).all()
    assert (found["error"] < found["plain_error"]).all()
    equal = PAIRS + (PAIRS + MORE) / 50
    gain = summary["power_spectrum"]["gain"]["value"]
    assert summary["power_spectrum"]["gain_at_equal_cost"]["value"] == pytest.approx(gain * PAIRS / equal)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 1 and "need\nnot be positive definite" in page


def test_a_diagnostic_that_is_no_average_is_said_to_be_none(numbers):
    """Bins that follow the scatter of all samples: what one unit gives depends on the others."""
    x, c, starts = numbers
    found = pg.combine(
        maps(x[:PAIRS], starts[:PAIRS]), maps(c, starts), statistics=["band_moments", "one_point"], price=50.0
    )
    assert {name: one.attrs["is_average"] for name, one in found.results.items()} == {"band_moments": 1, "one_point": 0}
    assert [note for note in found.all_notes if "not exactly unbiased" in note and note.startswith("one point")]
    assert "band moments" in repr(found) and found.values["band_moments"]["gain"].is_known


def test_logarithms_are_combined_when_asked(numbers, tmp_path):
    x, c, starts = numbers
    costly, cheap = maps(x[:PAIRS], starts[:PAIRS]), maps(c, starts)
    found = pg.combine(costly, cheap, reference=maps(x, starts), logarithm=True, price=50.0)
    result, one = found.results["power_spectrum"], pg.power_spectrum(maps(x, starts))
    rows = np.log(one["per_unit"].transpose("unit", "k").values)
    error = np.hypot(result["error"], rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))
    assert (np.abs(result["value"] - rows.mean(axis=0)) < 5 * error).all()
    np.testing.assert_allclose(result["ratio"], np.exp(result["value"] - result["reference"]))
    # an error of ln P is relative already
    median = found.values["power_spectrum"]["error"].value
    assert median == pytest.approx(float(np.median(result["error"]))) and "ln power spectrum" in repr(found)
    with pytest.raises(InputError, match="not positive: combine it without the logarithm"):
        pg.combine(costly, cheap, statistics=["band_moments"], logarithm=True)


def test_what_cannot_be_combined_is_refused(numbers):
    x, c, starts = numbers
    costly, cheap = maps(x[:PAIRS], starts[:PAIRS]), maps(c, starts)
    with pytest.raises(InputError, match="1 of 8 costly units have no surrogate"):
        pg.combine(costly, cheap.isel(sample=slice(1, None)))
    with pytest.raises(InputError, match="0 surrogates have other random starts"):
        pg.combine(costly, cheap.isel(sample=slice(PAIRS)))
    with pytest.raises(InputError, match="does not say from which random starts"):
        pg.combine(costly.drop_vars("start"), cheap)
    with pytest.raises(InputError, match="no diagnostic here"):
        pg.combine(costly, cheap, statistics=["power"])
    levels = ((costly, 1.0), (cheap, 2.0))
    labelled = [one.assign(level=("sample", np.full(one.sizes["sample"], value))) for one, value in levels]
    with pytest.raises(InputError, match="have different labels"):
        pg.combine(*labelled)
