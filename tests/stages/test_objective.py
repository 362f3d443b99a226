"""Losses, heads and processes from a configuration: each trains and draws, what makes no sense is refused first."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from physgen.config import check_config, load_config
from physgen.diffusion.learning.heads import EnergyDenoiser, PredictionDenoiser
from physgen.diffusion.learning.losses import LearnedWeight, SlicedScoreMatching, WeightedDenoising
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.masked import MaskedDenoiser
from physgen.diffusion.names import HEADS
from physgen.domains.spins.energy import lattice_energy
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.networks.mlp import MLP
from physgen.networks.unet import UNet
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages import DrawOptions, sample, simulate
from physgen.stages import train as train_run
from physgen.stages.likelihood import find_likelihood
from physgen.stages.sampling import draw_ensemble
from physgen.tracking.journal import read_validation

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = {"training.steps": 3, "training.batch_size": 4, "training.warmup": 1, "tracking.uri": "off"}


def experiment(physics, **words):
    given = {**SMALL, **{key.replace("__", "."): value for key, value in words.items()}}
    return load_config(CONFIGS / physics / "smoke.yaml", [f"{key}={json.dumps(value)}" for key, value in given.items()])


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "data.h5"
    return simulate(experiment("points"), path)


@pytest.mark.parametrize(
    ("loss", "head"),
    [("denoising", head) for head in HEADS[1:]]
    + [(loss, "preconditioned") for loss in ("likelihood", "min_snr", "learned", "implicit", "sliced")]
    + [("sliced", "energy"), ("implicit", "v")],
)
def test_every_loss_and_head_trains_and_draws(loss, head, vectors, tmp_path):
    words = {"dataset": str(vectors), "diffusion__loss": loss, "diffusion__head": head}
    run = open_run(train_run(experiment("points", **words), tmp_path, device="cpu"))
    drawn = draw_ensemble(run, DrawOptions(n=3), device="cpu")
    assert drawn.sizes["sample"] == 3 and np.isfinite(drawn["field"].values).all()
    denoiser = load_model(run.folder / "model").denoiser
    kinds = {"preconditioned": "FieldDenoiser", "energy": "EnergyDenoiser"}
    assert type(denoiser).__name__ == kinds.get(head, "PredictionDenoiser")
    assert read_validation(run.folder)["level"]


def test_contrastive_divergence_goes_on_with_its_chains_and_is_drawn_at_its_level(vectors, tmp_path):
    """A quadratic form, hardly trained: what is drawn has about the mean square of the data, not that of s_min."""
    words = {"dataset": str(vectors), "diffusion__loss": "contrastive_divergence", "diffusion__head": "energy"}
    words |= {"sampling__sampler": "mala", "network": {"kind": "dense_energy", "layers": 0}, "training__batch_size": 64}
    asked = experiment("points", **words, training__steps=6, training__checkpoint_every=3)
    whole = open_run(train_run(asked, tmp_path / "whole", device="cpu"))
    shutil.copytree(whole.folder, tmp_path / "parts" / whole.folder.name)
    shutil.rmtree(tmp_path / "parts" / whole.folder.name / "checkpoints" / "step-00000006")
    parts = open_run(train_run(asked, tmp_path / "parts", resume=True, device="cpu"))
    one, other = (load_model(run.folder / "model").denoiser.state_dict() for run in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(read_validation(whole.folder)["level"]) == 1
    drawn = draw_ensemble(whole, DrawOptions(n=200), device="cpu")
    assert drawn.attrs["sampler"] == "mala" and drawn.attrs["levels"] == "one level"
    ratio = float((drawn["field"] ** 2).mean()) / float((whole.part("train")["field"] ** 2).mean())
    assert 0.5 < ratio < 2
    with pytest.raises(InputError, match="one noise level"):
        draw_ensemble(whole, DrawOptions(n=2, sampler="heun"), device="cpu")
    with pytest.raises(InputError, match="rests on many noise levels"):
        find_likelihood(whole, whole.part("test"), device="cpu")


@pytest.mark.parametrize("loss", [SlicedScoreMatching, WeightedDenoising])
def test_gradients_through_a_gradient_are_those_of_the_network(loss):
    """The networks have kernels of their own: their second derivatives against differences of the loss."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = EnergyDenoiser(UNet(2, 1, 1, width=8, multipliers=(1, 2)))
    weights = list(denoiser.parameters())
    for weight in weights:
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    x, noise, s = *torch.randn(2, 4, 1, 8, 8, generator=generator), torch.full((4,), 0.7)
    made = {"generator": generator} if loss is SlicedScoreMatching else {}

    def value():
        generator.manual_seed(2)
        return loss(denoiser, **made)(x, s, noise, None).mean()

    value().backward()
    direction = [torch.randn(weight.shape, generator=generator) for weight in weights]
    slope = sum(float((w.grad * d).sum()) for w, d in zip(weights, direction, strict=True) if w.grad is not None)
    step, ends = 1e-3, []
    for sign in (1, -2):
        for weight, d in zip(weights, direction, strict=True):
            weight.data += sign * step * d
        ends.append(float(value().detach()))
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=3e-3, abs=3e-3)


@pytest.mark.parametrize("head", HEADS[1:])
def test_a_head_of_no_network_is_the_answer_of_its_table(head):
    """F = 0: D is 0 for x0, y for eps and the score, y/(1 + s^2) for v and the energy."""
    network = MLP(3, width=8, blocks=1)
    denoiser = EnergyDenoiser(network) if head == "energy" else PredictionDenoiser(network, head)
    y, s = torch.tensor([[[1.0], [-2.0], [0.5]]]), torch.tensor([2.0])
    expected = {"x0": 0.0, "eps": 1.0, "score": 1.0, "v": 0.2, "energy": 0.2}[head]
    assert torch.allclose(denoiser(y, s), expected * y, atol=1e-6)


UNMASKED = {"diffusion__process": "masked", "sampling__sampler": "unmasking"}
REFUSED = [
    ("points", UNMASKED, "values of \\+1 and -1"),
    ("spins", {"diffusion__process": "masked"}, "set sampling.sampler=unmasking"),
    ("spins", UNMASKED | {"diffusion__s_min": 0.2}, "s_min=0.2"),
    (
        "spins",
        UNMASKED | {"diffusion__loss": "sliced"},
        "sliced",
    ),
    ("spins", {"sampling__sampler": "unmasking"}, "does not draw diffusion.process=gaussian"),
    ("spins", {"diffusion__head": "eps"}, "head=eps is for real values"),
    (
        "points",
        {"diffusion__loss": "likelihood", "diffusion__noise_levels": {"kind": "log_normal"}},
        "levels uniform in ln s",
    ),
    ("points", {"diffusion__loss": "contrastive_divergence"}, "set diffusion.head=energy"),
    ("points", {"sampling__sampler": "mala"}, "set diffusion.head=energy"),
    ("points", {"diffusion__loss": "contrastive_divergence", "diffusion__head": "energy"}, "set sampling.sampler=mala"),
    ("points", {"diffusion__head": "v", "training__calibration": 8}, "head=preconditioned"),
    ("points", {"diffusion__loss": "implicit", "training__target": "exact"}, "training.target=exact"),
]


@pytest.mark.parametrize(("physics", "words", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_with_its_reason(physics, words, message):
    with pytest.raises(InputError, match=message):
        experiment(physics, **words)


def test_a_trace_that_no_step_can_afford_and_a_network_without_second_slopes_are_refused(tmp_path):
    data = simulate(experiment("spins"), tmp_path / "spins.h5")
    with pytest.raises(InputError, match="second derivatives"):
        attentive = {"diffusion__loss": "implicit", "network__attention": True}
        train_run(experiment("spins", dataset=str(data), **attentive), tmp_path / "a", device="cpu")
    assert not list(tmp_path.glob("a/*"))
    long = {"data__dimension": 1100, "data__count": 40, "diffusion__loss": "implicit"}
    vectors = simulate(experiment("points", **long), tmp_path / "vectors.h5")
    with pytest.raises(InputError, match="take diffusion.loss=sliced"):
        train_run(experiment("points", dataset=str(vectors), **long), tmp_path / "b", device="cpu")


def test_a_network_is_tuned_by_the_weights_of_its_own_paths(vectors, tmp_path):
    """Nothing but the conditions is used: other configurations in the same file train the same weights."""
    words = {"diffusion__loss": "path_variance", "training__batch_size": 8, "sampling__steps": 8}
    network = {"network": {"kind": "message_passing", "width": 4, "depth": 1}}
    data = simulate(experiment("spins"), tmp_path / "spins.h5")
    mirrored = load_ensemble(data)
    mirrored["field"] = mirrored["field"].copy(data=np.roll(mirrored["field"].values, 1, -1))
    save_ensemble(mirrored.drop_vars("energy"), tmp_path / "rolled.h5")
    weights = []
    for name in ("spins", "rolled"):
        made = experiment("spins", name=name, dataset=str(tmp_path / f"{name}.h5"), **words, **network)
        weights.append(load_model(train_run(made, tmp_path, device="cpu") / "model").denoiser.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(weights[0].values(), weights[1].values(), strict=True))
    for physics, wrong, message in (
        ("spins", {"training__batch_size": 12}, "8 paths of each condition, not training.batch_size=12: set it to 8"),
        ("spins", {"sampling__steps": 4}, "sampling.steps=4 levels, of which it needs 8: set more"),
        ("points", {}, "a law known up to its norm, which points does not give"),
    ):
        given = words | wrong | {"dataset": str(data if physics == "spins" else vectors)}
        with pytest.raises(InputError, match=message):
            train_run(experiment(physics, **given), tmp_path / "refused", device="cpu")
    assert not list(tmp_path.glob("refused/*"))


def test_label_dropout_is_read_where_it_once_stood():
    plain = experiment("points").resolved()
    plain["training"]["label_dropout"] = 0.3
    del plain["diffusion"]["label_dropout"]
    read = check_config(plain)
    assert read.diffusion.label_dropout == 0.3 and check_config(read.resolved()).resolved() == read.resolved()


def test_a_learned_weight_goes_on_bit_for_bit():
    """Its coefficients are trained beside the denoiser, and stand in the checkpoint, not in the model."""
    from physgen.diffusion.learning.denoisers import FieldDenoiser

    x, recipe = torch.randn(64, 3, 1, generator=torch.Generator().manual_seed(0)), Recipe(6, 8, 1e-2, warmup=1)

    def new():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return TrainingState(FieldDenoiser(MLP(3, width=8, blocks=1)), recipe, loss=LearnedWeight)

    whole, first, second = new(), new(), new()
    list(train(whole, x))
    for step in train(first, x):
        if step.step == 3:
            break
    second.load_state_dict(first.state_dict())
    list(train(second, x))
    assert float(whole.loss.coefficients.detach().abs().max()) > 1e-3
    assert torch.equal(whole.loss.coefficients, second.loss.coefficients)
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert "coefficients" not in whole.ema.state_dict()


@pytest.fixture(scope="module")
def unmasking(tmp_path_factory):
    """A masked run of 4 x 4 spins that has hardly learned: what is exact is so for any network."""
    folder = tmp_path_factory.mktemp("masked")
    words = {"diffusion__process": "masked", "sampling__sampler": "unmasking", "data__length": 4, "data__instances": 4}
    words |= {"data__temperatures": ["2.5 J"], "data__replicas": 40, "data__method": "enumeration"}
    words |= {"split__train": 0.5, "split__validation": 0.25, "split__test": 0.25, "training__steps": 30}
    one = experiment("spins", dataset=str(folder / "d.h5"), **words)
    simulate(one, folder / "d.h5")
    return open_run(train_run(one, folder / "runs", device="cpu"))


def test_masked_diffusion_trains_from_a_configuration_and_its_weights_are_exact(unmasking, tmp_path):
    """ln Z of the test instance against enumeration; both sides meet."""
    path = sample(unmasking, tmp_path / "w.h5", DrawOptions(n=400, weights=True, reverse=40), "cpu")
    drawn = load_ensemble(path)
    assert drawn.attrs["sampler"] == "weighted paths (unmasking)"
    assert set(np.unique(drawn["field"].values)) == {-1, 1}
    exact = log_partition(drawn)
    error = float(drawn["log_Z_error"].values.reshape(-1)[0])
    assert abs(float(drawn["log_Z"].values.reshape(-1)[0]) - exact) < 4 * error < 2
    assert float(drawn["log_Z_bound"].values.reshape(-1)[0]) < exact < float(drawn["log_Z_upper_bound"].values.max())


def log_partition(ensemble):
    """ln of the sum of e^(-H/T) over all states of 4 x 4 spins, from the couplings in the file."""
    states = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).reshape(1, -1, 4, 4).astype(np.int8)
    energy = 16 * lattice_energy(states, ensemble["couplings"].values[0], 2)[0]
    return float(np.logaddexp.reduce(-energy / float(ensemble["temperature"].values.reshape(-1)[0])))


def test_masked_draws_do_not_depend_on_how_many_are_asked_for(unmasking):
    few, many = (draw_ensemble(unmasking, DrawOptions(n=n, seed=3), device="cpu") for n in (2, 5))
    assert few["field"].isel(replica=slice(2)).equals(many["field"].isel(replica=slice(2)))
    assert isinstance(load_model(unmasking.folder / "model").denoiser, MaskedDenoiser)
    levels = read_validation(unmasking.folder)["level"]  # ninths of the sites
    assert len(levels) == 9 and levels[-1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "heun"}, "unmasking alone"),
        ({"levels": "checked"}, "no effect on masked"),
        ({"guidance": 2.0}, "masked diffusion has none"),
    ],
)
def test_what_rests_on_noise_is_refused_for_masked_runs(options, message, unmasking):
    with pytest.raises(InputError, match=message):
        draw_ensemble(unmasking, DrawOptions(n=2, **options), device="cpu")


def test_regimes_and_posteriors_of_a_masked_run_are_refused(unmasking, tmp_path):
    from physgen.stages.inference import infer
    from physgen.stages.observation import posterior_ensemble

    with pytest.raises(InputError, match="rests on noise levels"):
        posterior_ensemble(unmasking, unmasking.part("test"), device="cpu")
    with pytest.raises(InputError, match="rests on noise levels"):
        infer(unmasking, unmasking.part("test"), device="cpu")
