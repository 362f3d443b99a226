"""Flow maps: exact for Gaussian fields at any number of steps, and the teacher's weights at the start."""

import math

import pytest
import torch

from physgen.diffusion.distillation.flow_map import FlowMap, angle, midpoint, rest, teachers_way
from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.learning.denoisers import FieldDenoiser, SpinDenoiser
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.modal import White
from physgen.diffusion.sampling.samplers import sample
from physgen.networks.mlp import MLP
from physgen.networks.unet import UNet

GRID = (8, 8)


def _power():
    k = torch.arange(8.0).minimum(8 - torch.arange(8.0))
    return (4.0 / (1 + k[:, None] ** 2 + k[None, :] ** 2) ** 2)[None]  # (1, 8, 8), fftn order, 4 to 0.004


def _spectrum():
    return Spectrum(_power()[None, ..., :5].log(), GRID)


def _network(**options):
    torch.manual_seed(0)
    return UNet(2, width=8, multipliers=(1, 2), **options)


def _trained(labels=0):
    """A U-Net whose zero layers are not zero."""
    network = _network(labels=labels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


@pytest.mark.parametrize("sampler", ["flow_map", "consistency"])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_gaussian_field_is_drawn_exactly_at_any_number_of_steps(sampler, steps):
    network = MLP(64, width=8, blocks=1)  # its last layer is zero: G = 0
    student = FlowMap.of(FieldDenoiser(network, _spectrum()).double())
    levels = torch.cat([torch.logspace(0.5, -1, steps, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    count = 512
    drawn = sample(student, levels, (count, 1, *GRID), 1, sampler=sampler, dtype=torch.float64)
    power = torch.fft.fftn(drawn, dim=(2, 3), norm="ortho").abs().square().mean(0)
    # |mode|^2 is chi^2 of two degrees of freedom (one where the mode is real): error of the mean at most sqrt(2/count)
    assert float((power / _power() - 1).abs().max()) < 5 * math.sqrt(2 / count)
    if sampler == "flow_map":  # its end is the white noise with the root of the power: exactly, whatever the levels
        white = noise_like(1, "sampler start", range(count), (1, *GRID), 0, torch.float64)
        expected = torch.fft.ifftn(torch.fft.fftn(white, dim=(2, 3)) * _power().sqrt(), dim=(2, 3)).real
        torch.testing.assert_close(drawn, expected, rtol=1e-6, atol=1e-6)


def test_the_map_is_that_of_the_exact_flow_of_a_gaussian_field():
    student = FlowMap.of(FieldDenoiser(_network(), _spectrum()).double())
    y = torch.randn(2, 1, *GRID, dtype=torch.float64)
    s, r = torch.tensor([3.0, 0.7]).double(), torch.tensor([0.2, 0.0]).double()
    power = _power().double()
    factor = ((power + r[:, None, None, None] ** 2) / (power + s[:, None, None, None] ** 2)).sqrt()
    expected = torch.fft.ifftn(torch.fft.fftn(y, dim=(2, 3)) * factor, dim=(2, 3)).real
    torch.testing.assert_close(student(y, s, {"next_level": r}), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(student.baseline(y, s, {"next_level": r}), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("labels", [0, 2])
def test_it_starts_as_its_teacher_whatever_the_level_where_it_ends(labels):
    network = _trained(labels)
    teacher = FieldDenoiser(network, _spectrum())
    student = FlowMap.of(teacher)
    u, s = torch.randn(3, 1, *GRID), torch.tensor([2.0, 0.5, 0.1])
    condition = {"labels": torch.rand(3, 2)} if labels else {}
    frame = student.frame
    found = rest(teacher, frame, frame.modes(u), s, condition)
    for r in (torch.zeros(3), 0.5 * s, s):
        torch.testing.assert_close(student.mean_rest(frame.modes(u), s, r, condition), found, rtol=2e-4, atol=2e-4)
    y = torch.randn(3, 1, *GRID)
    torch.testing.assert_close(student(y, s, {**condition, "next_level": s}), y)  # no step: the identity
    assert sum(p.numel() for p in student.parameters()) < 1.5 * sum(p.numel() for p in network.parameters())


def test_the_second_level_is_learned_by_its_gradient():
    student = FlowMap.of(FieldDenoiser(_trained(), _spectrum())).requires_grad_(True)
    y, s, r = torch.randn(2, 1, *GRID), torch.ones(2), torch.tensor([0.5, 0.1])
    student(y, s, {"next_level": r}).square().sum().backward()
    last = student.network.embedding.next_level.layers[2].weight
    assert float(last.grad.abs().max()) > 0
    with torch.no_grad():
        last.normal_()
        one, other = (student.mean_rest(student.frame.modes(y), s, torch.full((2,), r)) for r in (0.1, 0.3))
    assert float((one - other).abs().max()) > 1e-3


def test_the_midpoint_rule_is_exact_for_gaussian_fields_and_of_order_two_on_a_mixture():
    field, frame = GaussianField(_power().double()), _spectrum().double()
    u = frame.modes(torch.randn(2, 1, *GRID, dtype=torch.float64))
    s, r = torch.full((2,), 3.0).double(), torch.full((2,), 0.1).double()
    torch.testing.assert_close(midpoint(field, frame, u, s, r), u, rtol=1e-6, atol=1e-6)
    law = GaussianMixture(torch.tensor([[-1.0], [1.0]]).double(), torch.tensor([0.3, 0.3]).double())
    start = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]

    def end(steps):
        levels, u = torch.logspace(0.5, -1, steps + 1, dtype=torch.float64), start
        for s, r in zip(levels[:-1], levels[1:], strict=True):
            u = midpoint(law, White(), u, s.expand(41), r.expand(41))
        return u

    exact = end(512)
    errors = [float((end(n) - exact).abs().max()) for n in (16, 32)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.25)


def test_levels_lie_at_equal_distances_along_the_way():
    student = FlowMap(MLP(1), None, sites=5)
    ln_s = torch.linspace(-2, 1, 5, dtype=torch.float64)
    student.lay_out(ln_s, torch.tensor([0.0, 1.0, 1.5, 3.0, 4.0]))
    levels = student.levels(4)
    assert levels[0] == pytest.approx(math.exp(1)) and levels[-1] == 0
    torch.testing.assert_close(student.share_of(levels[:-1]), torch.tensor([1.0, 0.75, 0.5, 0.25]).double())
    assert float(levels[3]) == pytest.approx(math.exp(-1.25))  # where the way is 1
    flow = torch.linspace(0, 1, 9)
    torch.testing.assert_close(student.share_of(student.level_at(flow)), flow.double())


def test_the_way_is_that_of_the_flow_and_none_for_a_gaussian_field():
    levels = torch.logspace(-1, 0.5, 5, dtype=torch.float64)

    def noise(i):
        return torch.randn(4, 1, *GRID, generator=torch.Generator().manual_seed(i))

    way = teachers_way(GaussianField(_power()), _spectrum(), torch.randn(4, 1, *GRID), levels, noise)
    assert float(way[-1]) < 1e-5
    # D = 0 everywhere: F_k = -u_k sqrt(P)/s, here P = 1, so the way is int s^-1 s/(1 + s^2) |u| dln s with |u| measured
    x = torch.zeros(4, 1)
    found = teachers_way(lambda y, s, c: 0 * y, White(), x, levels, lambda i: torch.ones(4, 1))
    u = levels / (1 + levels**2).sqrt()
    speed = u / (1 + levels**2)
    expected = ((speed[1:] + speed[:-1]) / 2 * levels.log().diff()).sum()
    assert float(found[-1]) == pytest.approx(float(expected), rel=1e-5)


def test_what_cannot_be_a_student_says_why():
    with pytest.raises(ValueError, match="real values"):
        FlowMap.of(SpinDenoiser(_network()))
    with pytest.raises(ValueError, match="embeds no noise level"):
        FlowMap.of(FieldDenoiser(torch.nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="flow map"):
        sample(FieldDenoiser(_network(), _spectrum()), torch.tensor([1.0, 0.0]), (1, 1, *GRID), 0, sampler="flow_map")
    student = FlowMap.of(FieldDenoiser(_network(), _spectrum()))
    from physgen.diffusion.sampling.samplers import SAMPLERS

    with pytest.raises(ValueError, match="adds noise"):
        SAMPLERS["consistency"](student, torch.tensor([1.0, 0.5, 0.0]), torch.zeros(1, 1, *GRID))


def test_angles_do_not_cancel():
    s, r, power = torch.tensor([1e-3]), torch.tensor([0.999e-3]), torch.tensor([[1.0]])
    exact = math.atan(float(s.double())) - math.atan(float(r.double()))
    assert float(angle(s, r, power, torch.zeros(1, 1))) == pytest.approx(exact, rel=1e-6)
