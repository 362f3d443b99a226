"""Every key of a configuration acts: changing it changes what it governs. A key that is marked as an option of
execution changes nothing of the result. Whoever adds a key adds a line here, or the walk fails."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from physgen.config import MonitorConfig, check_config, experiment_model, load_config
from physgen.config.explain import walk_keys
from physgen.domains.contract import list_domains
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.networks.dit import DiTOptions
from physgen.networks.message_passing import MessageOptions
from physgen.networks.unet import UNetOptions
from physgen.runs.folder import create_run, open_run
from physgen.runs.model import build_denoiser
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.tracking.journal import read_journal

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PARALLEL_TEMPERING = {
    "data.method": "parallel_tempering", "data.sweeps": 2048, "data.ladders": 4, "data.instances": 3,
    "data.temperatures": ["1.5 J", "2.0 J"],
}  # fmt: skip
# domain -> the smallest data of it, over smoke.yaml
SMALLEST = {
    "cosmology": {"data.cells": 8, "data.particles": 8, "data.steps": 2, "data.simulations": 8},
    "spins": {"data.instances": 8, "data.replicas": 4, "data.method": "transfer_matrix"},
}
# key -> the value it is changed to, and what else the run needs for the key to mean something
DATA = {
    "cosmology": {
        "cells": (16, {}), "dimension": (3, {}), 
        "box_size": ("96 Mpc/h", {"data.thickness": "24 Mpc/h", "data.cells": 16}),
        "thickness": ("8 Mpc/h", {}), "slabs_per_axis": (1, {}), "simulations": (9, {}),
        "particles": (10, {}), "mesh_factor": (2.0, {}), "steps": (3, {}), "redshift": (1.0, {}),
        "Omega_m": ([0.1, 0.4], {}), "sigma_8": ([0.7, 1.0], {}), "Omega_b": (0.03, {}), "h": (0.7, {}),
        "n_s": (1.0, {}), "linear_power": ("camb", {"data.simulations": 2}), "painting": ("particles", {}),
        "simulator": ("2lpt", {}), "first_simulation": (3, {}),
        "mass_assignment": ("TSC", {}), "interlaced": (True, {"data.transform": "asinh"}), "redshift_space": (True, {}),
        "transform": ("log", {}),
        "snapshots": (2, {}), "highest_redshift": (1.0, {"data.snapshots": 2}), "zero_mode": ("encoded", {}),
        "cosmology": ("Planck18", {}),
    },
    "spins": {
        "model": ("ferromagnet", {}), "couplings": ("bimodal", {}), "dimension": (1, {}), "length": (5, {}),
        "boundary": ("free", {}), "temperatures": (["1.0 J", "2.1 J"], {}), "instances": (9, {}), "replicas": (5, {}),
        "method": ("enumeration", {}), "sweeps": (4096, PARALLEL_TEMPERING), "ladders": (2, PARALLEL_TEMPERING),
        "hottest": ("3.0 J", PARALLEL_TEMPERING), "order": ("checkerboard", PARALLEL_TEMPERING),
        "kernel": ("general", PARALLEL_TEMPERING | {"data.couplings": "bimodal"}),
        "degree": (4, {"data.model": "random_regular", "data.length": 8, "data.method": "enumeration"}),
        "bond_fraction": (0.5, {}), "uniform_field": ("0.5 J", {}), "random_field": ("0.5 J", {}),
    },
}  # fmt: skip
# key -> the value it is changed to, what else it needs, and the outcome that shows it
GENERAL = {
    "split.train": (0.4, {"split.validation": 0.4}, "parts"),
    "split.validation": (0.3, {"split.test": 0.1}, "parts"),
    "split.test": (0.1, {"split.validation": 0.3}, "parts"),
    "split.units": (6, {}, "parts"),
    "split.train_units": (3, {}, "parts"),
    "split.train_from": (1, {"split.train_units": 3}, "parts"),
    "split.corner": ({"Omega_m": [0.1, 0.25]}, {}, "parts with labels"),
    "seed": (5, {}, "weights"),
    "diffusion.process": ("masked", {"sampling.sampler": "unmasking", "sampling.levels": None}, "weights or refused"),
    "diffusion.loss": ("likelihood", {}, "weights"),
    "diffusion.head": ("v", {}, "weights or refused"),
    "diffusion.s_min": (0.3, {}, "weights"),
    "diffusion.s_max": (7.0, {}, "weights"),
    "diffusion.noise_levels.kind": ("log_normal", {}, "weights"),
    "diffusion.noise_levels.log_mean": (0.5, {"diffusion.noise_levels.kind": "log_normal"}, "weights"),
    "diffusion.noise_levels.log_std": (0.5, {"diffusion.noise_levels.kind": "log_normal"}, "weights"),
    "diffusion.noise_levels.sde": ("cosine", {"diffusion.noise_levels.kind": "schedule"}, "weights"),
    "network.kind": ("no_such_network", {}, "refused"),
    "training.steps": (4, {}, "weights"),
    "training.batch_size": (3, {}, "weights"),
    "training.learning_rate": (2e-3, {}, "weights"),
    "training.warmup": (1, {}, "weights"),
    "training.weight_decay": (0.1, {}, "weights"),
    "training.clip": (1e-4, {}, "weights"),
    "training.ema_exponent": (1.0, {}, "weights"),
    "training.averages": (2, {}, "files"),
    "training.precision": ("bfloat16", {}, "weights"),
    "training.augment": (False, {}, "weights"),
    "training.target": ("conditional", {}, "weights or refused"),
    "training.target_sweeps": (3, {"training.target": "conditional"}, "weights or refused"),
    "diffusion.label_dropout": (0.9, {}, "weights"),
    "training.calibration": (4, {}, "weights or refused"),
    "training.validation_size": (2, {}, "record"),
    "sampling.sampler": ("ancestral", {}, "samples"),
    "sampling.steps": (5, {"sampling.sampler": "ancestral"}, "samples"),
    "sampling.levels": ("chosen", {}, "samples or refused"),
    "sampling.n": (3, {}, "samples"),
    "judging.tolerances": ({"first": 1e-3}, {}, "verdict"),
    "judging.false_alarms": (0.2, {}, "verdict"),
    "judging.confidence": (0.6, {}, "verdict"),
    "tracking.experiment": ("elsewhere", {}, "record"),
    "tracking.register_as": ("another", {}, "record"),
    "tracking.sweep": ("widths", {}, "record"),
}
TARGETS = ("training.target", "training.target_sweeps")
# options of execution: the weights, the samples and the data are the same
EXECUTION = {
    "copy_dataset": False,
    "training.validate_every": 1,
    "training.checkpoint_every": 1,
    "training.keep_checkpoints": 1,
    "training.log_every": 1,
}
# of the loop, the parts, the judge and the record, which know no physics: each in one domain, in turns
ALIKE = [
    key for key in (*GENERAL, *EXECUTION)
    if key.startswith(("split.", "training.", "judging.", "tracking.")) or key == "copy_dataset"
    if key not in ("split.corner", "training.augment", "training.calibration", "training.precision", "training.target")
]  # fmt: skip
ELSEWHERE = {  # keys with a test of their own below
    "schema_version", "name", "domain", "dataset", "training.compile", "tracking.uri",
    "training.start",  # tests/stages/test_starting.py
    "judging.deconvolve", "judging.mass_assignment", "judging.shot_noise",  # tests/stages/test_correction.py
} | {f"training.monitor.{key}" for key in MonitorConfig.model_fields}  # fmt: skip  # tests/stages/test_monitor.py
NETWORKS = {
    "unet": {"width": 16, "multipliers": [1], "blocks": 2, "attention": True, "dropout": 0.5, "inject": True,
             "undecimated": True},
    "dit": {"width": 16, "depth": 1, "heads": 1, "patch": 1, "expansion": 2, "overlap": 1, "window": 1, "dropout": 0.5},
    "message_passing": {"width": 4, "depth": 1, "iterations": 1, "damping": 0.1},
}  # fmt: skip
OPTIONS = {"unet": UNetOptions, "dit": DiTOptions, "message_passing": MessageOptions}
# clocks, the digest of the whole configuration, and what holds entries that stand for themselves
LEFT_OUT = ("time", "seconds", "cpu_seconds", "train/samples_per_second", "physgen.config", "metrics", "tags")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(domain, words) -> the folder of a run of three steps; each is trained once."""
    return Runs(tmp_path_factory.mktemp("keys"))


class Runs:
    """What comes of a configuration, made once for each."""

    def __init__(self, folder):
        self.folder = folder
        self.data = functools.cache(self._data)
        self.trained = functools.cache(self._trained)

    def experiment(self, domain, words=()):
        chosen = {
            **SMALLEST[domain], "network.width": 8, "training.steps": 3, "training.batch_size": 2, "training.warmup": 2,
            "training.validation_size": 3, "sampling.steps": 4, "sampling.n": 64, "tracking.uri": "off",
            "sampling.levels": "log-uniform",  # no check of others on the network, which costs as much as the training
            "dataset": str(self.folder / f"{domain}.h5"),
        } | dict(words)  # fmt: skip
        return load_config(CONFIGS / domain / "smoke.yaml", [f"{key}={json.dumps(v)}" for key, v in chosen.items()])

    def _data(self, domain):
        path = self.folder / f"{domain}.h5"
        return simulate(self.experiment(domain), path)

    def _trained(self, domain, words):
        self.data(domain)
        number = len(list(self.folder.glob("runs*")))
        return train(self.experiment(domain, json.loads(words)), self.folder / f"runs{number}", device="cpu")

    def run(self, domain, words):
        return open_run(self.trained(domain, json.dumps(words)))

    # outcomes

    def parts(self, domain, words):
        run = create_run(self.experiment(domain, words), self.folder / f"parts{len(list(self.folder.glob('parts*')))}",
                         load_ensemble(self.data(domain)))  # fmt: skip
        return [digest(run.part(name)) for name in ("train", "validation", "test")]

    def weights(self, domain, words):
        described = json.loads((self.run(domain, words).folder / "model" / "model.json").read_text())
        return described["weights_sha256"]

    def files(self, domain, words):
        folder = self.run(domain, words).folder
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    def record(self, domain, words):
        """The journal without clocks and places, and the experiment that it is sent to."""
        run = self.run(domain, words)
        told = [
            {key: value for key, value in (entry | entry.get("metrics", {}) | entry.get("tags", {})).items()
             if key not in LEFT_OUT and not key.startswith("system/")}
            for entry in read_journal(run.folder)
            if entry.get("event") not in ("params", "artifact", "dataset")  # the whole configuration stands there
        ]  # fmt: skip
        return json.dumps([told, run.experiment.tracking.experiment]).replace(str(run.folder.parent), "")

    def samples(self, domain, words):
        run = self.run(domain, {})  # the weights do not depend on how they are used
        settings = self.experiment(domain, words)
        used = type(run)(run.folder, settings)
        path = self.folder / f"drawn{len(list(self.folder.glob('drawn*')))}.h5"
        return digest(load_ensemble(sample(used, path, DrawOptions(), "cpu")))

    def verdict(self, domain, words):
        from physgen.stages.evaluation import evaluate_ensembles

        experiment = self.experiment(domain, words)
        whole = load_ensemble(self.data(domain))
        found = experiment.data.diagnostics()
        diagnostic = found.get("one_point") or found["magnetization"]
        only = type("Only", (type(experiment.data),), {"diagnostics": lambda self: {"first": diagnostic}})()
        return repr(evaluate_ensembles(whole, whole, domain=only, judging=experiment.judging).verdicts)


def digest(ensemble):
    """sha256 of all values of an ensemble, attributes left out: they hold the configuration."""
    hashed = hashlib.sha256()
    for name in sorted(map(str, ensemble.variables)):
        values = np.ascontiguousarray(ensemble[name].values)
        hashed.update(f"{name}{values.shape}{values.dtype}".encode() + values.tobytes())
    return hashed.hexdigest()


def data_outcome(experiment):
    """What the ``data`` section governs: the ensemble, and how the core sees it."""
    ensemble = experiment.data.simulate(experiment.seed)
    x, _ = experiment.data.encode(ensemble, experiment.data.fit_encoding(ensemble))
    return digest(ensemble), hashlib.sha256(x.numpy().tobytes()).hexdigest()


def keys_of(domain):
    return dict(walk_keys(experiment_model(domain)))


def is_execution(field):
    return bool((field.json_schema_extra or {}).get("execution"))


@pytest.mark.parametrize("domain", list_domains())
def test_the_walk_meets_every_key(domain):
    """Those of the data of a domain that has no table here are its own to test."""
    keys = keys_of(domain)
    own = {key for key in keys if key.startswith("data.")}
    data = {f"data.{name}" for name in DATA[domain]} | {"data.device"} & own if domain in DATA else own
    assert set(keys) == set(GENERAL) | set(EXECUTION) | ELSEWHERE | data
    marked = {key for key, field in keys.items() if is_execution(field)}
    assert marked - {"data.device"} == set(EXECUTION) | {"training.compile", "tracking.uri"}
    for kind, options in OPTIONS.items():
        assert set(NETWORKS[kind]) == {"width", *options.__dataclass_fields__}


@pytest.mark.parametrize(("domain", "key"), [(domain, key) for domain in DATA for key in DATA[domain]])
def test_a_key_of_the_data_changes_the_data(domain, key, runs):
    value, needs = DATA[domain][key]
    base = _data_of(runs, domain, json.dumps(needs))
    assert data_outcome(runs.experiment(domain, needs | {f"data.{key}": value})) != base


@functools.cache
def _data_of(runs, domain, needs):
    return data_outcome(runs.experiment(domain, json.loads(needs)))


def places(keys):
    """(domain, key): every domain, or one for what acts alike in all."""
    found = list(DATA)
    for key in keys:
        for domain in [found[ALIKE.index(key) % len(found)]] if key in ALIKE else found:
            yield domain, key


@pytest.mark.parametrize(("domain", "key"), [*places(GENERAL)])
def test_a_key_changes_what_it_governs(domain, key, runs):
    value, needs, shown = GENERAL[key]
    # of fields of real numbers, or of spins alone
    without = runs.experiment(domain).data.values.has_prior == (key in (*TARGETS, "diffusion.process"))
    if shown == "refused" or "refused" in shown and without:
        with pytest.raises(InputError, match="network kind" if shown == "refused" else key):
            runs.weights(domain, needs | {key: value})
        return
    needs_value = key == "diffusion.process"  # without it what it needs would be refused
    if "labels" in shown and domain != "cosmology":
        with pytest.raises(InputError, match="which is no label of these data"):
            runs.parts(domain, {key: value})
        return
    outcome = getattr(runs, shown.split()[0])
    held_by_split = key in ("split.train", "split.validation", "split.test")
    assert outcome(domain, needs | {key: value}) != outcome(domain, {} if held_by_split or needs_value else needs)


@pytest.mark.parametrize("domain", DATA)
def test_what_changes_nothing_of_the_record_leaves_it_as_it_is(domain, runs):
    """Without which any two records would differ, by a clock or a place."""
    assert runs.record(domain, {"judging.confidence": 0.6}) == runs.record(domain, {})


@pytest.mark.parametrize(("domain", "key"), [*places(EXECUTION)])
def test_an_option_of_execution_changes_nothing_of_the_result(domain, key, runs):
    assert runs.weights(domain, {key: EXECUTION[key]}) == runs.weights(domain, {})


def network_outcome(run, asked):
    """What a network of these options makes of two configurations in training mode, its weights drawn at random."""
    encoding, part = run.encoding(), run.part("train")
    denoiser = build_denoiser(run.domain, asked.network.model_dump(), 0, encoding, None, asked.diffusion).train()
    x, condition = run.domain.encode(part, encoding.domain)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for parameter in denoiser.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        made = denoiser(x[:2], torch.ones(2), {name: value[:2] for name, value in condition.items()})
    return [tuple(p.shape) for p in denoiser.parameters()], made.numpy().tobytes()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("domain", DATA)
def test_an_option_of_the_network_changes_the_network(domain, kind, runs):
    """One training shows that the section is what is trained; the options are seen in the network that it builds."""
    base = {"network": {"kind": kind, "width": 8} | ({"multipliers": [1, 2]} if kind == "unet" else {})}
    try:
        run = runs.run(domain, base)
    except InputError as error:
        assert "network kind" in str(error)  # this domain has no such network
        return
    plain = network_outcome(run, runs.experiment(domain, base))
    assert plain == network_outcome(run, run.experiment)
    for name, value in NETWORKS[kind].items():
        words = {"network": base["network"] | {name: value}}
        try:
            assert network_outcome(run, runs.experiment(domain, words)) != plain, name
        except InputError as error:
            assert name in str(error)


def test_the_name_is_that_of_the_folder_and_the_dataset_that_of_the_data(runs, tmp_path):
    domain = next(iter(DATA))
    assert runs.run(domain, {"name": "other"}).folder.name == "other"
    other = simulate(runs.experiment(domain, {"seed": 9}), tmp_path / "other.h5")
    assert runs.weights(domain, {"dataset": str(other)}) != runs.weights(domain, {})


def test_the_version_of_the_schema_and_the_domain_are_checked():
    for wrong in ({"schema_version": 7, "domain": next(iter(DATA))}, {"domain": "no_such_physics"}):
        with pytest.raises(InputError, match="schema_version|no_such_physics"):
            check_config({"name": "t"} | wrong)


def test_compiling_is_asked_for_and_changes_nothing_else(runs, monkeypatch):
    """The compiler itself is torch's; that it is called, of the network and once, is ours."""
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network, **options: asked.append(options))
    domain = next(iter(DATA))
    assert runs.weights(domain, {"training.compile": True}) == runs.weights(domain, {})
    assert asked == [{"dynamic": False}]


def test_where_a_run_is_tracked_changes_nothing_of_it(runs, tmp_path):
    domain = next(iter(DATA))
    words = {"tracking.uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    assert runs.weights(domain, words) == runs.weights(domain, {})


@pytest.mark.parametrize("domain", DATA)
def test_a_rule_of_levels_that_cannot_act_is_refused_when_drawing(domain, runs, tmp_path):
    """Kinds of value without a prior spectrum have no surrogate on which levels could be checked."""
    run, options = runs.run(domain, {}), DrawOptions(n=2, levels="checked")
    if run.domain.values.has_prior:
        assert load_ensemble(sample(run, tmp_path / "new.h5", options, "cpu")).attrs["levels"]
        return
    with pytest.raises(InputError, match="levels = 'checked' has no effect"):
        sample(run, tmp_path / "new.h5", options, "cpu")
    assert not list(tmp_path.iterdir())
