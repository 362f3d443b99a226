"""Power spectra: exact laws, invariances, another code's answer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import powerbox
import pytest
import torch

from physgen.diagnostics import mode_pieces, mode_sums
from physgen.diagnostics.spectrum import cross_spectrum, power_spectrum, power_spectrum_array
from physgen.errors import InputError
from physgen.lattice import bin_edges, wavenumber

BOXES = [((64,), (0.5,)), ((32, 32), (1.0, 1.0)), ((33, 48), (0.4, 0.7)), ((16, 24, 20), (0.6, 0.5, 0.45))]


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_white_noise_has_the_cell_volume_as_power(grid, spacing):
    """Every bin within its mode-counting error: reduced chi-square 1 +- sqrt(2 / bins)."""
    fields = np.random.default_rng(1).standard_normal((50, *grid))
    k, power, modes = power_spectrum_array(fields, spacing)
    volume = np.prod(spacing)
    pull = (power.mean(axis=0) - volume) / (volume / np.sqrt(50 * modes))
    assert abs((pull**2).mean() - 1) < 4 * np.sqrt(2 / len(k))


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_scatter_of_one_field_is_power_over_root_modes(grid, spacing):
    """Holds bin by bin, the half-weighted self-conjugate modes included; a variance of n has error sqrt(2/n)."""
    fields = np.random.default_rng(2).standard_normal((400, *grid))
    _, power, modes = power_spectrum_array(fields, spacing)
    scaled = power.var(axis=0, ddof=1) / (np.prod(spacing) ** 2 / modes)
    kurtosis = 3 / modes  # excess of a mean of exponentials is 6 / modes, real modes add to it
    assert np.all(np.abs(scaled - 1) < 5 * np.sqrt((2 + 4 * kurtosis) / 400))


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_plane_wave_fills_one_bin(grid, spacing):
    """cos(k x) has its variance 1/2 in the modes +-k: P count / V = 1/2 in one bin, nothing elsewhere."""
    x = np.arange(grid[-1]) * spacing[-1]
    length = grid[-1] * spacing[-1]
    field = np.broadcast_to(np.cos(2 * np.pi * 5 * x / length), grid)
    k, power, modes = power_spectrum_array(field.copy(), spacing)
    share = power * 2 * modes / (np.prod(grid) * np.prod(spacing))
    filled = np.argmax(share)
    assert abs(share[filled] - 0.5) < 1e-12 and np.delete(share, filled).max() < 1e-12
    edges = bin_edges(grid, spacing)
    assert edges[filled] * (1 - 1e-9) <= 2 * np.pi * 5 / length < edges[filled + 1]


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_powers_of_all_modes_sum_to_the_variance(grid, spacing):
    """Parseval: sum over all modes but k = 0 of P / V is the variance."""
    field = np.random.default_rng(3).standard_normal(grid)
    corner = np.pi * np.sqrt(sum(1 / a**2 for a in spacing))
    _, power, modes = power_spectrum_array(field, spacing, bins=np.linspace(1e-6, corner * 1.001, 20))
    total = (power * 2 * modes).sum() / (np.prod(grid) * np.prod(spacing))
    assert total == pytest.approx(field.var(), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("grid", "spacing"), BOXES[1:])
def test_equals_powerbox(red_noise, grid, spacing, dtype):
    field = (red_noise(np.random.default_rng(4), 1, grid)[0] * 3 + 1).astype(dtype)
    edges = np.linspace(0.9 * bin_edges(grid, spacing)[0], np.pi / max(spacing), 9)
    lengths = tuple(n * a for n, a in zip(grid, spacing, strict=True))
    theirs = powerbox.get_power(field, lengths, bins=edges, bins_upto_boxlen=True, remove_shotnoise=False)
    k, power, modes = power_spectrum_array(field, spacing, bins=edges)
    np.testing.assert_allclose(power, theirs.power, rtol=1e-5)
    np.testing.assert_allclose(k, theirs.bin_avg, rtol=1e-5)
    np.testing.assert_array_equal(2 * modes, theirs.nsamples)


def test_default_bins_are_half_integers_of_the_fundamental_in_a_cube():
    edges = bin_edges((64, 64), (2.0, 2.0))
    np.testing.assert_allclose(edges / (2 * np.pi / 128), np.arange(0.5, 32), rtol=1e-12)
    k, _, modes = power_spectrum_array(np.zeros((64, 64)), (2.0, 2.0))
    # |n| in [1/2, 3/2): 4 of length 1, 4 of sqrt 2; half of them are independent
    assert modes[0] == 4 and k[0] == pytest.approx(2 * np.pi / 128 * (1 + np.sqrt(2)) / 2)


@pytest.mark.parametrize(("grid", "length"), [((64, 64), 25.0), ((32, 32, 32), 250.0), ((33, 33), 7.0)])
def test_default_bins_equal_powerbox_because_no_mode_lies_on_an_edge(grid, length):
    field = np.random.default_rng(4).standard_normal(grid)
    spacing = tuple(length / n for n in grid)
    edges = bin_edges(grid, spacing)
    theirs = powerbox.get_power(field, length, bins=edges, bins_upto_boxlen=True, remove_shotnoise=False)
    np.testing.assert_allclose(power_spectrum_array(field, spacing)[1], theirs.power, rtol=1e-5)


@pytest.mark.parametrize(("grid", "length"), [((64, 64), 25.0), ((64, 64), 128.0), ((32, 32, 32), 100.0)])
def test_edges_on_modes_are_decided_as_powerbox_does(grid, length):
    """Integers of k_F, the bins of Pylians, lie on modes: both codes compare the same rounded numbers."""
    field = np.random.default_rng(4).standard_normal(grid)
    edges = 2 * np.pi / length * np.arange(1, grid[0] // 2 + 1)
    theirs = powerbox.get_power(field, length, bins=edges, bins_upto_boxlen=True, remove_shotnoise=False)
    found = power_spectrum_array(field, tuple(length / n for n in grid), bins=edges)
    np.testing.assert_allclose(found[1], theirs.power, rtol=1e-5)


def test_shifts_and_lattice_symmetries_leave_it_alone():
    field = np.random.default_rng(5).standard_normal((24, 24))
    reference = power_spectrum_array(field, (1.0, 1.0))[1]
    for moved in (np.roll(field, (3, 7), (0, 1)), np.rot90(field), field[::-1], field.T):
        np.testing.assert_allclose(power_spectrum_array(moved, (1.0, 1.0))[1], reference, rtol=1e-12)


ROADS = {  # how a sum over modes is taken -> what makes it be taken so
    "batches": {"mode_sums.BATCH_CELLS": 600},
    "pieces of one field": {"mode_sums.LARGE": 1, "mode_pieces.SLAB_CELLS": 100, "mode_pieces.BLOCK_MODES": 50},
    "pieces, one block": {"mode_sums.LARGE": 1, "mode_pieces.KEPT_MEAN": 100.0},
    "without numba": {"mode_sums.kernels": lambda: None, "mode_sums.CHUNK_CELLS": 600},
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("grid", "spacing"), [*BOXES, ((24, 17), (1.0, 1.0)), ((7, 9, 11), (1.0, 2.0, 1.5))])
def test_every_road_to_a_spectrum_gives_the_same(monkeypatch, grid, spacing, road):
    one, two = np.random.default_rng(6).standard_normal((2, 3, 2, *grid)) + 5
    auto, cross = (power_spectrum_array(one, spacing, other=other)[1] for other in (None, two))
    assert auto.shape == (3, 2, len(bin_edges(grid, spacing)) - 1)
    mode_pieces._planned.cache_clear()
    for name, value in ROADS[road].items():
        monkeypatch.setattr(f"physgen.diagnostics.{name}", value)
    scale = np.abs(auto).max()
    for kind in (np.asarray, torch.from_numpy):
        np.testing.assert_allclose(power_spectrum_array(kind(one), spacing)[1], auto, rtol=1e-12)
        found = power_spectrum_array(kind(one), spacing, other=kind(two))[1]
        np.testing.assert_allclose(found, cross, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.parametrize("shape", [(40, 128, 128), (129, 130, 128)])
def test_the_number_of_threads_changes_no_bit(shape):
    """Many maps, and one box of more cells than are transformed at once."""
    field = np.random.default_rng(11).standard_normal(shape, dtype=np.float32)
    spacing = (1.0,) * (2 if shape[0] == 40 else 3)
    assert len(spacing) == 2 or field.size > mode_sums.LARGE
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(power_spectrum_array(field, spacing)[1])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("mean", [0.0, 1e3])
@pytest.mark.parametrize(("grid", "spacing"), [((256, 256), (1.0, 1.0)), ((130, 128, 129), (1.0, 1.0, 1.0))])
def test_single_precision_errs_as_stated(grid, spacing, mean):
    """P falls by eight decades: 1e-5 against double, also on a mean of a thousand rms (whose own digits are kept)."""
    k = wavenumber(grid, spacing)
    axes = tuple(range(len(grid)))
    modes = np.fft.rfftn(np.random.default_rng(12).standard_normal(grid), axes=axes) / (1 + (k / k[k > 0].min()) ** 2)
    field = np.fft.irfftn(modes, s=grid, axes=axes)
    single = (field / field.std()).astype(np.float32) + np.float32(mean)
    double = power_spectrum_array(single.astype(float), spacing)[1]
    assert double.max() / double.min() > 1e6
    error = np.abs(power_spectrum_array(single, spacing)[1] / double - 1).max()
    assert 0 < error < 1e-5


@pytest.mark.parametrize(("mean", "kept", "error"), [(0.24, None, 1e-6), (1e3, None, 1e-6), (1e3, 1e9, 1e-2)])
def test_a_mean_is_taken_off_only_where_it_costs_digits(monkeypatch, mean, kept, error):
    """White noise on a mean, in pieces: a quarter of the scatter may stay, a thousand times it costs four digits."""
    monkeypatch.setattr(mode_sums, "LARGE", 1)
    if kept is not None:
        monkeypatch.setattr(mode_pieces, "KEPT_MEAN", kept)
    field = (np.random.default_rng(13).standard_normal((64, 64, 60)) + mean).astype(np.float32)
    found, exact = (power_spectrum_array(f, (1.0, 1.0, 1.0))[1] for f in (field, field.astype(float)))
    worst = np.abs(found / exact - 1).max()
    assert worst < error and (kept is None or worst > 1e-5)


def test_a_box_that_may_not_be_written_is_measured(monkeypatch):
    monkeypatch.setattr(mode_sums, "LARGE", 1)
    field = np.random.default_rng(14).standard_normal((16, 16, 16))
    expected = power_spectrum_array(field.copy(), (1.0, 1.0, 1.0))[1]
    field.flags.writeable = False
    np.testing.assert_array_equal(power_spectrum_array(field, (1.0, 1.0, 1.0))[1], expected)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from the kernel of Linux")
def test_a_box_is_measured_in_three_copies_of_its_field():
    """The field, the half-spectrum and what else a process needs for it: bins, slabs, compiled loops."""
    code = (
        "import re, numpy as np\nfrom pathlib import Path\n"
        "from physgen.diagnostics.spectrum import power_spectrum_array\n"
        "rng = np.random.default_rng(0)\n"
        "for n in (32, 130):\n    power_spectrum_array(rng.random((n, n, n), dtype=np.float32), (1.0,) * 3)\n"
        "field = rng.random((256,) * 3, dtype=np.float32)\n"
        "peak = lambda: 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\npower_spectrum_array(field, (1.0,) * 3)\n"
        "print((peak() - before) / field.nbytes)\n"
    )
    root = Path(mode_sums.__file__).resolve().parents[2]
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    assert 0.6 < float(made.stdout) < 1.5


def test_correlation_coefficient_of_independent_fields_is_zero_within_mode_counting(lattice):
    """r of one pair is 0 +- 1/sqrt(2 modes) (bins of many modes), of identical fields 1, of opposite ones -1."""
    rng = np.random.default_rng(7)
    one, two = rng.standard_normal((2, 300, 24, 24))
    k, cross, modes = power_spectrum_array(one, (1.0, 1.0), other=two)
    autos = [power_spectrum_array(f, (1.0, 1.0))[1] for f in (one, two)]
    r = cross / np.sqrt(autos[0] * autos[1])
    large = modes > 20
    spread = (r**2).mean(axis=0) * 2 * modes
    assert np.all(np.abs(spread[large] - 1) < 4 * np.sqrt(2 / 300) + 2 / modes[large])
    first = lattice(one[:10])
    for factor, expected in ((1.0, 1.0), (-2.0, -1.0)):
        found = cross_spectrum(first, lattice(factor * one[:10]))
        np.testing.assert_allclose(found["correlation"], expected, rtol=1e-12)
        np.testing.assert_allclose(found["transfer"], abs(factor), rtol=1e-12)
    apart = cross_spectrum(first, lattice(two[:10]))
    assert np.all(np.abs(apart["correlation"]) < 5 * apart["correlation_error"])


def test_ensemble_of_any_sample_dims_keeps_conditions_and_averages_replicas(lattice):
    rng = np.random.default_rng(8)
    fields = rng.standard_normal((3, 2, 5, 12, 12))
    ensemble = lattice(fields.reshape(-1, 12, 12)).drop_vars("field")
    ensemble["field"] = (("disorder", "temperature", "replica", "y", "x"), fields)
    ensemble = ensemble.assign_coords(disorder=[4, 2, 9], temperature=[0.5, 1.0]).assign_attrs(
        independent_unit="disorder"
    )
    found = power_spectrum(ensemble)
    assert found["value"].dims == ("temperature", "k") and found["unit"].values.tolist() == [2, 4, 9]
    expected = power_spectrum_array(fields, (1.0, 1.0))[1].mean(axis=2)
    np.testing.assert_allclose(found["per_unit"].sel(unit=9), expected[2], rtol=1e-12)
    np.testing.assert_allclose(found["value"], expected.mean(axis=0), rtol=1e-12)


def test_units_and_components_stand_in_the_result(lattice):
    field = np.random.default_rng(9).standard_normal((4, 12, 12, 12))
    found = power_spectrum(lattice(field, spacing=(2.0, 2.0, 2.0)))
    assert found["value"].attrs["units"] == "(Mpc/h)^3" and found["k"].attrs["units"] == "h/Mpc"
    assert found.attrs["nyquist"] == pytest.approx(np.pi / 2)
    two = lattice(field).expand_dims(component=2, axis=1)
    two["field"] = two["field"] * [[[[[1.0]]], [[[2.0]]]]]
    found = power_spectrum(two)
    np.testing.assert_allclose(found["value"].sel(component=1), 4 * found["value"].sel(component=0), rtol=1e-12)


def test_a_transform_is_applied_first_and_names_the_result(lattice, red_noise):
    field = np.exp(red_noise(np.random.default_rng(10), 6))
    found, direct = power_spectrum(lattice(field), transform=np.log), power_spectrum(lattice(np.log(field)))
    np.testing.assert_array_equal(found["value"], direct["value"])
    assert found.attrs["diagnostic"] == "power_spectrum_log" and "log" in found["value"].attrs["long_name"]


@pytest.mark.parametrize("edges", [[1.0], [1.0, 0.5, 2.0], [[1.0, 2.0]]])
def test_bad_edges_are_refused(edges):
    with pytest.raises(InputError, match="increasing"):
        power_spectrum_array(np.zeros((8, 8)), (1.0, 1.0), bins=edges)
