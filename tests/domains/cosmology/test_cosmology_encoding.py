"""Encoding is exact and bounded, symmetries are symmetries, the Gaussian oracle has the training spectrum."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.diagnostics.nearest import nearest_field
from physgen.diffusion.draws import SampleDraws
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.domains.cosmology import Domain, blocks, fitting
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.encoding import overdensity, spectrum_grid
from physgen.ensemble import flatten
from physgen.errors import InputError
from physgen.lattice import point_group, random_moves, wavenumber
from physgen.runs.encoding import fit_encoding


def for_network(domain, data):
    """What the network of a training is built from."""
    return fit_encoding(domain, data)[0].for_network


def ensemble(kind="delta", n=12, side=8, dimension=2, empty=False, seed=0):
    rng = np.random.default_rng(seed)
    density = np.exp(rng.normal(-0.5, 1.0, (n, *[side] * dimension)))
    if empty:
        density[rng.random(density.shape) < 0.1] = 0.0
    scale = {"delta": 1.0, "counts": 8.0, "surface_density": 3e11, "real": 1.0}[kind]
    field = {"delta": density - 1, "real": rng.normal(0, 3.0, density.shape)}.get(kind, scale * density)
    field = np.rint(field) if kind == "counts" else field
    labels = {
        "Omega_m": np.repeat(rng.uniform(0.1, 0.5, n // 3), 3),
        "sigma_8": np.repeat(rng.uniform(0.6, 1, n // 3), 3),
    }
    return make_ensemble(field, kind, 32.0, labels, np.arange(n) // 3, {})


@pytest.mark.parametrize("transform", ["gaussian", "log", "asinh"])
@pytest.mark.parametrize("kind", ["delta", "counts", "surface_density", "real"])
@pytest.mark.parametrize("empty", [False, True])
def test_decoding_inverts_encoding_empty_cells_included(kind, transform, empty):
    domain, data = Domain(transform=transform), ensemble(kind, empty=empty)
    constants = json.loads(json.dumps(domain.fit_encoding(data)))
    x, condition = domain.encode(data, constants)
    assert x.dtype == torch.float32 and x.shape == (12, 1, 8, 8)
    assert abs(x.mean()) < 1e-5 and x.std() == pytest.approx(1, abs=2e-3)
    assert condition["labels"].abs().max() == 1
    back = domain.decode(x, data, constants)
    scale = float(np.abs(data.field).mean())
    np.testing.assert_allclose(back.field.values, data.field.values, rtol=5e-6, atol=5e-6 * scale)
    assert back.attrs["clipped_fraction"] == 0 and back.attrs["field_kind"] == kind
    assert back.field.attrs == data.field.attrs


def test_held_out_empty_cells_are_finite_though_training_had_none():
    domain = Domain()
    constants = domain.fit_encoding(ensemble(empty=False))
    held = ensemble(empty=True, seed=1)
    x, _ = domain.encode(held, constants)
    empty = torch.from_numpy(held.field.values.reshape(x.shape) == held.field.values.min())
    assert torch.isfinite(x).all() and 0 < empty.sum() < empty.numel()
    assert x[empty].max() < x[~empty].min()  # below all that is not empty, however empty the training data were
    back = domain.decode(x, held, constants).field.values.reshape(x.shape)
    assert np.abs(back[empty.numpy()] - float(held.field.min())).max() < 1e-3  # the floor of a density


def test_wild_values_decode_to_bounded_densities_and_are_counted():
    domain, data = Domain(), ensemble()
    constants = domain.fit_encoding(data)
    x = torch.zeros(12, 1, 8, 8)
    x[0], x[1] = 1e4, -1e4
    back = domain.decode(x, data, constants)
    assert np.isfinite(back.field).all() and float(back.field.min()) == -1
    assert float(back.field.max()) <= 101 * float(data.field.max() + 1)
    assert back.attrs["clipped_fraction"] == pytest.approx(2 / 12)


def test_bad_fields_and_labels_are_refused():
    domain, data = Domain(), ensemble()
    constants = domain.fit_encoding(data)
    with pytest.raises(InputError, match="delta is at least -1"):
        domain.encode(data.assign(field=data.field - 3), constants)
    with pytest.raises(InputError, match="fitted on 'delta'"):
        domain.encode(ensemble("counts"), constants)
    with pytest.raises(InputError, match="the grid is"):
        domain.encode(ensemble(side=4), constants)
    with pytest.raises(InputError, match="label 'sigma_8' is missing"):
        domain.condition(data.drop_vars("sigma_8"), constants)
    with pytest.raises(InputError, match="nothing to learn"):
        domain.fit_encoding(data.assign(field=0 * data.field))
    with pytest.raises(InputError, match="field_kind = 'deltas'"):
        domain.fit_encoding(data.assign_attrs(field_kind="deltas"))


def test_a_label_that_never_varies_is_encoded_as_zero():
    data = ensemble()
    data["Omega_m"][:] = 0.3
    domain = Domain()
    labels = domain.condition(data, domain.fit_encoding(data))["labels"]
    assert labels[:, 0].abs().max() < 1e-12 and labels[:, 1].abs().max() == 1


def test_requests_cycle_through_simulations_or_take_what_is_given():
    domain, data = Domain(), ensemble()
    template = domain.request(data, 6, {})
    assert "field" not in template and list(template.simulation.values) == [0, 1, 2, 3, 0, 1]
    np.testing.assert_array_equal(template.Omega_m, data.Omega_m.values[[0, 3, 6, 9, 0, 3]])
    given = domain.request(data, 4, {"Omega_m": 0.3, "sigma_8": 0.8})
    assert (given.Omega_m == 0.3).all() and list(given.simulation.values) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="choose from Omega_m, sigma_8"):
        domain.request(data, 4, {"omega_m": 0.3})
    with pytest.raises(InputError, match="finite"):
        domain.request(data, 4, {"Omega_m": float("nan")})


@pytest.mark.parametrize("dimension", [2, 3])
def test_symmetries_reach_the_whole_group_and_keep_neighbours(dimension):
    """Every image of a field has its power spectrum and histogram; all 8 or 48 point operations occur."""
    x = torch.randn(1, 1, *[4] * dimension, generator=torch.Generator().manual_seed(1))
    moved = random_moves((4,) * dimension, SampleDraws(2, "moves", range(4000))).move(x.expand(4000, *x.shape[1:]))
    flat = moved.flatten(1)
    torch.testing.assert_close(flat.sort(1).values, x.flatten().sort().values.expand_as(flat))
    images = {tuple(row) for row in flat.numpy().round(5).tolist()}
    group = {2: 8 * 16, 3: 48 * 64}[dimension]
    expected = group * (1 - np.exp(-4000 / group))  # distinct among 4000 uniform draws
    assert abs(len(images) - expected) < 5 * np.sqrt(expected) and len(images) <= group
    neighbour = (x * x.roll(1, -1) + x * x.roll(1, -2) + (x * x.roll(1, -3) if dimension == 3 else 0)).sum()
    along = sum((moved * moved.roll(1, -i)).flatten(1).sum(1) for i in range(1, dimension + 1))
    torch.testing.assert_close(along, neighbour.expand_as(along), atol=1e-3, rtol=0)


def test_the_oracle_has_the_spectrum_of_the_training_fields():
    domain, data = Domain(), ensemble(n=300, side=16)
    constants = domain.fit_encoding(data)
    x, _ = domain.encode(data, constants)
    spectrum = spectrum_grid(constants)
    assert spectrum.shape == (1, 16, 16)
    # Parseval: the mean of the spectrum is the mean square
    assert spectrum.mean().item() == pytest.approx(x.square().mean().item(), rel=1e-3)
    denoiser = domain.exact_denoiser(data, constants)
    near = denoiser(x[:4], torch.full((4,), 1e-3), None)
    torch.testing.assert_close(near, x[:4], atol=1e-4, rtol=0)
    # white encoded field: the Wiener filter is a plain shrinking by 1 / (1 + s^2)
    half = denoiser(x, torch.full((300,), 1.0), None)
    assert ((half * x).sum() / x.square().sum()).item() == pytest.approx(0.5, abs=0.01)


def test_densities_become_contrasts_with_the_recorded_mean():
    data = ensemble("surface_density").drop_vars(["mean_density"], errors="ignore")
    delta = overdensity(data)
    assert delta.field.attrs == {"long_name": "density contrast", "units": "1"}
    assert abs(float(delta.field.mean())) < 1e-5 and delta.attrs["field_kind"] == "delta"
    half = overdensity(data.assign(field=data.field / 2))
    assert float(half.field.mean()) == pytest.approx(-0.5, abs=1e-4)


def test_the_network_has_the_dimension_and_labels_of_the_data():
    domain, data = Domain(), ensemble(side=8, dimension=3, n=6)
    constants = domain.fit_encoding(data)
    network = domain.network({"kind": "unet", "width": 8, "multipliers": [1, 2]}, for_network(domain, data))
    x, condition = domain.encode(data, constants)
    assert network(x, torch.zeros(6), condition).shape == x.shape
    with pytest.raises(InputError, match="'mlp' is unknown"):
        domain.network({"kind": "mlp"}, for_network(domain, data))
    with pytest.raises(InputError, match="widht"):
        domain.network({"widht": 8}, for_network(domain, data))


def test_unlabelled_data_have_no_condition():
    data = ensemble().drop_vars(["Omega_m", "sigma_8"])
    domain = Domain()
    constants = domain.fit_encoding(data)
    assert domain.encode(data, constants)[1] == {}
    assert isinstance(domain.request(data, 3, {}), xr.Dataset)


def test_conditions_are_held_against_the_training_part_with_a_small_margin():
    domain = Domain()
    train, test = (ensemble(n=60, seed=s) for s in (0, 1))
    train["Omega_m"][:] = np.linspace(0.1, 0.5, 60)
    train["h"] = ("sample", np.full(60, 0.7))
    test["Omega_m"][:] = np.linspace(0.3, 0.31, 60)
    test["h"] = ("sample", np.full(60, 0.7))
    constants = domain.fit_encoding(train)
    for value in (0.12, 0.48, 0.515):
        assert (domain.request(test, 3, {"Omega_m": value}, constants)["Omega_m"] == value).all()
    for value in (-0.2, 0.075, 0.525, 17.0):
        with pytest.raises(
            InputError, match=f"Omega_m = {value:g} lies outside the range of the training data, 0.1 to"
        ):
            domain.request(test, 3, {"Omega_m": value}, constants)
    assert (domain.request(test, 3, {"h": 0.7}, constants)["h"] == 0.7).all()
    with pytest.raises(InputError, match="h = 0.75 was never learned: the training data have h = 0.7 alone"):
        domain.request(test, 3, {"h": 0.75}, constants)
    assert domain.request(test, 60, {}, constants).attrs["conditions_outside_training"].count("Omega_m") == 0
    test["Omega_m"][:4] = 0.6
    said = domain.request(test, 60, {}, constants).attrs["conditions_outside_training"]
    assert "Omega_m of 4 of 60" in said
    test["Omega_m"][:4] = 1.2
    with pytest.raises(InputError, match="Omega_m = 1.2 was asked for, the training data have 0.1 to 0.5"):
        domain.request(test, 60, {}, constants)


def snapshots(simulations=5, seed=0):
    """Four maps a simulation, each at its own scale factor, with their files."""
    rng = np.random.default_rng(seed)
    a = np.tile([0.25, 0.5, 0.75, 1.0], simulations)
    labels = {"Omega_m": np.repeat(np.linspace(0.1, 0.5, simulations), 4), "scale_factor": a}
    field = np.exp(a[:, None, None] * rng.normal(size=(len(a), 8, 8))) - 1
    made = make_ensemble(field, "delta", 25.0, labels, np.arange(len(a)) // 4, {})
    return made.assign(
        source=("sample", [f"map_{i}.npy" for i in range(len(a))]), axis=("sample", np.arange(len(a)) % 3)
    )


def test_a_request_takes_the_conditions_of_every_map():
    data = snapshots()
    rows = sorted(zip(data.simulation.values, data.Omega_m.values, data.scale_factor.values, strict=True))
    for n in (20, 40):
        template = Domain().request(data, n, {})
        found = zip(template.simulation.values, template.Omega_m.values, template.scale_factor.values, strict=True)
        assert sorted(found) == sorted(rows * (n // 20))
    assert "source" not in template and "axis" not in template  # facts of single maps, not of drawn ones
    five = Domain().request(data, 5, {})
    assert len(set(five.simulation.values)) == 5 and len(set(five.scale_factor.values)) == 4
    xr.testing.assert_equal(five, Domain().request(data, 20, {}).isel(sample=slice(0, 5)))


# --- components, further sample dims, memory ---------------------------------------------------------


def two_fields(dim, n=12, coordinate=None, kinds="delta"):
    rng = np.random.default_rng(0)
    field = np.stack([np.exp(rng.normal(size=(n, 8, 8))) - 1, 0.1 * rng.normal(size=(n, 8, 8))], axis=1)
    centres = {d: (d, np.arange(8) + 0.5, {"units": "Mpc/h"}) for d in ("y", "x")}
    centres |= {} if coordinate is None else {dim: (dim, coordinate)}
    variables = {
        "field": (("sample", dim, "y", "x"), field.astype(np.float32)),
        "simulation": ("sample", np.arange(n)),
        "Omega_m": ("sample", np.linspace(0.1, 0.5, n)),
    }
    return xr.Dataset(variables, centres, {"domain": "cosmology", "field_kind": kinds})


def test_each_component_has_its_own_encoding():
    domain, data = Domain(), two_fields("component", kinds="delta, real", coordinate=["matter", "velocity"])
    constants = json.loads(json.dumps(domain.fit_encoding(data)))
    x, condition = domain.encode(data, constants)
    assert x.shape == (12, 2, 8, 8) and condition["labels"].shape == (12, 1)
    for c, field in enumerate(x.unbind(1)):
        assert abs(field.mean()) < 1e-5 and field.std() == pytest.approx(1, abs=2e-3)
        kind = ["delta", "real"][c]
        alone = data.isel(component=c, drop=True).assign_attrs(field_kind=kind)
        one = domain.encode(alone, domain.fit_encoding(alone))[0]
        assert torch.equal(one[:, 0], field)
    back = domain.decode(x, domain.request(data, 12, {}, constants), constants)
    assert back.field.dims == data.field.dims and back.attrs["field_kind"] == "delta, real"
    np.testing.assert_allclose(back.field, data.field, rtol=2e-5, atol=2e-6)
    network = domain.network({"width": 8, "multipliers": [1, 2]}, for_network(domain, data))
    assert network(x, torch.zeros(12), condition).shape == x.shape
    assert spectrum_grid(constants).shape == (2, 8, 8)
    with pytest.raises(InputError, match="names 3 kinds for 2 components"):
        domain.fit_encoding(data.assign_attrs(field_kind="delta, real, real"))
    with pytest.raises(InputError, match="2 components, the encoding was fitted on 1"):
        domain.encode(data, domain.fit_encoding(alone))


@pytest.mark.parametrize("coordinate", [None, [0.0, 1.0], ["TNG", "SIMBA"]])
def test_a_further_sample_dim_is_a_condition(coordinate):
    domain, data = Domain(), two_fields("redshift", coordinate=coordinate)
    constants = json.loads(json.dumps(domain.fit_encoding(data)))
    x, condition = domain.encode(data, constants)
    assert x.shape == (24, 1, 8, 8) and condition["labels"].shape == (24, 2)
    np.testing.assert_allclose(condition["labels"][:, 1], np.tile([-1, 1], 12))
    template = domain.request(data, 12, {}, constants)
    again = domain.condition(template, constants)["labels"]
    assert torch.equal(again, condition["labels"])
    back = domain.decode(x, template, constants)
    assert back.field.dims == data.field.dims
    np.testing.assert_allclose(back.field, data.field, rtol=2e-5, atol=2e-5)
    name = "redshift" if coordinate == [0.0, 1.0] else "redshift_number"
    assert domain.request(data, 3, {name: 1.0}, constants).sizes["redshift"] == 1


def test_layouts_and_masks_that_cannot_be_learned_are_refused():
    domain, data = Domain(), ensemble()
    with pytest.raises(InputError, match=r"rename\({'realisation': 'sample'}\)"):
        domain.fit_encoding(data.rename(sample="realisation"))
    with pytest.raises(InputError, match="put both into 'sample'"):
        domain.fit_encoding(data.drop_vars("simulation").expand_dims(simulation=3))
    seen = data.assign(mask=(("y", "x"), np.ones((8, 8), np.int8)))
    domain.fit_encoding(seen)
    seen["mask"][0, :] = 0
    with pytest.raises(InputError, match="12.5 % of the cells are masked"):
        domain.fit_encoding(seen)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64])
@pytest.mark.parametrize("kind", ["delta", "counts", "real"])
def test_quantiles_in_blocks_are_those_of_the_whole_to_the_last_bit(kind, dtype, monkeypatch):
    """Against numpy on the whole set; blocks of 2^10 so that 4096 values take several."""
    monkeypatch.setattr(blocks, "BLOCK", 2**10)
    data = ensemble(kind, n=66, empty=kind != "real")
    values = (flatten(data)[:, 0] * (1 if np.dtype(dtype).kind == "f" else 40)).astype(dtype)
    wide = values.astype(np.float64)
    share = np.array([1e-3, 0.2, 0.5, 0.77, 1 - 1e-4])
    wanted = blocks.Quantiles(values.size, share)
    order, passes = blocks.OrderStatistics(values.dtype, wanted.ranks), 0
    while order.is_open:
        for some in np.array_split(values, 5):
            order.add(some)
        order.narrow()
        passes += 1
    assert passes == (2 if np.dtype(dtype).itemsize <= 4 else 4)
    np.testing.assert_array_equal(wanted.of(order, np.arcsinh), np.quantile(np.arcsinh(wide), share))
    above = wide[wide > np.median(wide)]
    wanted = blocks.Quantiles(len(above), share, skipped=wide.size - len(above))
    order = blocks.OrderStatistics(values.dtype)
    order.add(values)
    order.ask(wanted.ranks)  # after the first pass
    order.narrow()
    while order.is_open:
        order.add(values)
        order.narrow()
    np.testing.assert_array_equal(wanted.of(order, np.arcsinh), np.quantile(np.arcsinh(above), share))


@pytest.mark.parametrize(
    ("dtype", "same"), [(">f4", np.float32), (np.float16, np.float32), (">f8", float), ("i2", float)]
)
def test_an_encoding_does_not_depend_on_how_numbers_are_stored(dtype, same):
    data = ensemble("counts", n=30)
    data["field"] = (data["field"] * 3).astype(dtype)
    expected = Domain(transform="gaussian").fit_encoding(data.assign(field=data["field"].astype(same)))
    assert Domain(transform="gaussian").fit_encoding(data) == expected


def test_moments_of_blocks_lose_no_digits_to_a_large_mean():
    numbers = 1e6 + np.random.default_rng(0).normal(size=30_000)
    found = blocks.Moments()
    for part in np.array_split(numbers, 7):
        found.add(part)
    assert found.mean == pytest.approx(numbers.mean(), rel=1e-15)
    assert found.std == pytest.approx(numbers.std(), rel=1e-11)  # 1e-16 of the mean in each number


@pytest.mark.parametrize("kind", ["delta", "counts", "real"])
def test_the_number_of_threads_changes_no_bit_of_an_encoding(kind, monkeypatch):
    for module in (blocks, fitting):
        monkeypatch.setattr(module, "BLOCK", 2**10)
    data, domain, before, found = ensemble(kind, n=300), Domain(transform="gaussian"), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            constants = domain.fit_encoding(data)
            found.append((constants, domain.encode(data, constants)[0]))
    finally:
        torch.set_num_threads(before)
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])


def test_the_encoding_of_a_large_set_needs_little_more_than_its_result():
    """Peak beside the data: the fit some blocks of a few MiB, encode and decode the result (20 times before)."""
    data = ensemble(n=150, side=128)
    size, domain = data.field.nbytes, Domain()
    constants = domain.fit_encoding(data)
    x = torch.zeros(150, 1, 128, 128)
    limits = {"fit": (0, 2**27), "encode": (1.5, 2**24), "decode": (2.5, 2**24)}
    works = {
        "fit": lambda: domain.fit_encoding(data),
        "encode": lambda: domain.encode(data, constants),
        "decode": lambda: domain.decode(x, data, constants),
    }
    for name, work in works.items():
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        times, more = limits[name]
        assert peak < times * size + more, f"{name}: {peak / 2**20:.0f} MiB for {size / 2**20:.0f} of data"


# --- the true box -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell_size", "images"), [((1.0, 1.0), 8), ((1.0, 2.0), 4), (None, 8)])
def test_axes_are_exchanged_only_where_cells_and_lengths_agree(cell_size, images):
    x = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)).expand(3000, 1, 4, 4)
    moved = random_moves((4, 4), SampleDraws(1, "moves", range(3000)), cell_size, periodic=False).move(x)
    assert len({tuple(row) for row in moved.flatten(1).tolist()}) == images
    shifted = random_moves((4, 4), SampleDraws(1, "moves", range(3000)), cell_size, periodic=True).move(x)
    assert len({tuple(row) for row in shifted.flatten(1).tolist()}) == 16 * images
    assert len(point_group((4, 4), cell_size)) == images


def test_a_rectangle_keeps_its_shape_and_its_neighbours():
    x = torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(0)).expand(2000, 1, 4, 6)
    moved = random_moves((4, 6), SampleDraws(1, "moves", range(2000))).move(x)
    assert moved.shape == x.shape and len({tuple(row) for row in moved.flatten(1).tolist()}) == 4 * 24
    for axis in (2, 3):
        pairs = (moved * moved.roll(1, axis)).flatten(1).sum(1)
        torch.testing.assert_close(pairs, (x * x.roll(1, axis)).flatten(1).sum(1), atol=1e-4, rtol=0)


def test_augmentation_and_network_follow_the_box_of_the_data():
    """A map that is not periodic: no translations, and nothing of one side is seen on the opposite one."""
    domain, data = Domain(), ensemble().assign_attrs(periodic=0)
    constants = domain.fit_encoding(data)
    x, condition = domain.encode(data, constants)
    ramp = torch.arange(64.0).reshape(1, 1, 8, 8).expand(500, 1, 8, 8)
    moved, _ = domain.augment(ramp, {}, SampleDraws(0, "augmentation", range(500)), constants)
    assert len({tuple(row) for row in moved.flatten(1).tolist()}) == 8
    torch.manual_seed(0)
    network = domain.network({"width": 8, "multipliers": [1]}, for_network(domain, data))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = x[:1].double().requires_grad_()
    seen = network.double().stem(x)[0, 0, 0].sum()  # first row: its neighbour across the edge is the last one
    (gradient,) = torch.autograd.grad(seen, x)
    assert gradient[0, 0, 1].abs().max() > 0 and gradient[0, 0, -1].abs().max() == 0
    with pytest.raises(InputError, match="undecimated U-Net is periodic"):
        domain.network({"width": 8, "multipliers": [1, 2], "undecimated": True}, for_network(domain, data))


def test_copies_are_found_under_the_symmetries_of_the_box_alone():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(5, 1, 8, 8))
    turned = train.swapaxes(-1, -2)
    assert nearest_field(turned, train).duplicate.all()
    assert not nearest_field(turned, train, spacing=(1.0, 2.0)).duplicate.any()
    mirrored, shifted = train[..., ::-1], np.roll(train, 2, axis=-1)
    assert nearest_field(shifted, train).duplicate.all()
    assert nearest_field(mirrored, train, periodic=False).duplicate.all()
    assert not nearest_field(shifted, train, periodic=False).duplicate.any()
    found = nearest_field(rng.normal(size=(3, 1, 8, 8)), train, group="none", periodic=False)
    assert (np.abs(found.similarity) < 1).all()


@pytest.mark.parametrize(("cells", "periodic", "duplicates"), [(1.0, 1, 1.0), (2.0, 1, 0.0), (1.0, 0, 1.0)])
def test_the_memorization_test_follows_the_box_of_the_ensemble(cells, periodic, duplicates):
    """Copies turned by a right angle count where the cells are square."""
    data = ensemble(n=30).assign_attrs(periodic=periodic)
    data = data.assign_coords(x=data["x"] * cells)
    held = ensemble(n=30, seed=1).assign_coords(x=data["x"])
    turned = data.assign(field=(data["field"].dims, data["field"].values.swapaxes(1, 2)))
    found = Domain().memorization(turned, data, held)
    assert float(found["duplicates"]) == duplicates


def test_an_isotropic_spectrum_is_found_in_oblong_cells():
    """P = 1/(k + 0.02)^2 within 5 errors of its rarest shell and the curvature of ln P over one; as cubic: factor 2."""
    grid, cells = (32, 32), (2.0, 1.0)
    k = torch.from_numpy(wavenumber(grid, cells)) / (2 * np.pi)
    expected = 1 / (k + 0.02) ** 2
    noise = torch.randn(1000, 1, *grid, generator=torch.Generator().manual_seed(1))
    modes = torch.fft.rfftn(noise, dim=(2, 3), norm="ortho") * expected.sqrt()
    x = torch.fft.irfftn(modes, s=grid, dim=(2, 3), norm="ortho").float()
    ratio = fit_spectrum(x, cell_size=cells).ln_power[0, 0].exp() / expected
    assert (ratio[k > 0] - 1).abs().max() < 5 * np.sqrt(1 / 1000) + 0.03
