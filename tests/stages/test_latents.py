"""An ensemble becomes one of latents and comes back, from the command line, with training and sampling between."""

import json

import numpy as np
import pytest
import torch

from physgen.cli.commands import main
from physgen.config import check_config
from physgen.diffusion.latent import AutoencoderOptions
from physgen.domains.contract import get_domain
from physgen.ensemble import from_array, load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.stages.latents import field_ensemble, fit_latents, latent_ensemble, load_latent_model

CONFIG = """
schema_version: 1
name: latents
domain: any_field
data: {translations: true}
network: {kind: dit, width: 8, depth: 1, patch: 2}
training: {steps: 3, batch_size: 4, warmup: 1, validation_size: 4}
sampling: {steps: 3, n: 4, levels: log-uniform}
tracking: {uri: "off"}
"""


def fields(periodic=True, components=None, n=24):
    shape = (n, 8, 16) if components is None else (n, components, 8, 16)
    values = np.random.default_rng(0).normal(2.0, 3.0, shape)
    made = from_array(
        values, ["4 mm", "8 mm"], labels={"heat": np.linspace(0, 1, n)}, simulation=np.arange(n) // 2,
        components=None if components is None else range(components), periodic=periodic,
    )  # fmt: skip
    return made.assign_attrs(domain="any_field", labels="heat")


def test_from_the_command_line_there_and_back(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_ensemble(fields(), tmp_path / "fields.h5")
    (tmp_path / "c.yaml").write_text(CONFIG)
    assert main(["encode", "fields.h5", "-o", "z.h5", "--steps", "2", "--width", "8", "--channels", "2"]) == 0
    assert "residual of all modes" in capsys.readouterr().out
    told = json.loads((tmp_path / "z-autoencoder" / "information.json").read_text())
    assert len(told["k"]) == len(told["correlation"][0]) and 0 < told["total"] < 1.2
    latents = load_ensemble(tmp_path / "z.h5")
    assert latents["field"].shape == (24, 2, 4, 8) and latents.attrs["independent_unit"] == "simulation"
    np.testing.assert_allclose(latents["x"].values, [0.25 + i for i in range(8)])
    assert main(["train", "c.yaml", "dataset=z.h5"]) == 0
    assert main(["sample", "runs/latents", "-n", "5", "--condition", "heat=0.5", "-o", "new.h5"]) == 0
    assert main(["decode", "new.h5", "--autoencoder", "z-autoencoder", "-o", "back.h5", "--residual"]) == 0
    back = load_ensemble(tmp_path / "back.h5")
    assert back["field"].shape == (5, 8, 16) and (back["heat"] == 0.5).all() and back.attrs["domain"] == "any_field"
    # the same autoencoder on other fields, and a file that is there already
    again = ["encode", "fields.h5", "-o", "z2.h5", "--autoencoder", "z-autoencoder"]
    assert main(again) == 0
    assert (load_ensemble(tmp_path / "z2.h5")["field"] == latents["field"]).all()
    assert main(again) == 2
    assert main(["decode", "fields.h5", "--autoencoder", "z-autoencoder", "-o", "no.h5"]) == 2
    assert "have 1 channels, the autoencoder 2" in capsys.readouterr().err


def test_the_truncation_gives_back_what_lies_below_the_cut_in_physical_units():
    ensemble = fields(components=2)
    model = fit_latents(ensemble, AutoencoderOptions(channels=2, factor=2, width=0))
    back = field_ensemble(model, latent_ensemble(model, ensemble))
    low = np.fft.fft2(ensemble["field"].values)
    low[..., np.abs(np.fft.fftfreq(8, 1 / 8)) > 1, :] = 0
    low[..., np.abs(np.fft.fftfreq(16, 1 / 16)) > 3] = 0
    np.testing.assert_allclose(back["field"].values, np.fft.ifft2(low).real, atol=1e-5)  # values of order 10 in float32
    assert (back["simulation"] == ensemble["simulation"]).all()


def test_what_has_no_latents_is_refused_with_a_reason(tmp_path):
    options = AutoencoderOptions()
    plain = get_domain("any_field")()
    with pytest.raises(InputError, match="periodic boxes"):
        fit_latents(fields(periodic=False), options)
    with pytest.raises(InputError, match="factor=16 must divide"):
        fit_latents(fields(), AutoencoderOptions(factor=16))
    with pytest.raises(InputError, match="at least the 2 components"):
        fit_latents(fields(components=2), options)
    binary = type("Signs", (type(plain),), {"values": type("V", (), {"name": "binary"})()})()
    with pytest.raises(InputError, match="binary values: latents are made of real fields alone"):
        fit_latents(fields(), options, domain=binary)
    with pytest.raises(InputError, match="no readable model"):
        load_latent_model(tmp_path)


def test_fields_of_no_named_physics_are_shifted_where_that_is_a_symmetry():
    from physgen.diffusion.draws import SampleDraws

    x = torch.arange(2 * 3 * 4.0).reshape(1, 1, 6, 4).repeat(50, 1, 1, 1)
    draws = SampleDraws(0, "augmentation", range(50))
    domain = check_config({"name": "t", "domain": "any_field", "data": {"translations": True}}).data
    moved, _ = domain.augment(x, {}, draws, {"periodic": True})
    shifts = {tuple(map(int, divmod(int((m[0] == 0).nonzero()[0] @ torch.tensor([4, 1])), 4))) for m in moved}
    assert len(shifts) > 15  # of 24
    for m in moved:
        row, column = (m[0] == 0).nonzero()[0].tolist()
        assert torch.equal(m, x[0].roll((row, column), (1, 2)))
    assert torch.equal(domain.augment(x, {}, draws, {"periodic": False})[0], x)
    assert torch.equal(type(domain)().augment(x, {}, draws, {"periodic": True})[0], x)
