"""Fields under further fields: encoded with constants of their own, moved with the field, drawn under, and learned."""

import numpy as np
import pytest
import torch

import physgen as pg
from physgen.diffusion.draws import SampleDraws
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.domains.cosmology import Domain
from physgen.ensemble.pairing import paired_ensemble
from physgen.errors import InputError

CELLS, NOISE = 8, 0.6


def signal_power():
    """Variance of the modes (CELLS, CELLS) of a red field."""
    k2 = sum(np.square(k) for k in np.meshgrid(*[np.fft.fftfreq(CELLS) * CELLS] * 2, indexing="ij"))
    return 4 / (1 + k2 / 2) ** 1.5


def observed(count, seed):
    """Pairs: a red Gaussian field, and the same with white noise of variance NOISE^2 as its condition ``noisy``."""
    white = np.random.default_rng(seed).standard_normal((2, count, CELLS, CELLS))
    signal = np.fft.ifft2(np.fft.fft2(white[0]) * np.sqrt(signal_power())).real
    made = []
    for values in (signal, 5 * (signal + NOISE * white[1])):  # in another unit, which its own encoding takes off
        one = pg.from_array(values.astype(np.float32), box_size="16 Mpc/h", labels={"simulation": np.arange(count)})
        one["start"] = ("sample", np.arange(count), {"role": "pairing"})
        about = {"domain": "cosmology", "field_kind": "real", "periodic": 1, "independent_unit": "simulation"}
        made.append(one.assign_attrs(about))
    return paired_ensemble(*made, "noisy")


@pytest.fixture(scope="module")
def pairs():
    return observed(800, 0)


@pytest.fixture(scope="module")
def domain():
    return Domain(transform="asinh")


@pytest.fixture(scope="module")
def encoded(domain, pairs):
    """constants, x, condition of the pairs."""
    constants = domain.fit_encoding(pairs)
    return constants, *domain.encode(pairs, constants)


def test_a_condition_has_zero_mean_and_unit_variance_by_its_own_constants(encoded):
    constants, x, condition = encoded
    assert condition["channels"].shape == x.shape == (800, 1, CELLS, CELLS)
    for values in (x, condition["channels"]):
        assert abs(float(values.mean())) < 0.02 and abs(float(values.std()) - 1) < 0.02
    assert list(constants["condition_fields"]) == ["noisy"] and "noisy" not in constants["labels"]


def test_a_move_takes_the_condition_along(domain, encoded):
    constants, x, condition = encoded
    some = {"channels": x[:20].clone()}
    moved, with_it = domain.augment(x[:20], some, SampleDraws(3, "moves", range(20)), constants)
    assert torch.equal(moved, with_it["channels"]) and not torch.equal(moved, x[:20])


def test_a_request_keeps_what_is_drawn_under(domain, pairs, encoded):
    constants = encoded[0]
    template = domain.request(pairs, 3, {}, constants)
    assert {"noisy", "start", "simulation"} <= set(template.variables) and "field" not in template
    channels = domain.condition(template, constants)["channels"]
    rows = template["start"].values
    assert torch.equal(channels, encoded[2]["channels"][torch.from_numpy(rows)])
    with pytest.raises(InputError, match="the field 'noisy' is missing"):
        domain.condition(pairs.drop_vars("noisy"), constants)


def test_the_network_learns_the_wiener_filter(domain, encoded):
    """Beyond all signal D(y, s, c) is E[x | c], the Wiener filter of c: r(k) with it, and its power, in every shell."""
    constants, x, condition = encoded
    torch.manual_seed(0)
    shapes = {"grid": [CELLS] * 2, "channels": 1, "condition_shapes": {"channels": [1, CELLS, CELLS]}}
    network = domain.network({"width": 8, "multipliers": [1], "blocks": 1}, {**constants, **shapes})
    recipe = Recipe(steps=160, batch_size=64, learning_rate=1e-2, warmup=20, level_distribution=lambda u: 3 + 20 * u)
    state = TrainingState(domain.values.denoiser(network), recipe)
    for _ in train(state, x, condition, augment=lambda *a: domain.augment(*a, constants)):
        pass
    fresh = observed(300, 1)
    channels = domain.condition(fresh, constants)["channels"]
    with torch.no_grad():
        noise = torch.randn(channels.shape, generator=torch.Generator().manual_seed(2))
        mean = state.model(20 * noise, torch.full((300,), 20.0), {"channels": channels})[:, 0].numpy()
    wiener = signal_power() / (signal_power() + NOISE**2)
    exact = np.fft.fft2(fresh["noisy"].values / 5) * wiener
    found = np.fft.fft2(mean)
    k = np.sqrt(sum(np.square(k) for k in np.meshgrid(*[np.fft.fftfreq(CELLS) * CELLS] * 2, indexing="ij")))
    for low in range(1, 4):
        shell = (k >= low) & (k < low + 1)
        cross = (found * exact.conj()).real[:, shell].sum()
        norms = [np.square(np.abs(modes[:, shell])).sum() for modes in (found, exact)]
        assert cross / np.sqrt(norms[0] * norms[1]) > 0.95, low
