"""The undecimated U-Net: several levels that commute with every translation, with the weights of the decimated one."""

import itertools
from pathlib import Path

import pytest
import torch

from physgen.config import load_config
from physgen.domains.contract import get_domain, list_domains
from physgen.errors import InputError
from physgen.networks.layers import PeriodicConvolution
from physgen.networks.resolution import downsample, moving_average, upsample
from physgen.networks.unet import UNet
from physgen.runs.encoding import fit_encoding

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GRIDS = {1: [(11,), (16,)], 2: [(5, 7), (8, 12)], 3: [(4, 5, 7), (4, 4, 8)]}
OPTIONS = {"multipliers": (1, 2, 2), "attention": True, "inject": True, "blocks": 2}


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seeded():
    """Initial weights come from torch's global generator: the same in any order of the tests."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def trained_like(network):
    """The network in float64 with no parameter at zero, as after training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval().requires_grad_(False)


def worst_shift_error(call, x, channels):
    """Largest relative change of call(x, channels) under any shift of one to three sites along each axis."""
    output, axes = call(x, channels), tuple(range(2, x.ndim))
    errors = []
    for shift in itertools.product(range(3), repeat=len(axes)):
        moved = call(x.roll(shift, axes), channels.roll(shift, axes))
        errors.append(float((moved - output.roll(shift, axes)).abs().max() / output.abs().max()))
    return max(errors)


@pytest.mark.parametrize(("dimension", "grid"), [(d, grid) for d, grids in GRIDS.items() for grid in grids])
def test_every_shift_commutes_with_every_level(dimension, grid):
    network = trained_like(UNet(dimension, condition_channels=2, width=8, undecimated=True, **OPTIONS))
    assert network.stride == 1

    def call(x, channels):
        return network(x, torch.full((len(x),), 0.3, dtype=x.dtype), {"channels": channels})

    assert worst_shift_error(call, draw(2, 1, *grid), draw(2, 2, *grid, seed=2)) < 1e-12


def test_the_decimated_network_does_not_commute_with_these_shifts():
    """So that the test above can fail."""
    network = trained_like(UNet(2, condition_channels=2, width=8, **OPTIONS))

    def call(x, channels):
        return network(x, torch.full((len(x),), 0.3, dtype=x.dtype), {"channels": channels})

    assert worst_shift_error(call, draw(2, 1, 8, 12), draw(2, 2, 8, 12, seed=2)) > 1e-2


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_moving_averages_are_the_mean_of_the_decimated_pair_over_the_positions_of_the_blocks(dimension):
    x = draw(2, 3, *[4, 6, 8][:dimension])
    every_second = (..., *[slice(None, None, 2)] * dimension)
    torch.testing.assert_close(moving_average(x, -1)[every_second], downsample(x), rtol=0, atol=1e-14)
    axes = tuple(range(2, x.ndim))
    cycles = [
        upsample(downsample(x.roll(shift, axes))).roll([-n for n in shift], axes)
        for shift in itertools.product((0, 1), repeat=dimension)
    ]
    smooth = moving_average(moving_average(x, -1), 1)
    torch.testing.assert_close(smooth, torch.stack(cycles).mean(0), rtol=0, atol=1e-14)
    mirrored = moving_average(moving_average(x.flip(axes), -1), 1).flip(axes)
    torch.testing.assert_close(smooth, mirrored, rtol=0, atol=1e-14)  # centred


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_dilated_convolution_is_the_plain_one_on_every_second_site(dimension):
    plain, dilated = (PeriodicConvolution(dimension, 3, 4, dilation=n).double() for n in (1, 2))
    dilated.load_state_dict(plain.state_dict())
    x = draw(2, 3, *[4, 6, 8][:dimension])
    every_second = (..., *[slice(None, None, 2)] * dimension)
    torch.testing.assert_close(dilated(x)[every_second], plain(x[every_second]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_both_networks_have_the_same_weights_and_agree_on_constant_fields(dimension):
    networks = [UNet(dimension, condition_channels=2, width=8, undecimated=u, **OPTIONS) for u in (False, True)]
    decimated, undecimated = networks[0], networks[1]
    trained_like(decimated)
    undecimated.double().eval().load_state_dict(decimated.state_dict())
    ones = torch.ones(2, 1, *[8] * dimension, dtype=torch.float64)
    x, condition, c_noise = (
        draw(2, 1, *[1] * dimension) * ones,
        {"channels": ones.expand(2, 2, *ones.shape[2:])},
        draw(2),
    )
    wanted = decimated(x, c_noise, condition)
    size = float(wanted.abs().max())
    assert size > 1e-3
    torch.testing.assert_close(undecimated(x, c_noise, condition), wanted, rtol=0, atol=1e-10 * size)
    decimated.load_state_dict(undecimated.state_dict())


def test_every_parameter_learns(every_parameter_learns):
    network = UNet(2, condition_channels=1, width=8, multipliers=(1, 2), inject=True, undecimated=True)
    trained_like(network).requires_grad_(True)
    x, c_noise, condition = draw(3, 1, 5, 7), draw(3), {"channels": draw(3, 1, 5, 7)}
    every_parameter_learns(network, lambda: network(x, c_noise, condition).square().sum())


def test_a_grid_smaller_than_the_dilation_gets_one_clear_message():
    network = UNet(2, width=8, multipliers=(1, 1, 1), undecimated=True)
    assert network(torch.zeros(1, 1, 4, 4), torch.zeros(1)).shape == (1, 1, 4, 4)  # padding equal to the grid
    with pytest.raises(ValueError, match=r"undecimated U-Net of 3 levels needs every grid size >= 4, got \(5, 3\)"):
        network(torch.zeros(1, 1, 5, 3), torch.zeros(1))


@pytest.mark.parametrize("name", [d for d in list_domains() if get_domain(d).network_kind == "unet"])
def test_a_config_of_every_domain_reaches_the_option(name):
    override = "network={kind: unet, width: 8, multipliers: [1, 2, 2], undecimated: true}"
    experiment = load_config(CONFIGS / name / "smoke.yaml", [override])
    ensemble = experiment.data.simulate(seed=1)
    if not experiment.data.fit_encoding(ensemble).get("periodic", True):
        with pytest.raises(InputError, match="leave undecimated out"):
            encoding = fit_encoding(experiment.data, ensemble)[0]
            experiment.data.network(experiment.network.model_dump(), encoding.for_network)
        return
    encoding, x, condition = fit_encoding(experiment.data, ensemble)
    network = trained_like(experiment.data.network(experiment.network.model_dump(), encoding.for_network))
    x, condition = x[:2].double(), {key: value[:2].double() for key, value in condition.items()}

    def call(x, channels):
        given = condition | ({"channels": channels} if "channels" in condition else {})
        return network(x, torch.zeros(len(x), dtype=x.dtype), given)

    assert network.stride == 1
    assert worst_shift_error(call, x, condition.get("channels", torch.zeros_like(x))) < 1e-12
