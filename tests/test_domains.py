"""The contract that every domain keeps: it trains, draws, is judged and reported.

A new folder in physgen/domains is tested without an edit here, and so is one in tests/toy_domains.
"""

import dataclasses
import functools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.cli import main
from physgen.config import load_config
from physgen.diffusion.draws import SampleDraws
from physgen.diffusion.values import Values
from physgen.domains.contract import Domain, get_domain, list_domains, with_units
from physgen.ensemble import (
    check_ensemble,
    flatten,
    independent_units,
    load_ensemble,
    open_ensemble,
    sample_count,
    sample_dims,
    sample_regions,
    save_ensemble,
    select_units,
    space_dims,
    spacing,
    split,
)
from physgen.errors import InputError
from physgen.runs.encoded import encode_part
from physgen.runs.encoding import fit_encoding
from physgen.runs.folder import open_run
from physgen.runs.serving import load_sampler
from physgen.stages import DrawOptions, evaluate, is_complete, sample, simulate, train
from physgen.tracking.journal import read_journal

HERE = Path(__file__).resolve().parent
TOYS = sorted(path.parent.name for path in (HERE / "toy_domains").glob("*/__init__.py"))
every_domain = pytest.mark.parametrize("name", [*list_domains(), *TOYS])
pytestmark = pytest.mark.usefixtures("toy_domains", "blank_figures")


def config(name):
    """The smallest experiment of a domain, seconds on one core."""
    return HERE / "toy_domains" / name / "smoke.yaml" if name in TOYS else HERE.parent / f"configs/{name}/smoke.yaml"


@functools.cache
def experiment(name):
    return load_config(config(name))


@functools.cache
def data(name):
    domain = experiment(name).data
    ensemble = domain.simulate(seed=1)
    parts = split(ensemble, domain.split_by, {"train": 0.6, "test": 0.4}, seed=0)
    return domain, ensemble, parts, domain.fit_encoding(parts["train"])


def units(domain, ensemble):
    """The independent units that the domain names, counted by hand."""
    by = domain.split_by
    return np.unique(ensemble[by].values) if by in ensemble.variables else np.arange(ensemble.sizes[by])


@every_domain
def test_it_is_a_frozen_dataclass_with_described_fields(name):
    cls = get_domain(name)
    assert isinstance(cls(), Domain)
    assert cls.name == name and isinstance(cls().values, Values) and cls().values.baseline and cls.description
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
def test_every_ensemble_says_what_is_independent_in_it(name):
    """A bare file of the domain is judged by these attributes; one of an earlier version gets them when it is used."""
    domain, ensemble, parts, _ = data(name)
    nothing = ensemble.drop_attrs(deep=False)
    said = with_units(nothing.assign_attrs(domain=name)).attrs
    words = {key: said[key] for key in ("independent_unit", "exchangeable", "unit_within") if key in said}
    assert words["independent_unit"] == domain.split_by
    for made in (ensemble, *parts.values(), domain.request(parts["test"], 2, {})):
        assert words.items() <= made.attrs.items()
    assert with_units(ensemble.assign_attrs(independent_unit="other")).attrs["independent_unit"] == "other"
    assert "independent_unit" not in with_units(nothing).attrs
    assert with_units(nothing, domain).attrs["independent_unit"] == domain.split_by
    assert independent_units(with_units(nothing, domain)).count == independent_units(ensemble).count > 1


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
def test_encoding_goes_block_by_block(name, monkeypatch, tmp_path):
    """The contract of ``numbered`` and ``encode``: of a part the part, bit for bit; from a file as from memory."""
    domain, ensemble, parts, _ = data(name)
    path = save_ensemble(parts["train"], tmp_path / "train.h5")
    train = load_ensemble(path)
    cells = train.field.isel({d: 0 for d in sample_dims(train)}).size
    for rows in (1, 7):
        monkeypatch.setattr("physgen.ensemble.blocks.BLOCK_VALUES", rows * cells)
        constants = domain.fit_encoding(train)
        x, condition = domain.encode(train, constants)
        found = encode_part(domain, train, constants)
        assert len(sample_regions(train)) > 1
        assert torch.equal(found.x, x) and found.condition.keys() == dict(condition).keys()
        assert all(torch.equal(found.condition[k], condition[k]) for k in condition)
        some = np.array([0, 3, len(x) - 1])
        assert torch.equal(encode_part(domain, train, constants, some).x, x[some])
        with open_ensemble(path) as opened:
            assert domain.fit_encoding(opened) == constants
            assert torch.equal(encode_part(domain, opened, constants).x, x)


@every_domain
def test_a_request_asks_for_conditions_not_for_values(name):
    domain, _, parts, constants = data(name)
    template = domain.request(parts["test"], 2, {})
    condition = domain.condition(template, constants)
    count = {len(v) for v in condition.values()}
    assert len(count) <= 1
    sizes = [size for dim, size in template.sizes.items() if dim not in (*space_dims(parts["test"]), "component")]
    shape = (count.pop() if count else math.prod(sizes), *domain.encode(parts["test"], constants)[0].shape[1:])
    drawn = domain.decode(torch.ones(shape), template, constants)
    check_ensemble(drawn)
    assert drawn.attrs["independent_unit"] == domain.split_by
    with pytest.raises(InputError):
        domain.request(parts["test"], 2, {"no_such_label": 1.0})


@every_domain
def test_augmentation_keeps_every_diagnostic_up_to_its_symmetry(name):
    """Symmetries act on configuration and condition together, so the energy-like sums stay as they were."""
    domain, _, parts, constants = data(name)
    x, condition = domain.encode(parts["train"], constants)
    moved, along = domain.augment(x, condition, SampleDraws(0, "augmentation", range(len(x))))
    assert moved.shape == x.shape and torch.equal(moved, x) == (type(domain).augment is Domain.augment)
    torch.testing.assert_close(moved.square().sum(), x.square().sum())
    for key in condition:
        torch.testing.assert_close(along[key].square().sum(), condition[key].square().sum())
    again, _ = domain.augment(x, condition, SampleDraws(0, "augmentation", range(len(x))))
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
    """The error is the scatter of units. Of a linear statistic it is that of diagnostics of one unit at a time."""
    domain, whole, _, _ = data(name)
    ids, linear = units(domain, whole), 0
    for label, diagnostic in domain.diagnostics().items():
        result = diagnostic(whole)
        for needed in ("value", "error", "per_unit"):
            assert needed in result, f"{label} has no {needed}"
        assert result.value.attrs["units"] and result.value.attrs["long_name"]
        assert result.attrs["kind"]
        assert result.attrs["n_independent"] == len(result.per_unit) == len(ids) < sample_count(whole) + 1
        one_by_one = alone(diagnostic, whole, domain.split_by, ids)
        if one_by_one is None or not close(one_by_one.mean(axis=0), result.value):
            continue  # not a mean over units: the error is that of its pseudo-values
        linear += 1
        error = one_by_one.std(axis=0, ddof=1) / math.sqrt(len(ids))
        assert close(error, result.error), f"{label}: the error is not the scatter of the {domain.split_by}s"
    assert linear, "no diagnostic of this domain could be checked"


def alone(diagnostic, whole, by, ids):
    """Values (U, ...) of a diagnostic of each unit alone, or None where it takes more than one."""
    try:
        found = [diagnostic(select_units(whole, by, np.array([unit]))).value.values for unit in ids]
    except (InputError, ValueError):
        return None
    return np.stack(found) if len({value.shape for value in found}) == 1 else None


def close(a, b):
    return np.allclose(a, b, rtol=1e-5, atol=1e-7 * np.abs(b).max(), equal_nan=True)


@every_domain
def test_memorization_finds_the_training_set_in_itself(name):
    domain, _, parts, _ = data(name)
    copied = domain.memorization(parts["train"], parts["train"], parts["test"])
    assert float(copied["duplicates"]) == 1
    honest = domain.memorization(parts["test"], parts["train"], parts["test"])
    assert honest.attrs["verdict"] != "fail" and float(honest["copies"]) == 0


@every_domain
def test_memorization_finds_single_copies(name):
    """A third of a set that is otherwise held-out data is taken from the training set: so many copies, and a fail."""
    domain, _, parts, _ = data(name)
    test, made = parts["test"], parts["test"].copy(deep=True)
    samples = sample_dims(test)
    moved, source = (e.field.transpose(*samples, ...).values for e in (made, parts["train"]))
    if "couplings" in test:
        pytest.skip("configurations belong to their disorder: the training set has none of the held-out one")
    count = sample_count(test)
    rows = np.arange(0, count, 3)
    shape = moved.shape[len(samples) :]
    flat = moved.reshape(-1, *shape)
    flat[rows] = source.reshape(-1, *shape)[rows]
    made["field"] = ((*samples, *test.field.dims[len(samples) :]), flat.reshape(moved.shape), test.field.attrs)
    found = domain.memorization(made, parts["train"], test)
    assert float(found["duplicates"]) == pytest.approx(len(rows) / count)
    assert found.attrs["verdict"] == "fail"


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


# --- the whole way: simulate, train, sample, evaluate ------------------------------------------------


@pytest.fixture(scope="module")
def trained(toy_domains, tmp_path_factory):
    """name -> folder of a run of a few steps."""
    folder = tmp_path_factory.mktemp("whole_way")

    @functools.cache
    def make(name):
        dataset = folder / f"{name}.h5"
        simulate(experiment(name), dataset)
        words = [f"dataset={dataset}", "tracking.uri=off"]
        return train(load_config(config(name), words), folder / "runs", device="cpu")

    return make


@pytest.fixture(scope="module")
def drawn(trained):
    """name -> file of configurations drawn with the run's own options (noise levels checked on the network)."""

    @functools.cache
    def make(name):
        assert experiment(name).sampling.levels in (None, "checked")  # what nobody changed
        return sample(trained(name), trained(name).parent / f"{name}-drawn.h5", device="cpu")

    return make


def labels(name):
    """Real-valued conditions on one sample dim: those that can be given by name."""
    whole = data(name)[1]
    return [
        str(key)
        for key, value in whole.variables.items()
        if key != "field" and value.dtype.kind == "f" and value.ndim == 1 and value.dims[0] in sample_dims(whole)
    ]


def no_nan(word):
    raise AssertionError(f"{word} in a file that people and machines read")


@every_domain
def test_what_is_drawn_is_an_ensemble_like_the_data(name, drawn):
    reference, made = data(name)[1], load_ensemble(drawn(name))
    assert made.field.dims == reference.field.dims and made.attrs["domain"] == name
    assert spacing(made) == spacing(reference) and made.field.dtype == reference.field.dtype
    for dim in space_dims(reference):
        assert dim not in reference.coords or made[dim].attrs["units"] == reference[dim].attrs["units"]
    # of a field they were checked on the network under its own conditions; spins and angles have no Gaussian surrogate
    assert ("levels_power" in made.attrs) == data(name)[0].values.has_prior
    # even untrained, a denoiser of the training spectrum draws fields of the scale of the data, in their units
    assert 0.5 < float(made.field.std() / reference.field.std()) < 2


@every_domain
def test_drawing_like_a_file_takes_its_conditions(name, trained, tmp_path):
    validation = trained(name) / "data" / "validation.h5"
    like = load_ensemble(validation)
    made = load_ensemble(sample(trained(name), tmp_path / "a.h5", DrawOptions(n=2, like=validation), device="cpu"))
    domain, constants = experiment(name).data, open_run(trained(name)).encoding().domain
    for key, value in domain.condition(domain.request(like, 2, {}, constants), constants).items():
        assert torch.equal(domain.condition(made, constants)[key], value)
        known = {tuple(row) for row in domain.condition(like, constants)[key].flatten(1).tolist()}
        assert {tuple(row) for row in value.flatten(1).tolist()} <= known


@every_domain
def test_it_is_judged_and_reported(name, trained, drawn, tmp_path):
    run = trained(name)
    judged = evaluate(drawn(name), run / "data" / "test.h5", run / "data" / "train.h5", tmp_path / "judged", run)
    summary = json.loads((tmp_path / "judged" / "summary.json").read_text(), parse_constant=no_nan)
    wanted = [*experiment(name).data.diagnostics(), "memorization"]
    verdicts = {v["diagnostic"]: v for v in summary["verdicts"]}
    assert list(verdicts) == wanted
    page = (tmp_path / "judged" / "report.html").read_text()
    for diagnostic in wanted:
        assert verdicts[diagnostic]["verdict"] in ("pass", "fail", "open", "not computed"), verdicts[diagnostic]
        assert "nan" not in verdicts[diagnostic]["text"].lower().split()
        assert diagnostic.replace("_", " ") in page
        if verdicts[diagnostic]["verdict"] != "not computed":
            assert any(m["value"] is not None and m["error"] is not None for m in summary[diagnostic].values())
            assert diagnostic in judged.table.replace(" ", "_")
    assert sum(v["verdict"] != "not computed" for v in verdicts.values()) > 1
    assert "Traceback" not in page and ">nan" not in page
    with xr.open_dataset(tmp_path / "judged/diagnostics.nc", group=f"{wanted[0]}/reference") as result:
        reference = load_ensemble(run / "data" / "test.h5")
        domain = experiment(name).data
        assert result.attrs["n_independent"] == len(units(domain, domain.restrict(reference, reference)))


@every_domain
def test_its_metrics_are_numbers_and_a_resumed_training_goes_on(name, trained, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(trained(name), runs / trained(name).name)
    steps = experiment(name).training.steps
    more = [f"dataset={trained(name).parents[1] / name}.h5", "tracking.uri=off", f"training.steps={steps + 3}"]
    run = train(load_config(config(name), more), runs, resume=True, device="cpu")
    assert is_complete(run)
    metrics = [(e["step"], e["metrics"]) for e in read_journal(run) if "metrics" in e]
    assert metrics[-1][0] == steps + 3
    assert all(math.isfinite(value) for _, one in metrics for value in one.values())
    assert any("validation/ratio_mean" in one for _, one in metrics)


@every_domain
def test_a_given_condition_is_taken_within_what_was_trained_and_refused_outside(name, trained, tmp_path, capsys):
    train_part = load_ensemble(trained(name) / "data" / "train.h5")
    for label in labels(name):
        low, high = float(train_part[label].min()), float(train_part[label].max())
        command = ["sample", str(trained(name)), "-n", "2", "--device", "cpu", "-o", str(tmp_path / f"{label}.h5")]
        assert main([*command, "--condition", f"{label}={high + 10 * (high - low):g}"]) == 2
        said = capsys.readouterr().err
        assert label in said and "Traceback" not in said and not (tmp_path / f"{label}.h5").exists()
        middle = float(f"{(low + high) / 2:.6g}")
        assert main([*command, "--condition", f"{label}={middle}"]) == 0
        made = load_ensemble(tmp_path / f"{label}.h5")
        np.testing.assert_allclose(made[label].values, middle, rtol=1e-6)
    command = ["sample", str(trained(name)), "-n", "2", "--device", "cpu", "-o", str(tmp_path / "b.h5")]
    assert main([*command, "--condition", "no_such_label=1"]) == 2 and not (tmp_path / "b.h5").exists()


@every_domain
def test_its_served_model_draws(name, trained):
    draw = load_sampler(trained(name) / "model")
    made = draw(np.array([1, 2, 1]), experiment(name).sampling.steps, None)
    whole = data(name)[1]
    assert made.shape == (3, *flatten(whole).shape[1:]) and np.isfinite(made).all()
    assert np.array_equal(made[0], made[2]) and not np.array_equal(made[0], made[1])
