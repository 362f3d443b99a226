"""Histograms beside densities, paths, planes, and measured points over the truth."""

import re

import numpy as np
import pytest

from physgen.figures.laws import densities, expected_mass, paths, planes
from physgen.figures.measured import measured_and_true


def test_the_mass_of_a_bin_is_the_integral_of_the_density():
    x = np.linspace(0, 1, 11)
    np.testing.assert_allclose(expected_mass(x, 2 * x, np.array([0, 0.5, 1])), [0.25, 0.75], atol=1e-12)


def _square(figure, panel=0):
    text = figure.axes[panel].texts[0].get_text()
    return float(re.search(r"= ([\d.e+]+)", text)[1]), int(re.search(r"(\d+) bins", text)[1])


def test_the_sum_of_squares_finds_the_wrong_law_and_passes_the_right_one():
    x = np.linspace(-4, 4, 401)
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    rng = np.random.default_rng(1)
    figure = densities({"right": rng.normal(size=4000), "wrong": 0.9 * rng.normal(size=4000)}, x, normal)
    (right, bins), (wrong, _) = _square(figure), _square(figure, 1)
    assert abs(right - bins) < 4 * np.sqrt(2 * bins) and wrong > bins + 8 * np.sqrt(2 * bins)


def test_weights_take_draws_to_their_law():
    x = np.linspace(-4, 4, 401)
    wide = 1.5 * np.random.default_rng(2).normal(size=8000)
    weights = np.exp(-(wide**2) / 2 + wide**2 / (2 * 1.5**2))
    figure = densities({"weighted": (wide, weights / weights.sum())}, x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))
    found, bins = _square(figure)
    assert found < bins + 5 * np.sqrt(2 * bins)


def test_a_line_and_points_of_one_name_share_their_colour():
    figure = measured_and_true(
        {"a": ([1, 2], [1, 2], [0.1, 0.1]), "b": ([1, 2], [2, 1])},
        {"a": ([1, 2], [1, 2]), "exact": ([1, 2], [3, 3])},
        labels=("x [s]", "y"),
        level=0.0,
    )
    (axes,) = figure.axes
    _, own, other = axes.lines[:3]  # the level, then the truths
    points = {c.get_label(): c for c in axes.containers}
    assert own.get_color() == points["a"].lines[0].get_color() != other.get_color()
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["exact", "a", "b"]


@pytest.mark.parametrize("time", [np.linspace(0, 1, 5), np.linspace(1, 0, 5)])
def test_paths_run_as_their_times_do(time):
    drawn = np.zeros((5, 40))
    figure = paths(time, {"one": drawn, "two": drawn}, np.linspace(-1, 1, 9), np.ones((5, 9)), most=7)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    assert figure.axes[0].get_xlim() == (time[0], time[-1]) and len(figure.axes[0].lines) == 7


def test_planes_tell_two_kinds_apart():
    points = np.random.default_rng(0).normal(size=(50, 2))
    figure = planes({"all": points, "kinds": (points, points[:, 0] > 0)}, marks=[(0.0, 0.0)])
    kinds = [len(line.get_xdata()) for line in figure.axes[1].lines]
    assert kinds[:2] == [int((points[:, 0] <= 0).sum()), int((points[:, 0] > 0).sum())] and kinds[2] == 1
