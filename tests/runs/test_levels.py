"""Levels of a model: chosen on its surrogate, checked on its own denoiser, kept beside its weights."""

import dataclasses
import json
import math
from types import SimpleNamespace

import pytest
import torch

from physgen.config import DiffusionConfig
from physgen.diffusion.discretization.check import Convergence
from physgen.diffusion.exact import GaussianField, phi4_site
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.lattice import half_grid
from physgen.runs.encoding import Encoding
from physgen.runs.levels import CHECKED, choose_levels, surrogate_spectra
from physgen.runs.model import Model

GRID = (32,)


class Known(torch.nn.Module):
    """An exact law in the place of a network; it counts its calls."""

    def __init__(self, law, power):
        super().__init__()
        self.law, self.calls = law, 0
        self.spectrum = Spectrum(power.log().expand(1, 1, *half_grid(GRID)), GRID)

    def forward(self, y, s, condition=None):
        self.calls += 1
        return self.law(y.double(), s.double()).to(y.dtype)


def model_of(law, power, folder=None, labels=0):
    ends = 0.01 * float(power.min()) ** 0.5, 100 * float(power.max()) ** 0.5
    encoding = Encoding(GRID, 1, {"labels": (labels,)} if labels else {}, ("sample",), *ends)
    return Model(Known(law, power), SimpleNamespace(diffusion=DiffusionConfig()), encoding, torch.device("cpu"), folder)


WELLS = phi4_site(1.0, -3.0, (1, *GRID))
FLAT = torch.tensor(WELLS.moment(2))
STEEP = 100 * torch.arange(1, 18, dtype=torch.float64) ** -4.0  # the half-spectrum
GAUSSIAN = GaussianField(torch.cat([STEEP, STEEP[1:-1].flip(0)])[None])


def test_a_gaussian_law_keeps_the_levels_chosen_for_it():
    found = choose_levels(model_of(GAUSSIAN, STEEP), "dpmpp_2m", 16)
    assert found.name in ("chosen", "cautious", "near")
    assert found.errors[found.name].worst < 0.3 * found.errors["log-uniform"].worst
    facts = found.facts()
    assert facts["levels"] == found.name and facts["levels_power"] == found.errors[found.name].power
    assert facts["levels_log_uniform_distance"] == found.errors["log-uniform"].distance


def test_two_wells_get_other_levels_than_those_chosen_on_their_surrogate():
    model = model_of(WELLS, FLAT)
    found = choose_levels(model, "dpmpp_2m", 16)
    assert found.errors["chosen"].worst > 2 * found.errors[found.name].worst
    assert not torch.equal(found.values, choose_levels(model, "dpmpp_2m", 16, "chosen").values)


def test_the_outcome_is_kept_and_belongs_to_weights_sampler_and_steps(tmp_path):
    model = model_of(GAUSSIAN, STEEP, tmp_path)
    first = choose_levels(model, "dpmpp_2m", 8)
    model.denoiser.calls = 0
    again = choose_levels(model, "dpmpp_2m", 8)
    assert model.denoiser.calls == 0
    assert again.name == first.name and torch.equal(again.values, first.values) and again.errors == first.errors
    choose_levels(model, "heun", 8)
    other = model_of(GAUSSIAN, 1.1 * STEEP, tmp_path)
    choose_levels(other, "dpmpp_2m", 8)
    assert other.denoiser.calls > 0
    assert len(json.loads((tmp_path / "levels.json").read_text())) == 3


@pytest.mark.parametrize("rule", ["chosen", "log-uniform"])
def test_levels_that_are_not_checked_are_kept_too(rule, tmp_path, monkeypatch):
    model = model_of(GAUSSIAN, STEEP, tmp_path)
    first = choose_levels(model, "dpmpp_2m", 8, rule)
    for name in ("optimal_levels", "best_log_uniform"):
        monkeypatch.delattr(f"physgen.runs.levels.{name}")
    again = choose_levels(model, "dpmpp_2m", 8, rule)
    assert again.name == first.name == rule and torch.equal(again.values, first.values) and not again.errors
    assert model.denoiser.calls == 0


@pytest.mark.parametrize("rule", ["checked", "chosen", "log-uniform"])
def test_levels_stay_within_the_range_that_was_trained(rule):
    """A narrow one, which free levels would leave at both ends."""
    model = model_of(GAUSSIAN, STEEP)
    s_min, s_max = (0.3 * float(STEEP.min()) ** 0.5, 2 * float(STEEP.max()) ** 0.5)
    model = dataclasses.replace(model, encoding=dataclasses.replace(model.encoding, s_min=s_min, s_max=s_max))
    values = choose_levels(model, "dpmpp_2m", 8, rule).values
    assert float(values[0]) <= s_max * (1 + 1e-12) and float(values[-2]) >= s_min * (1 - 1e-12)


@pytest.mark.parametrize("content", ["no json", '{"a": 1}', "[]"])
def test_a_damaged_file_is_no_obstacle(content, tmp_path):
    (tmp_path / "levels.json").write_text(content)
    model = model_of(GAUSSIAN, STEEP, tmp_path)
    assert torch.equal(choose_levels(model, "dpmpp_2m", 6).values, choose_levels(model, "dpmpp_2m", 6).values)


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path):
    model = model_of(GAUSSIAN, STEEP, tmp_path / "gone")
    assert len(choose_levels(model, "dpmpp_2m", 6).values) == 7


@pytest.mark.parametrize(("sampler", "name"), [("ancestral", "chosen"), ("dopri5", "log-uniform")])
def test_samplers_that_cannot_be_checked_are_not(sampler, name):
    model = model_of(GAUSSIAN, STEEP)
    found = choose_levels(model, sampler, 8, CHECKED)
    assert found.name == name and not found.errors and model.denoiser.calls == 0


def test_a_grid_on_which_the_samples_diverge_is_not_taken():
    fine = Convergence(0.1, 0.01, 0.02, 0.001)
    for broken in (Convergence(math.nan, 0, 0.01, 0), Convergence(0.01, 0, math.nan, 0)):
        assert broken.worst == math.inf > fine.worst == 0.1


@pytest.mark.parametrize(("labels", "spectra"), [(2, 5), (6, 65), (28, 65)])
def test_many_labels_do_not_multiply_the_corners_of_their_range(labels, spectra):
    """2^28 corners would not fit into any memory; those that are taken differ."""
    model = model_of(GAUSSIAN, STEEP, labels=labels)
    slopes = torch.zeros(1 + labels, 1, *half_grid(GRID))
    slopes[1:, 0, :1] = 0.1 * 2.0 ** -torch.arange(labels)[:, None]
    model.denoiser.spectrum = Spectrum(slopes, GRID)
    found = surrogate_spectra(model)
    assert len(found) == spectra and len(found[:, 0, 0].unique()) == spectra
    assert found[0, 0, 0] == 1


class Conditioned(Known):
    """It needs a map beside each field and keeps those that it was given."""

    def forward(self, y, s, condition=None):
        self.given = condition["channels"]
        assert self.given.shape == (len(y), 2, *GRID)
        return super().forward(y, s)


def test_levels_are_checked_at_the_conditions_that_were_kept():
    """Where none were kept of those that labels cannot stand for, the levels are those of the surrogate."""
    model = model_of(GAUSSIAN, STEEP)
    encoding = dataclasses.replace(model.encoding, condition_shapes={"channels": (2, *GRID)})
    kept = {"channels": torch.arange(6.0).reshape(3, 2, 1).expand(3, 2, *GRID)}
    model = dataclasses.replace(model, denoiser=Conditioned(GAUSSIAN, STEEP), encoding=encoding)
    assert choose_levels(model, "dpmpp_2m", 8).name == "chosen"
    found = choose_levels(dataclasses.replace(model, conditions=kept), "dpmpp_2m", 8)
    assert found.errors and set(model.denoiser.given[:3].unique().tolist()) == set(range(6))
