"""A domain that has `simulate` and nothing else: fields with one label, along a sample dim of its own name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.diffusion.values import Binary, Values
from physgen.domains.contract import Domain
from physgen.ensemble import flatten
from physgen.errors import InputError
from physgen.runs.encoding import Encoding, fit_encoding


@dataclass(frozen=True)
class Wells(Domain):
    name: ClassVar[str] = "wells"
    description: ClassVar[str] = "smooth noise about a mean of its own"
    split_by: ClassVar[str] = "walk"
    labels: ClassVar[tuple[str, ...]] = ("mass",)

    def simulate(self, seed: int, processes: int = 1, progress: object = None) -> xr.Dataset:
        noise = np.random.default_rng(seed).normal(size=(12, 8, 8))
        field = 3.0 + 0.5 * (noise + np.roll(noise, 1, 1))
        variables = {"field": (("walk", "y", "x"), field, {"units": "m"}), "mass": ("walk", np.linspace(1, 2, 12))}
        return xr.Dataset(variables, attrs={"domain": self.name, "part": "train"})


@dataclass(frozen=True)
class Signs(Wells):
    values: ClassVar[Values] = Binary()
    labels: ClassVar[tuple[str, ...]] = ()

    def simulate(self, seed: int, processes: int = 1, progress: object = None) -> xr.Dataset:
        made = super().simulate(seed).drop_vars("mass")
        return made.assign(field=np.sign(made.field - 3).astype(np.int8))


@pytest.mark.parametrize("domain", [Wells(), Signs()])
def test_encode_and_decode_are_inverse(domain):
    data = domain.simulate(0)
    encoding, x, condition = fit_encoding(domain, data)
    assert x.dtype == torch.float32 and float(x.square().mean()) == pytest.approx(1, abs=1e-5)
    back = domain.decode(x, data.drop_vars("field").assign_coords(walk=np.arange(12)), encoding.domain)
    assert back.field.dims == data.field.dims and back.field.dtype == data.field.dtype
    np.testing.assert_allclose(flatten(back), flatten(data), rtol=1e-6)
    if domain.labels:
        torch.testing.assert_close(condition["labels"][:, 0], torch.linspace(-1, 1, 12))


def test_a_sampler_may_leave_the_allowed_values_but_not_the_ensemble():
    domain, data = Signs(), Signs().simulate(0)
    encoding, x, _ = fit_encoding(domain, data)
    template = domain.request(data, 12, {}, encoding.domain)
    assert np.array_equal(domain.decode(0.3 * x, template, encoding.domain).field, data.field)


@pytest.mark.parametrize("n", [5, 30])
def test_a_request_counts_along_the_dim_of_the_data_even_without_labels(n):
    for domain in (Wells(), Signs()):
        data = domain.simulate(0)
        encoding, x, _ = fit_encoding(domain, data)
        template = domain.request(data, n, {}, encoding.domain)
        assert "field" not in template and encoding.count(template) == n and "part" not in template.attrs
        drawn = domain.decode(torch.zeros(n, *encoding.shape), template, encoding.domain)
        assert drawn.field.shape == (n, 8, 8) and len(np.unique(drawn.walk)) == n


def test_labels_that_are_given_are_taken_or_refused():
    domain, data = Wells(), Wells().simulate(0)
    constants = domain.fit_encoding(data)
    assert (domain.request(data, 3, {"mass": 1.5}, constants).mass == 1.5).all()
    for given, message in (({"mass": 2.2}, "mass = 2.2 lies outside .* 1 to 2"), ({"mas": 1.0}, "choose from mass")):
        with pytest.raises(InputError, match=message):
            domain.request(data, 3, given, constants)
    with pytest.raises(InputError, match="no labels"):
        Signs().request(Signs().simulate(0), 3, {"mass": 1.5})


def test_the_network_has_the_shapes_of_the_data():
    encoding, x, condition = fit_encoding(Wells(), Wells().simulate(0))
    network = Wells().network({"width": 8, "multipliers": [1, 2]}, encoding.for_network)
    assert network(x, torch.zeros(12), condition).shape == x.shape
    for options in ({"kind": "abacus"}, {"widht": 8}, {"multipliers": None}):
        with pytest.raises(InputError, match="abacus|widht|multipliers"):
            Wells().network(options, encoding.for_network)


def test_what_cannot_be_compared_is_refused():
    domain, data = Wells(), Wells().simulate(0)
    assert domain.confront(data, data, "itself") is data and domain.restrict(data, data) is data
    other = data.assign(field=data.field.assign_attrs(units="cm"))
    for wrong in (data.isel(x=slice(4)), other, data.assign_coords(x=0.5 * np.arange(8))):
        with pytest.raises(InputError, match="the generated ensemble has"):
            domain.confront(data, wrong, "the generated ensemble")
    with pytest.raises(InputError, match="wells reads no files"):
        domain.load("npy", [])


def test_an_encoding_survives_json_and_an_older_one_is_refused():
    encoding, _, _ = fit_encoding(Wells(), Wells().simulate(0), s_min=0.02)
    assert Encoding.from_json(encoding.to_json(), "encoding.json") == encoding and encoding.s_min == 0.02
    with pytest.raises(InputError, match="encoding.json .* earlier physgen"):
        Encoding.from_json({"grid": [8, 8], "s_min": 0.1}, "encoding.json")
