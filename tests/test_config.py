"""Configurations: every error at once, each with its place and its remedy."""

import json
import typing
from pathlib import Path

import pytest
import yaml

from physgen.config import SamplingConfig, check_config, explain_key, json_schema, load_config
from physgen.diffusion.names import UNMASKING
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.units import parse_quantity

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_shipped_configuration_is_valid_and_complete(path):
    experiment = load_config(path)
    assert experiment.domain == path.parent.name
    again = check_config(yaml.safe_load(yaml.safe_dump(experiment.resolved())))
    assert again.digest() == experiment.digest()


def base(**more):
    return {"name": "t", "domain": "cosmology", **more}


def test_all_errors_come_at_once_with_their_paths_and_remedies():
    with pytest.raises(InputError) as caught:
        check_config(
            base(
                data={"box_size": "250 kg"},
                diffusion={"s_mn": 0.1},
                training={"steps": 0, "learning_rate": "fast"},
            )
        )
    text = str(caught.value)
    assert "4 errors" in text
    assert "data.box_size: '250 kg' cannot be converted to Mpc/h (it is a mass)" in text
    assert "diffusion.s_mn: unknown key; did you mean 's_min'?" in text
    assert "training.steps" in text and "training.learning_rate" in text


def test_a_length_without_a_unit_is_refused():
    with pytest.raises(InputError, match='data.box_size: 250 needs a unit, e.g. "250 Mpc/h"'):
        check_config(base(data={"box_size": 250}))


def test_scientific_notation_without_a_dot_is_a_number(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: t\ndomain: cosmology\ntraining: {learning_rate: 1e-3}\n")
    assert load_config(path).training.learning_rate == 1e-3


def test_overrides_and_one_level_of_extends(tmp_path):
    (tmp_path / "base.yaml").write_text("name: b\ndomain: cosmology\ntraining: {steps: 10, clip: 2.0}\n")
    (tmp_path / "child.yaml").write_text("extends: base.yaml\nname: c\ntraining: {steps: 20}\n")
    (tmp_path / "grandchild.yaml").write_text("extends: child.yaml\n")
    child = load_config(tmp_path / "child.yaml", ["training.clip=0.5", "seed=7"])
    assert (child.name, child.training.steps, child.training.clip, child.seed) == ("c", 20, 0.5, 7)
    with pytest.raises(InputError, match="one level only"):
        load_config(tmp_path / "grandchild.yaml")
    with pytest.raises(InputError, match="not of the form key=value"):
        load_config(tmp_path / "child.yaml", ["training.ema"])


def test_files_that_are_no_configuration_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1,\n")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(bad)


def test_an_unknown_domain_lists_the_known_ones():
    with pytest.raises(InputError, match=f"choose one of {', '.join(list_domains())}"):
        check_config({"name": "t", "domain": "cosmologie"})


@pytest.mark.parametrize("domain", list_domains())
def test_schema_and_explanations_come_from_the_same_models(domain):
    schema = json_schema(domain)
    assert schema["additionalProperties"] is False
    assert "smallest noise level" in explain_key(domain, "diffusion.s_min")
    with pytest.raises(InputError, match="did you mean 's_min'"):
        explain_key(domain, "diffusion.s_mim")


def test_units_convert_with_and_without_little_h():
    assert parse_quantity("25000 kpc/h", "Mpc/h") == pytest.approx(25)
    assert parse_quantity("100 Mpc", "Mpc/h", h=0.7) == pytest.approx(70)
    assert parse_quantity("1e2 Mpc/littleh", "Mpc/h") == pytest.approx(100)
    for text, message in [
        ("100 Mpc", "without the Hubble parameter"),
        ("100 blobs", "unknown unit 'blobs'"),
        ("Mpc/h", "not a number with a unit"),
        ("3 s", "it is a time"),
    ]:
        with pytest.raises(InputError, match=message):
            parse_quantity(text, "Mpc/h")


@pytest.mark.parametrize("domain", list_domains())
def test_the_committed_editor_schema_is_that_of_the_code(domain):
    path = CONFIGS[0].parents[1] / domain / "schema.json"
    assert json.loads(path.read_text()) == json_schema(domain), f"run: physgen config schema {domain} > {path}"


def test_every_sampler_of_the_core_can_be_configured():
    names = typing.get_args(SamplingConfig.model_fields["sampler"].annotation)  # of noise, and that of masks
    assert {name for one in names for name in typing.get_args(one)} == {*SAMPLERS, UNMASKING}
