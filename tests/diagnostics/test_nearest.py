"""Pruned search for the nearest field: the bounds hold, and the result is that of transforming every pair."""

import numpy as np
import pytest
import torch

from physgen.diagnostics import shift_bounds, shift_search
from physgen.diagnostics.nearest import nearest_binary, nearest_field
from physgen.diagnostics.shift_bounds import LowModes, ShiftBounds, spectrum
from physgen.diagnostics.shift_search import exhaustive, two_largest, worth_bounding
from physgen.lattice import Symmetry, point_group, wavenumber

TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(params=TYPES, ids=str)
def kind(request, monkeypatch):
    """Both types of product, whatever is fast on this machine, and bounds even where they do not pay."""
    monkeypatch.setattr(shift_search, "fast_type", lambda device: request.param)
    monkeypatch.setattr(shift_search, "worth_bounding", lambda query, *_: LowModes.of(query.shape[2:], 0.6))
    return request.param


def coloured(seed, count, grid, slope, components=1):
    r"""Gaussian fields with P = \|k\|^-slope, (count, components, *grid)."""
    noise = torch.randn(count, components, *grid, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    k = torch.from_numpy(wavenumber(grid))
    k[(0,) * len(grid)] = 1.0
    axes = tuple(range(-len(grid), 0))
    return torch.fft.irfftn(torch.fft.rfftn(noise, dim=axes) * k ** (-slope / 2), s=grid, dim=axes).float()


def unit(x):
    x = x - x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
    return x / x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))


def assert_equal_to_exhaustive(query, train, **how):
    """The same values up to the rounding of the transform, the same positions where values are apart."""
    full, found = nearest_field(query, train, prune=False, **how), nearest_field(query, train, **how)
    np.testing.assert_allclose(found.similarity, full.similarity, atol=2e-6)
    # at a distance of nearly nothing the gap is rounding over rounding
    far = full.similarity[:, 1] < 1 - 1e-4
    np.testing.assert_allclose(found.gap[far] ** 2, full.gap[far] ** 2, atol=1e-4)
    clear = np.abs(np.diff(full.similarity, axis=1)).ravel() > 4e-6
    np.testing.assert_array_equal(found.index[clear, 0], full.index[clear, 0])
    np.testing.assert_array_equal(found.duplicate, full.duplicate)
    assert found.compared == full.compared == len(train)


@pytest.mark.parametrize("fraction", [0.3, 0.7, 1.0])
@pytest.mark.parametrize(
    ("grid", "components"), [((24, 24), 1), ((16, 24), 2), ((9, 15), 1), ((32,), 1), ((8, 8, 8), 1), ((6, 8, 5), 2)]
)
def test_no_correlation_exceeds_its_bound_and_all_modes_leave_only_rounding(grid, components, fraction, kind):
    query, train = (unit(coloured(seed, n, grid, 1.5, components)) for seed, n in ((0, 5), (1, 70)))
    query[0] = train[3]
    low, f_train = LowModes.of(grid, fraction), spectrum(train, len(grid))
    f_query = spectrum(query, len(grid))
    bound = ShiftBounds(f_train, grid, low, kind).of(f_query)
    rho = exhaustive(f_query, f_train.conj().resolve_conj(), grid)
    assert bool((bound >= rho).all())
    if fraction == 1.0:
        u = shift_bounds.UNIT_ROUNDOFF[kind]
        assert float((bound - rho).max()) < shift_bounds.SLACK + 2 * (2 * len(low.grid) + 1) * u + 1e-4


@pytest.mark.parametrize("slope", [0.0, 1.5, 3.0, 5.0])
@pytest.mark.parametrize(
    ("grid", "components", "group"),
    [
        ((16, 16), 1, "point"),
        ((16, 16), 1, "none"),
        ((12, 20), 2, "none"),
        ((24,), 1, "point"),
        ((6, 6, 6), 1, "point"),
    ],
)
def test_pruned_search_equals_the_exhaustive_one(grid, components, group, slope, kind):
    few = 3 if len(grid) == 3 else 1
    query, train = (coloured(seed, n // few, grid, slope, components) for seed, n in ((2, 20), (3, 300)))
    query[:3] = train[5:8] + 0.05 * query[:3]  # near-copies
    assert_equal_to_exhaustive(query, train, group=group)


def test_pruned_search_equals_the_exhaustive_one_on_skewed_fields_twins_and_constant_fields(kind):
    query, train = (torch.expm1(1.5 * coloured(seed, n, (32, 32), 2.0)) for seed, n in ((4, 30), (5, 400)))
    train[17] = train[200]  # identical twins: the nearest and the second nearest of their copies
    query[0], query[1] = train[17].roll((3, 5), (1, 2)), train[17].flip(2)
    query[2], train[50], train[51] = 2.5, -7.1, 0.0
    assert_equal_to_exhaustive(query, train)
    found = nearest_field(query, train)
    assert np.isnan(found.similarity[2]).all() and np.isfinite(np.delete(found.similarity, 2, axis=0)).all()
    assert sorted(found.index[0].tolist()) == sorted(found.index[1].tolist()) == [17, 200]
    assert found.duplicate[:2].all() and not found.duplicate[2:].any()
    assert not np.isin(found.index[3:], [50, 51]).any()


def test_fields_compared_in_place_have_the_correlation_of_their_cells():
    query, train = coloured(6, 9, (10, 14), 2.0), coloured(7, 12, (10, 14), 2.0)
    found = nearest_field(query, train, group="none", periodic=False)
    direct = np.corrcoef(query.flatten(1), train.flatten(1))[:9, 9:]
    np.testing.assert_allclose(found.similarity, -np.sort(-direct, axis=1)[:, :2], atol=2e-6)


def test_constant_training_sets_have_no_nearest_field():
    found = nearest_field(coloured(8, 3, (8, 8), 1.0), torch.full((4, 1, 8, 8), 0.1))
    assert np.isnan(found.similarity).all() and (found.index == -1).all() and not found.duplicate.any()
    one = nearest_field(coloured(8, 3, (8, 8), 1.0), torch.cat([torch.ones(4, 1, 8, 8), coloured(9, 1, (8, 8), 1.0)]))
    assert (one.index[:, 0] == 4).all() and (one.index[:, 1] == -1).all() and np.isnan(one.gap).all()


def test_steep_spectra_are_pruned_and_white_noise_is_not_bounded(monkeypatch):
    """Of red fields at most one pair in five is transformed; where bounds do not pay, none are made."""
    monkeypatch.setattr(shift_search, "fast_type", lambda device: torch.float32)
    axes, grid = 2, (32, 32)
    query, train = unit(coloured(10, 12, grid, 3.0)), unit(coloured(11, 500, grid, 3.0))
    f_train = spectrum(train, axes)
    low = worth_bounding(query, f_train.conj().resolve_conj(), 8)
    assert low is not None and low.reach[0] < 16
    f_query = torch.stack([spectrum(g.move(query), axes) for g in point_group(grid)])
    bound = torch.stack([ShiftBounds(f_train, grid, low, torch.float32).of(f) for f in f_query], dim=2)
    evaluate = shift_search._evaluator(f_query, f_train.conj().resolve_conj(), grid)
    asked = []
    two_largest(bound, lambda q, t, g: (asked.append(len(q)), evaluate(q, t, g))[1])
    assert sum(asked) < 0.2 * bound.numel()
    white, known = unit(coloured(12, 12, (64, 64), 0.0)), unit(coloured(13, 100, (64, 64), 0.0))
    assert worth_bounding(white, spectrum(known, axes).conj().resolve_conj(), 8) is None


def test_two_largest_stops_where_no_bound_is_above_the_second(monkeypatch):
    """Values 0.9, 0.8, then bounds below 0.8: three pairs of nine are asked for when each round takes one."""
    value = torch.tensor([[0.1, 0.9, 0.2, 0.8, 0.3, 0.1, 0.0, 0.2, 0.1]])[..., None]
    bound = value + torch.tensor([0.0, 0.05, 0.0, 0.0, 0.55, 0.0, 0.1, 0.3, 0.2])[None, :, None]
    asked = []

    def evaluate(query, train, symmetry):
        asked.extend(train.tolist())
        return value[query, train, symmetry]

    monkeypatch.setattr(shift_search, "FIRST", 1)
    best = two_largest(bound, evaluate)
    assert asked[:2] == [1, 4] and set(asked) <= {1, 3, 4} and best[0, 1] == pytest.approx(0.9)
    assert best[0, 3] == pytest.approx(0.8) and best[0, 0] == -np.inf


def test_the_first_axis_and_the_last_are_not_mistaken():
    """A shift along one axis of a long box, alone and with a reflection."""
    train = unit(coloured(14, 200, (8, 24), 2.5))
    moved = torch.cat([train[:4].roll(5, 3), Symmetry(mirrored=(1,)).move(train[4:8].roll(3, 2))])
    found = nearest_field(moved, train)
    assert found.index[:, 0].tolist() == list(range(8)) and found.duplicate.all()
    assert not nearest_field(moved[4:], train, group="none").duplicate.any()


@pytest.mark.parametrize("search", [nearest_field, nearest_binary])
def test_queries_shared_out_to_threads_find_the_same(search, kind):
    rng, before = np.random.default_rng(5), torch.get_num_threads()
    query, train = (np.sign(rng.standard_normal((n, 1, 8, 8))) for n in (37, 40))
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(search(query, train))
    finally:
        torch.set_num_threads(before)
    for name in ("similarity", "index", "gap", "duplicate"):
        assert np.array_equal(getattr(found[0], name), getattr(found[1], name), equal_nan=True)
