"""What figures show: the numbers that were given, under the names and units of their attrs. No pixels."""

import subprocess
import sys
import warnings

import matplotlib.figure
import numpy as np
import pytest
import xarray as xr

from physgen import figures
from physgen.diagnostics.comparison import compare_results
from physgen.diagnostics.memorization import memorization_test
from physgen.diagnostics.nearest import Nearest
from physgen.diagnostics.result import make_result
from physgen.ensemble import unit_attrs
from physgen.figures.style import STYLE, condition_title
from physgen.figures.sweep import times_against_n

NYQUIST = 6.0
TEMPERATURES = np.array([0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
TEMPERATURE = ("temperature", TEMPERATURES, {"long_name": "temperature", "symbol": "T", "units": "J"})


def spectrum(seed=0, bias=1.0, units=16):
    rng = np.random.default_rng(seed)
    k = np.geomspace(0.25, 8, 12)
    per_unit = bias * 10 * k**-2 * np.exp(0.1 * rng.normal(size=(units, len(k))))
    attrs = {"long_name": "wavenumber", "symbol": "k", "units": "h/Mpc", "scale": "log"}
    described = {"long_name": "power spectrum", "symbol": "P(k)", "units": "(Mpc/h)^2", "unit": "simulation"}
    kind = {"diagnostic": "power_spectrum", "kind": "spectrum", "nyquist": NYQUIST}
    return make_result(per_unit, ("k",), {"k": (k, attrs)}, np.arange(units), **described, **kind)


def overlap(seed=0, shift=0.0, units=10):
    rng = np.random.default_rng(seed)
    q = np.linspace(-1, 1, 11)
    centre = 0.8 - 0.25 * TEMPERATURES[:, None] + shift + 0.02 * rng.normal(size=(units, 1, 1))
    weight = np.exp(-0.5 * ((np.abs(q) - centre) / 0.15) ** 2)
    weight /= weight.sum(axis=-1, keepdims=True)
    coords = {"temperature": TEMPERATURE, "q": (q, {"long_name": "overlap", "symbol": "q", "units": "1"})}
    described = {"long_name": "probability", "symbol": "P(q)", "units": "1", "measure": "probability"}
    kind = {"diagnostic": "overlap", "kind": "histogram", "unit": "disorder"}
    return make_result(weight, ("temperature", "q"), coords, np.arange(units), **described, **kind)


def energy(seed=0, units=10):
    per_unit = -1.4 + 0.3 * TEMPERATURES + 0.05 * np.random.default_rng(seed).normal(size=(units, len(TEMPERATURES)))
    described = {"long_name": "energy per spin", "symbol": "e", "units": "J", "diagnostic": "energy", "kind": "scalar"}
    return make_result(per_unit, ("temperature",), {"temperature": TEMPERATURE}, np.arange(units), **described)


def compared(make, **change):
    reference, generated = make(0), make(1, **change)
    return reference, generated, compare_results(reference, generated, make(2, units=6), make(3, units=6))


def points(axes):
    """(x, y, half-length of the error bars) of the last set of points with error bars."""
    container = axes.containers[-1]
    x, y = container.lines[0].get_data()
    bars = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()]) if container.has_yerr else None
    return x, y, None if bars is None else np.diff(bars, axis=1)[:, 0] / 2


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def test_a_spectrum_shows_values_errors_ratio_and_pull_as_given():
    reference, generated, comparison = compared(spectrum)
    figure = figures.curve_comparison(reference, generated, comparison)
    main, ratio, pull = figure.axes
    k, drawn, bars = points(main)
    np.testing.assert_allclose(k, reference["k"])
    np.testing.assert_allclose(drawn, generated["value"])
    np.testing.assert_allclose(bars, generated["error"])
    np.testing.assert_allclose(main.lines[0].get_ydata(), reference["value"])
    np.testing.assert_allclose(points(ratio)[1], comparison["ratio"])
    np.testing.assert_allclose(points(ratio)[2], comparison["ratio_error"])
    np.testing.assert_allclose(points(pull)[1], comparison["z"])
    assert (main.get_xscale(), main.get_yscale()) == ("log", "log")
    for axes in figure.axes:
        assert any(np.allclose(line.get_xdata(), NYQUIST) for line in axes.lines), "no line at the Nyquist wavenumber"


def test_the_reference_band_is_its_standard_error():
    reference, generated, comparison = compared(spectrum)
    band = figures.curve_comparison(reference, generated, comparison).axes[0].collections[0]
    corners = np.unique(np.round(band.get_paths()[0].vertices, 12), axis=0)
    columns = (reference[name].values for name in ("k", "value", "error"))
    for k, value, error in zip(*columns, strict=True):
        edges = corners[np.isclose(corners[:, 0], k), 1]
        np.testing.assert_allclose([edges.min(), edges.max()], [value - error, value + error], rtol=1e-6)


def test_labels_and_units_come_from_attrs():
    figure = figures.curve_comparison(*compared(spectrum))
    assert figure.axes[0].get_ylabel() == r"power spectrum $P(k)$ [$(\mathrm{Mpc}/h)^{2}$]"
    assert figure.axes[-1].get_xlabel() == r"wavenumber $k$ [$h/\mathrm{Mpc}$]"
    assert figure.axes[0].get_xlabel() == ""
    bare = xr.DataArray([1.0], dims="lag_time", name="lag_time")
    assert figures.label(bare) == "lag time"
    assert figures.label(bare.rename("Omega_m").assign_attrs(units="1")) == r"Omega m $\Omega_{m}$"


def test_a_long_name_gives_way_to_its_symbol_on_the_ordinate():
    name = "modulus of the magnetization per spin, averaged over replicas"
    reference, generated, comparison = compared(energy)
    reference["value"].attrs |= {"long_name": name, "symbol": "|m|", "units": "1"}
    assert figures.curve_comparison(reference, generated, comparison).axes[0].get_ylabel() == "$|m|$"
    del reference["value"].attrs["symbol"]
    assert "\n" in figures.curve_comparison(reference, generated, comparison).axes[0].get_ylabel()


def test_a_kept_dim_gives_a_row_of_panels_with_both_ends():
    reference, generated, comparison = compared(overlap)
    figure = figures.curve_comparison(reference, generated, comparison, most=3)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 3
    assert titles[0] == "$T$ = 0.5 $J$" and titles[-1] == "$T$ = 3 $J$"
    for axes, i in ((figure.axes[0], 0), (figure.axes[2], len(TEMPERATURES) - 1)):
        np.testing.assert_allclose(points(axes)[1], generated["value"][i])


def test_a_histogram_states_its_distance_with_error_and_floor():
    reference, generated, comparison = compared(overlap, shift=0.1)
    figure = figures.curve_comparison(reference, generated, comparison)
    written = [text for text in texts(figure) if text.startswith("TV")]
    assert len(written) == 4
    first = comparison.isel(temperature=0)
    assert f"{float(first['distance_tv']):.2f}" in written[0]
    assert "(" in written[0] and "floor" in written[0]


def test_scalars_over_temperature_are_points_with_errors():
    reference, generated, comparison = compared(energy)
    main = figures.curve_comparison(reference, generated, comparison).axes[0]
    x, y, bars = points(main)
    np.testing.assert_allclose(y, generated["value"])
    np.testing.assert_allclose(bars, generated["error"])
    assert np.abs(x - TEMPERATURES).max() < 0.02 * np.ptp(TEMPERATURES)


def test_a_point_beyond_the_panel_is_marked_at_its_edge_and_never_lost():
    reference, generated, comparison = compared(spectrum, bias=3.0)
    ratio, pull = figures.curve_comparison(reference, generated, comparison).axes[1:]
    for axes, shown in ((ratio, comparison["ratio"]), (pull, comparison["z"])):
        low, high = axes.get_ylim()
        outside = int(((shown.values > high) | (shown.values < low)).sum())
        arrows = [line for line in axes.lines if line.get_marker() in ("^", "v")]
        marked = sum(len(line.get_xdata()) for line in arrows)
        assert outside > 0 and marked >= outside
        assert all(low < y < high for line in arrows for y in line.get_ydata())


def test_a_bare_number_and_a_list_of_named_numbers_can_be_drawn():
    rng = np.random.default_rng(0)
    attrs = {"diagnostic": "skewness", "kind": "scalar", "long_name": "skewness", "units": "1"}
    one, other = (make_result(rng.normal(size=20), (), {}, **attrs) for _ in range(2))
    figure = figures.curve_comparison(one, other, compare_results(one, other))
    assert points(figure.axes[0])[1] == pytest.approx(float(other["value"]))
    names = {"moment": (np.arange(2), {"flag_meanings": "mean variance", "units": "1"})}
    one, other = (make_result(rng.normal(size=(20, 2)), ("moment",), names, **attrs) for _ in range(2))
    figure = figures.curve_comparison(one, other, compare_results(one, other))
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["mean", "variance"]


def test_memorization_shows_generated_beside_held_out():
    rng = np.random.default_rng(0)
    index, never = np.zeros((200, 2), int), np.zeros(200, bool)
    near, close = rng.normal(0.3, 0.05, (200, 2)), np.full((200, 2), 0.9)
    ordinary = Nearest(near, index, rng.uniform(0.8, 1, 200), never, 50)
    copies = Nearest(close, index, np.full(200, 0.1), never, 50)
    found = memorization_test(copies, ordinary)
    left, right = figures.memorization_panel(found).axes
    curves = {line.get_label(): line.get_ydata() for line in left.lines}
    np.testing.assert_allclose(curves["generated"], found["value"])
    np.testing.assert_allclose(curves["held-out data"], found["heldout"])
    assert left.get_xlabel() == "similarity to the nearest training configuration"
    assert "AUC = 1.00" in left.texts[0].get_text()
    heights = right.patches[-1].get_data().values
    assert heights.sum() == pytest.approx(1.0) and heights[:5].sum() == pytest.approx(1.0)


NUMBERS = {  # of a distance, its floor and their errors
    "tiny": (6.4e-10, 2e-11), "huge": (3.2e12, 4e10), "negative": (-2.5e-8, 3e-9), "zero": (0.0, 0.0),
    "unknown": (np.nan, np.nan),
}  # fmt: skip


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("kind", NUMBERS)
def test_every_number_has_its_glyphs(kind):
    """matplotlib warns where the font of a figure lacks a character, such as a raised digit."""
    value, error = NUMBERS[kind]
    shown = {"distance_tv": value, "distance_tv_floor": value}
    shown |= {f"{name}_error": error for name in shown}
    one, other, comparison = compared(overlap, shift=0.1)
    comparison = comparison.assign({name: xr.full_like(comparison[name], number) for name, number in shown.items()})
    rng = np.random.default_rng(0)
    gaps, never = rng.uniform(0.8, 1, 20), np.zeros(20, bool)
    near = Nearest(rng.normal(0.3, 0.05, (20, 2)), np.zeros((20, 2), int), gaps, never, 50)
    found = memorization_test(near, near).assign(auc=value, auc_error=error)
    scaled = [result.assign(value=result["value"] * (value or 1.0)) for result in (one, other)]
    drawn = [figures.curve_comparison(one, other, comparison), figures.memorization_panel(found)]
    drawn += [figures.curve_overlay(one, {"new": other}, {"new": comparison})]
    if np.isfinite(value):
        drawn += [figures.curve_comparison(*scaled, comparison)]
    for figure in drawn:
        figure.set_layout_engine("none")  # which would lay out every text once more for its place
        figure.draw_without_rendering()  # every text, once


def test_a_missing_glyph_is_seen_without_rendering():
    with pytest.warns(UserWarning, match="Glyph 19968"):
        figure = matplotlib.figure.Figure()
        figure.subplots().set_title(chr(19968))
        figure.draw_without_rendering()


# --- stamps ---------------------------------------------------------------------------------------


OVERDENSITY = {"long_name": "overdensity", "symbol": r"\delta", "display_offset": 1.0}


def fields(seed=0, size=16, depth=None, order=None):
    rng = np.random.default_rng(seed)
    shape = (6, *([depth] if depth else []), size, size)
    simulation = np.array([0, 0, 1, 1, 2, 2]) if order is None else np.asarray(order)
    dims = ("sample", *(["z"] if depth else []), "y", "x")
    attrs = {"units": "Mpc/h", "long_name": "position"}
    return xr.Dataset(
        {
            "field": (dims, np.exp(rng.normal(size=shape)) - 1, OVERDENSITY),
            "simulation": ("sample", simulation),
            "Omega_m": ("sample", 0.1 + 0.1 * simulation, {"symbol": r"\Omega_m", "units": "1"}),
        },
        coords={d: (d, (np.arange(n) + 0.5) * 25.0 / size, attrs) for d, n in zip(dims[1:], shape[1:], strict=True)},
        attrs={"independent_unit": "simulation"},
    )


UNITS = unit_attrs("disorder", exchangeable=["replica"], within=["chain", "replica"])


def lattice(seed=0, length=8):
    spins = np.random.default_rng(seed).choice([-1, 1], size=(3, len(TEMPERATURES), 2, length, length)).astype("i1")
    attrs = {"units": "lattice spacing"}
    coords = {"disorder": [4, 7, 9], "temperature": TEMPERATURE, "replica": [0, 1]}
    coords |= {d: (d, np.arange(length), attrs) for d in ("y", "x")}
    described = {"long_name": "spin", "units": "1"}
    bonds = np.random.default_rng(99).standard_normal((3, 2, length, length))  # what makes an instance the same
    couplings = (("disorder", "direction", "y", "x"), bonds)
    field = (("disorder", "temperature", "replica", "y", "x"), spins, described)
    return xr.Dataset({"field": field, "couplings": couplings}, coords=coords, attrs=UNITS)


def stamps(figure):
    """Images of the upper and of the lower row."""
    images = [axes.images[0] for axes in figure.axes if axes.images and len(axes.images[0].get_array().shape) == 2]
    images = [image for image in images if image.axes.get_ylabel() or not image.axes.yaxis.get_major_ticks()]
    return images[: len(images) // 2], images[len(images) // 2 :]


def test_each_column_holds_one_condition_and_all_share_one_colour_scale():
    reference, generated = fields(0), fields(1, order=[2, 1, 0, 2, 1, 0])
    figure = figures.gallery(reference, generated, count=3)
    upper, lower = stamps(figure)
    assert len(upper) == len(lower) == 3
    for column, (left, right) in enumerate(zip(upper, lower, strict=True)):
        first = int(np.argmax(generated["simulation"].values == column))
        np.testing.assert_allclose(left.get_array(), 1 + reference["field"].values[2 * column])
        np.testing.assert_allclose(right.get_array(), 1 + generated["field"].values[first])
        assert left.axes.get_title() == rf"$\Omega_m$ = {0.1 + 0.1 * column:.3g}"
    assert len({image.norm.vmin for image in upper + lower} | {image.norm.vmax for image in upper + lower}) == 2
    assert type(upper[0].norm).__name__ == "LogNorm"


def test_a_field_with_a_period_gets_a_cyclic_scale():
    reference, generated = fields(0), fields(1)
    reference["field"].attrs["period"] = 6.0
    upper, _ = stamps(figures.gallery(reference, generated, count=3))
    assert (upper[0].norm.vmin, upper[0].norm.vmax, upper[0].cmap.name) == (-3, 3, "twilight")


def test_the_scale_bar_has_its_length_in_the_units_of_the_coordinates():
    figure = figures.gallery(fields(0), fields(1), count=3)
    assert r"5 $\mathrm{Mpc}/h$" in texts(figure)
    axes = stamps(figure)[1][0].axes
    pixels = np.ptp(axes.lines[0].get_xdata())
    assert pixels * 25.0 / 16 == pytest.approx(5.0)


def test_spins_are_drawn_in_two_tones_under_their_temperature():
    figure = figures.gallery(lattice(0), lattice(1), count=3)
    upper, lower = stamps(figure)
    assert all(set(np.unique(image.get_array())) <= {-1, 1} for image in upper + lower)
    assert upper[0].cmap.N == 2
    assert upper[0].axes.get_title() == "disorder = 4\n$T$ = 0.5 $J$"
    assert upper[-1].axes.get_title() == "disorder = 9\n$T$ = 3 $J$"
    np.testing.assert_array_equal(lower[-1].get_array(), lattice(1)["field"].values[-1, -1, -1])
    assert "2 lattice spacings" in texts(figure)


def test_a_few_whole_numbers_get_a_colour_each():
    """States 0, 1, 2, mostly 0: no scale of magnitudes."""
    states = lattice(0), lattice(1)
    for seed, one in enumerate(states):
        drawn = np.random.default_rng(seed).choice(3, p=[0.8, 0.15, 0.05], size=one["field"].shape).astype("i1")
        one["field"] = (one["field"].dims, drawn, {"long_name": "state", "units": "1"})
    figure = figures.gallery(*states, count=3)
    assert [label.get_text() for label in figure.axes[-1].get_yticklabels()] == ["0", "1", "2"]
    upper, lower = stamps(figure)
    for image in upper + lower:
        assert type(image.norm).__name__ == "Normalize" and image.cmap.N == 3
        assert (image.norm.vmin, image.norm.vmax) == (-0.5, 2.5)


def test_a_box_shows_its_central_slice():
    reference = fields(0, depth=5)
    upper, _ = stamps(figures.gallery(reference, fields(1, depth=5), count=3))
    np.testing.assert_allclose(upper[0].get_array(), 1 + reference["field"].values[0, 2])


# --- losses and files -------------------------------------------------------------------------------


def test_losses_are_drawn_where_they_were_recorded():
    records = [{"step": i, "metrics": {"train/loss": 1 / i}} for i in range(1, 9)]
    records += [{"step": 8, "metrics": {"validation/loss": 0.2}}, {"event": "params", "params": {}}]
    axes = figures.loss_curves(records, ["train/loss", "validation/loss"]).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata()[:, 1], [1 / i for i in range(1, 9)])
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["train/loss", "validation/loss"]


def test_the_upper_axis_is_the_ornstein_uhlenbeck_clock():
    s = np.geomspace(0.01, 100, 9)
    figure = figures.loss_by_noise_level(s, {"held out": np.ones((9, 2))}, level=1.0)
    clock = figure.axes[0].child_axes[0]
    figure.draw_without_rendering()
    ticks = dict(zip([t.get_text() for t in clock.get_xticklabels()], clock.get_xticks(), strict=True))
    assert ticks["1"] == 1 and ticks["$10^{-2}$"] == 0.01
    for t_ou in ticks.values():  # each tick stands over the noise level that it names
        place = clock.transData.transform((t_ou, 0))[0]
        assert place == pytest.approx(figure.axes[0].transData.transform((np.sqrt(np.expm1(2 * t_ou)), 1))[0], abs=0.01)


def test_figures_are_written_as_png_and_svg_the_same_each_time(tmp_path):
    for folder in ("a", "b"):
        figure = figures.curve_comparison(*compared(energy))
        png, svg = figures.save_figure(figure, tmp_path / folder, "energy")
        assert png.read_bytes().startswith(b"\x89PNG") and b"<svg" in svg.read_bytes()
    assert (tmp_path / "a" / "energy.svg").read_bytes() == (tmp_path / "b" / "energy.svg").read_bytes()


@pytest.mark.parametrize("make", [spectrum, overlap, energy])
def test_a_figure_is_saved_with_the_bytes_of_a_layout_at_each_saving(make, tmp_path):
    """The layout is made once and ticks are remembered: the file is that of matplotlib's plain savefig."""
    png, svg = figures.save_figure(figures.curve_comparison(*compared(make)), tmp_path, "once")
    plain = figures.curve_comparison(*compared(make))
    with matplotlib.rc_context(STYLE):
        plain.savefig(tmp_path / "plain.png", dpi=200)
        plain.set_layout_engine("none")
        plain.savefig(tmp_path / "plain.svg", dpi=200, metadata={"Date": None})
    assert png.read_bytes() == (tmp_path / "plain.png").read_bytes()
    assert svg.read_bytes() == (tmp_path / "plain.svg").read_bytes()


def test_a_saved_figure_can_be_changed_and_saved_again(tmp_path):
    """Nothing of the first saving is kept: other ticks in the same view are drawn."""
    figure = figures.curve_comparison(*compared(energy))
    first = figures.save_figure(figure, tmp_path, "first")[1].read_bytes()
    figure.axes[0].set_yticks([-1.0, -0.9])
    assert figures.save_figure(figure, tmp_path, "second")[1].read_bytes() != first
    assert not any("_update_ticks" in vars(axes.yaxis) for axes in figure.axes)


def test_figures_never_touch_pyplot_or_the_global_style():
    # dict.__getitem__, as rcParams["backend"] would resolve the backend and import pyplot
    code = (
        "import matplotlib, sys\n"
        "def style(): return {k: dict.__getitem__(matplotlib.rcParams, k) for k in matplotlib.rcParams.keys()}\n"
        "before = style()\n"
        "from physgen import figures; figures.loss_curves([{'step': 1, 'metrics': {'train/loss': 1.0}}])\n"
        "assert 'matplotlib.pyplot' not in sys.modules and style() == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_times_of_a_single_n_are_drawn_without_a_warning(tmp_path):
    """One size has no range on a logarithmic axis of its own; matplotlib would divide by zero."""
    single = {"n": [32.0], "tau_mem": [244.0], "tau_mem_error": [13.0], "tau_gen": [320.0], "tau_gen_error": [np.nan]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        figure = times_against_n({"": xr.Dataset({name: ("run", value) for name, value in single.items()})})
        figure.savefig(tmp_path / "times.png")
    low, high = figure.axes[0].get_xlim()
    assert low < 32 < high


def test_matrices_hold_the_reference_below_and_the_generated_above_the_diagonal():
    k = np.array([0.1, 0.2, 0.4])
    first, second = np.triu_indices(3, 1)
    results = []
    for seed in range(2):
        per_unit = np.random.default_rng(seed).normal(0.3, 0.1, (12, 3))
        said = {"diagnostic": "power_covariance", "kind": "scalar", "matrix": "k_low k_high", "symbol": r"\rho"}
        one = make_result(per_unit, ("pair",), {"pair": np.arange(3)}, np.arange(12), **said)
        described = {"long_name": "wavenumber", "symbol": "k", "units": "h/Mpc"}
        results.append(one.assign(k_low=("pair", k[first], described), k_high=("pair", k[second], described)))
    comparison = compare_results(*results)
    figure = figures.result_figure(*results, comparison)
    both, pull = figure.axes[0].images[0].get_array(), figure.axes[2].images[0].get_array()
    np.testing.assert_allclose(both[second, first], results[0]["value"])
    np.testing.assert_allclose(both[first, second], results[1]["value"])
    np.testing.assert_allclose(np.asarray(pull)[first, second], comparison["z"])
    assert figure.axes[0].get_xlabel() == r"wavenumber $k$ [$h/\mathrm{Mpc}$]"


def test_pairs_stand_beside_their_difference():
    field = np.random.default_rng(0).normal(size=(2, 2, 2, 6, 6))
    said = {"long_name": "map", "units": "1"}
    pairs = xr.Dataset(
        {
            "pair_field": (("kind", "pair", "side", "y", "x"), field, said),
            "pair_similarity": (("kind", "pair"), np.full((2, 2), 0.4)),
        },
        {"kind": ["generated", "held-out"]},
    )
    figure = figures.nearest_pairs(pairs)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 12
    np.testing.assert_allclose(shown[2], shown[0] - shown[1])
    assert texts(figure).count("0.400") == 4


def test_the_band_of_single_configurations_is_drawn_where_it_is_known():
    reference, generated, comparison = compared(spectrum)
    low, high = 0.8 * reference["value"], 1.3 * reference["value"]
    known = [one.assign(sample_low=low, sample_high=high) for one in (reference, generated)]
    main = figures.curve_comparison(*known, comparison).axes[0]
    edges = main.collections[1].get_paths()[0].vertices[:, 1]
    assert np.isin(np.round(low.values, 9), np.round(edges, 9)).all()
    assert np.isin(np.round(high.values, 9), np.round(edges, 9)).all()
    assert any("16" in word and "84" in word for word in (t.get_text() for t in main.get_legend().get_texts()))


def test_a_word_is_its_own_title_and_a_greek_one_its_letter():
    result = xr.Dataset(coords={"label": ["sigma_8", "tilt_angle"]})
    assert condition_title(result, {"label": 0}) == r"$\sigma_{8}$"
    assert condition_title(result, {"label": 1}) == "tilt angle"
