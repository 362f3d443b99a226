"""The contract that every domain keeps. A new folder in physgen/domains is tested without an edit here."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.config import load_config
from physgen.diffusion.values import Values
from physgen.domains.contract import Domain, get_domain, list_domains
from physgen.ensemble import (
    check_ensemble,
    flatten,
    load_ensemble,
    sample_count,
    sample_dims,
    save_ensemble,
    space_dims,
    split,
)
from physgen.errors import InputError
from physgen.runs.encoding import fit_encoding

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
every_domain = pytest.mark.parametrize("name", list_domains())


@functools.cache
def experiment(name):
    """The smallest experiment of the domain: configs/<domain>/smoke.yaml, seconds on one core."""
    return load_config(CONFIGS / name / "smoke.yaml")


@functools.cache
def data(name):
    domain = experiment(name).data
    ensemble = domain.simulate(seed=1)
    parts = split(ensemble, domain.split_by, {"train": 0.6, "test": 0.4}, seed=0)
    return domain, ensemble, parts, domain.fit_encoding(parts["train"])


@every_domain
def test_it_is_a_frozen_dataclass_with_described_fields(name):
    cls = get_domain(name)
    assert isinstance(cls(), Domain)
    assert cls.name == name and isinstance(cls.values, Values) and cls.values.baseline and cls.description
    for field in dataclasses.fields(cls):
        assert field.metadata.get("help"), f"{name}.{field.name} has no help"
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().anything = 1
    assert all(text for text in cls.formats.values())


@every_domain
def test_simulations_are_ensembles_that_depend_on_the_seed_alone(name, tmp_path):
    domain, ensemble, _, _ = data(name)
    check_ensemble(ensemble)
    assert domain.split_by in ensemble.variables or domain.split_by in ensemble.dims
    again = domain.simulate(seed=1, processes=2)
    xr.testing.assert_equal(ensemble, again)
    other = domain.simulate(seed=2)
    assert not np.array_equal(other.field.values, ensemble.field.values)
    back = load_ensemble(save_ensemble(ensemble, tmp_path / "a.h5"))
    assert np.array_equal(back.field.values, ensemble.field.values)


@every_domain
def test_encode_and_decode_are_inverse_and_of_order_one(name):
    domain, _, parts, constants = data(name)
    test = parts["test"]
    x, condition = domain.encode(test, constants)
    assert x.dtype == torch.float32 and len(x) == sample_count(test)
    assert x.shape[2:] == tuple(test.sizes[d] for d in space_dims(test))
    assert 0.2 < x.square().mean() < 5
    for key, value in condition.items():
        assert key in ("labels", "channels") and len(value) == len(x) and value.dtype == torch.float32
        assert torch.isfinite(value).all()
    alone = domain.condition(test.drop_vars("field") if "field" in test else test, constants)
    assert all(torch.equal(alone[k], condition[k]) for k in condition)
    back = domain.decode(x, test, constants)
    assert sample_dims(back) == sample_dims(test)
    np.testing.assert_allclose(flatten(back), flatten(test), rtol=2e-5, atol=2e-5)


@every_domain
def test_a_request_asks_for_conditions_not_for_values(name):
    domain, _, parts, constants = data(name)
    template = domain.request(parts["test"], 2, {})
    condition = domain.condition(template, constants)
    count = {len(v) for v in condition.values()}
    assert len(count) == 1
    shape = (count.pop(), *domain.encode(parts["test"], constants)[0].shape[1:])
    drawn = domain.decode(torch.ones(shape), template, constants)
    check_ensemble(drawn)
    with pytest.raises(InputError):
        domain.request(parts["test"], 2, {"no_such_label": 1.0})


@every_domain
def test_augmentation_keeps_every_diagnostic_up_to_its_symmetry(name):
    """Symmetries act on configuration and condition together, so the energy-like sums stay as they were."""
    domain, _, parts, constants = data(name)
    x, condition = domain.encode(parts["train"], constants)
    moved, along = domain.augment(x, condition, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape and not torch.equal(moved, x)
    torch.testing.assert_close(moved.square().sum(), x.square().sum())
    for key in condition:
        torch.testing.assert_close(along[key].square().sum(), condition[key].square().sum())
    again, _ = domain.augment(x, condition, torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)


@every_domain
def test_the_network_takes_the_conditions_of_its_domain(name):
    domain, _, parts, constants = data(name)
    x, condition = domain.encode(parts["test"], constants)
    torch.manual_seed(0)
    shapes = fit_encoding(domain, parts["train"])[0].for_network
    network = domain.network(experiment(name).network.model_dump(), shapes)
    part = {k: v[:3] for k, v in condition.items()}
    assert network(x[:3], torch.zeros(3), part).shape == x[:3].shape
    with pytest.raises(InputError):
        domain.network({"kind": "unet", "widht": 3}, shapes)
    with pytest.raises(InputError, match="no_such_kind"):
        domain.network({"kind": "no_such_kind"}, shapes)


@every_domain
def test_diagnostics_are_results_with_errors_over_independent_units(name):
    domain, whole, _, _ = data(name)
    for label, diagnostic in domain.diagnostics().items():
        result = diagnostic(whole)
        for needed in ("value", "error", "per_unit"):
            assert needed in result, f"{label} has no {needed}"
        assert result.value.attrs["units"] and result.value.attrs["long_name"]
        assert result.attrs["n_independent"] == len(result.per_unit)
        assert result.attrs["kind"]


@every_domain
def test_memorization_finds_the_training_set_in_itself(name):
    domain, _, parts, _ = data(name)
    result = domain.memorization(parts["train"], parts["train"], parts["test"])
    assert "value" in result


@every_domain
def test_unknown_formats_and_options_are_refused(name, tmp_path):
    cls = get_domain(name)
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 8, 8)))
    with pytest.raises(InputError):
        cls.load("no_such_format", [path])
    for format in cls.formats:
        with pytest.raises(InputError):
            cls.load(format, [path], no_such_option="1")


@every_domain
def test_the_exact_denoiser_has_the_interface_of_a_network(name):
    domain, _, parts, constants = data(name)
    if type(domain).exact_denoiser is Domain.exact_denoiser:
        pytest.skip("this domain offers none")
    x, condition = domain.encode(parts["test"], constants)
    x, condition = x[:4], {k: v[:4] for k, v in condition.items()}
    denoiser = domain.exact_denoiser(parts["test"], constants)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    small, large = torch.full((4,), 0.05), torch.full((4,), 1e3)
    near = denoiser(x + 0.05 * noise, small, condition)
    far = denoiser(x + 1e3 * noise, large, condition)
    assert near.shape == x.shape
    assert (near - x).square().mean() < (0.05 * noise).square().mean() * 1.2
    assert far.square().mean() < 0.2 * x.square().mean() + far.mean() ** 2 + 0.2
