"""What an instance is (a digest of its Hamiltonian), and what a drawn sample depends on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from physgen.config import load_config
from physgen.diffusion.sampling.samplers import sample
from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.layout import Disorder, instance_digests, spin_ensemble
from physgen.ensemble import load_ensemble
from physgen.stages import DrawOptions, simulate, train
from physgen.stages import sample as draw_from

SMOKE = Path(__file__).resolve().parents[3] / "configs" / "spins" / "smoke.yaml"
SMALL = {"length": 4, "instances": 4, "replicas": 6, "temperatures": (0.8, 1.6), "boundary": "periodic"}


@pytest.fixture(scope="module")
def made():
    return Domain(**SMALL).simulate(seed=0)


def graph(made, order=None, flip=False):
    """The same instances as an edge list."""
    edges = lattice_edges(made.couplings.shape[2:])
    couplings = made.couplings.values.reshape(len(made.couplings), -1)
    order = np.arange(len(edges)) if order is None else order
    edges, couplings = edges[order], couplings[:, order]
    spins = made.field.values.reshape(*made.field.shape[:3], -1)
    disorder = Disorder(couplings, edges[:, ::-1] if flip else edges, None)
    return spin_ensemble(spins, disorder, made.temperature.values, np.arange(len(spins)) + 7, {})


def test_a_digest_is_of_the_hamiltonian_not_of_its_number_or_its_writing(made):
    digests = instance_digests(made)
    assert len(set(digests)) == 4
    assert np.array_equal(instance_digests(made.isel(disorder=[2, 0])), digests[[2, 0]])
    assert np.array_equal(instance_digests(made.drop_vars(["field", "energy"])), digests)
    shuffled = np.random.default_rng(0).permutation(32)
    assert np.array_equal(instance_digests(graph(made, shuffled, flip=True)), digests)


@pytest.mark.parametrize("change", ["one bond", "sign", "external field", "shifted"])
def test_another_hamiltonian_has_another_digest(made, change):
    digests, other = instance_digests(made), made.copy(deep=True)
    if change == "one bond":
        other.couplings.values[:, 0, 1, 1] *= 1.001
    elif change == "sign":
        other["couplings"] = -other.couplings
    elif change == "shifted":
        other["couplings"] = other.couplings.roll(x=1)
    else:
        field = (("disorder", "y", "x"), np.zeros((4, 4, 4)))
        assert np.array_equal(instance_digests(other.assign(external_field=field)), digests)
        field[1][:, 0, 0] = 0.1
        other = other.assign(external_field=field)
    assert not set(instance_digests(other)) & set(digests)


def drawn(template, n, seed=0, **execution):
    """Configurations of an exact denoiser at the noise streams that the domain names."""
    domain = Domain(**SMALL)
    asked = domain.request(template, n, {})
    condition = domain.condition(asked, {})

    def denoiser(y, s, condition):  # any law that depends on the condition
        tilt = condition["channels"].mean(1, keepdim=True)
        return torch.tanh(y / s.reshape(-1, 1, 1, 1) ** 2 + tilt)

    levels = torch.tensor([4.0, 1.0, 0.4, 0.0])
    shape = (len(condition["labels"]), 1, 4, 4)
    x = sample(denoiser, levels, shape, seed, condition, "dpmpp_2m", streams=list(domain.streams(asked)), **execution)
    return domain.decode(x, asked, {})


def test_a_sample_depends_on_its_condition_and_replica_alone(made):
    """Not on how many replicas, which instances and temperatures, or how many at once are drawn."""
    eight = drawn(made, 8)
    assert np.array_equal(drawn(made, 4).field, eight.field[:, :, :4])
    part = drawn(made.isel(disorder=[3, 1], temperature=[1]), 8)
    assert np.array_equal(part.field, eight.field[[3, 1]][:, [1]])
    assert np.array_equal(drawn(made, 8, tile=5).field, eight.field)
    flat = eight.field.values.reshape(64, -1)
    assert len(np.unique(flat, axis=0)) > 60  # streams differ
    assert not np.array_equal(drawn(made, 8, seed=1).field, eight.field)


def test_instances_with_equal_couplings_are_drawn_independently():
    magnet = Domain(model="ferromagnet", **SMALL)
    streams = magnet.streams(magnet.request(magnet.simulate(seed=0), 5, {}))
    assert len(set(streams.tolist())) == 4 * 2 * 5


def test_the_command_draws_the_same_first_configurations_whatever_n(tmp_path):
    words = [f"dataset={tmp_path / 'd.h5'}", "tracking.uri=off", "training.steps=3", "data.instances=8"]
    experiment = load_config(SMOKE, words)
    simulate(experiment, tmp_path / "d.h5")
    run = train(experiment, tmp_path / "runs", device="cpu")
    made = [
        load_ensemble(draw_from(run, tmp_path / f"{n}.h5", DrawOptions(n=n, steps=4, seed=5), "cpu")) for n in (4, 8)
    ]
    assert np.array_equal(made[0].field, made[1].field[:, :, :4])


def test_copies_are_found_whatever_number_their_instance_has():
    """Training configurations returned for other instances, whose numbers exist in the training set as well."""
    fields = {"length": 6, "temperatures": (1.0,), "replicas": 10, "boundary": "cylinder"}
    train_set = Domain(instances=24, **fields).simulate(seed=1)
    heldout = Domain(instances=10, **fields).simulate(seed=2)
    copied = heldout.copy(deep=True)
    copied.field.values[:] = train_set.field.values[10:20]
    domain = Domain(**fields)
    found = domain.memorization(copied, train_set, heldout)
    assert found.attrs["verdict"] == "fail" and float(found["duplicates"]) == 1
    honest = Domain(instances=10, **fields).simulate(seed=3)
    assert domain.memorization(honest, train_set, heldout).attrs["verdict"] != "fail"
