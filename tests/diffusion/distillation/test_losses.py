"""The four ways to teach a flow map: each has its optimum where it must and brings the end of the flow of a mixture."""

import math

import pytest
import torch
from scipy.stats import norm

from physgen.diffusion.distillation.flow_map import FlowMap, midpoint, teachers_way
from physgen.diffusion.distillation.losses import METHODS
from physgen.diffusion.distillation.state import StudentState
from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.learning.training import Recipe, train
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.networks.mlp import MLP

LAW = GaussianMixture(torch.tensor([[-0.8], [0.8]]), torch.tensor([0.1, 0.1]))  # variance 0.74
ROOT = math.sqrt(0.74)


def _student(width=32):
    torch.manual_seed(0)
    student = FlowMap.of(FieldDenoiser(MLP(1, width=width, blocks=2), None, ROOT)).requires_grad_(True)
    ln_s = torch.linspace(math.log(0.02), math.log(6), 17, dtype=torch.float64)
    x = LAW.sample(512, torch.Generator().manual_seed(0))
    noise = torch.randn(17, 512, 1, generator=torch.Generator().manual_seed(1))
    way = teachers_way(LAW, student.frame, x, ln_s.exp(), lambda i: noise[i])
    student.lay_out(ln_s, way / way[-1] + torch.linspace(0, 0.5, 17))
    return student


def _taught(method, steps, batch=128):
    student = _student()
    recipe = Recipe(steps, batch, 3e-3, 1, student.level_at, warmup=20)
    state = StudentState(METHODS[method](student, LAW, 4), recipe)
    x = LAW.sample(8192, torch.Generator().manual_seed(2))
    for _ in train(state, x):
        pass
    return state


def _error(student, sampler, evaluations, count=4001):
    """W1 between the image of quantiles of the start and the law: no Monte Carlo where nothing is renoised."""
    levels = student.levels(evaluations)
    z = torch.from_numpy(norm.ppf((torch.arange(count).double() + 0.5) / count)).float()[:, None]
    start = z * math.sqrt(0.74 + float(levels[0]) ** 2)
    noise = torch.randn(evaluations, count, 1, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ends = SAMPLERS[sampler](student, levels, start, None, lambda i: noise[i])[:, 0].sort().values
    x = torch.linspace(-4, 4, 20001)
    cdf = 0.5 * sum(torch.special.ndtr((x + m) / 0.1**0.5) for m in (-0.8, 0.8))
    quantile = x[torch.searchsorted(cdf, (torch.arange(count) + 0.5) / count)]
    return float((ends - quantile).abs().mean())


@pytest.mark.parametrize(
    "method, sampler, evaluations, largest",
    [
        # the start, G = 0, errs by 0.159 whatever the steps; the teacher's modal_4m at 4 evaluations by 0.035
        ("consistency", "consistency", 1, 0.05),
        ("consistency", "consistency", 4, 0.05),
        ("consistency_training", "consistency", 4, 0.08),
        ("progressive", "flow_map", 4, 0.05),
        ("mean_flow", "flow_map", 1, 0.05),
        ("mean_flow", "flow_map", 4, 0.05),
    ],
)
def test_a_short_training_brings_the_law_of_a_mixture(method, sampler, evaluations, largest, taught):
    student = taught[method]
    gaussian = _error(_student(), sampler, evaluations)
    assert gaussian > 0.1
    assert _error(student, sampler, evaluations) < largest


@pytest.fixture(scope="module")
def taught():
    return {method: _taught(method, 150).ema for method in METHODS}


def test_a_gaussian_teacher_leaves_nothing_to_learn():
    power = torch.tensor([[4.0, 1.0, 0.3, 1.0]])
    field, spectrum = GaussianField(power), Spectrum(power[None, :, :3].log(), (4,))
    student = FlowMap.of(FieldDenoiser(MLP(4, width=8, blocks=1), spectrum))
    student.lay_out(torch.linspace(-3, 2, 17), torch.linspace(0, 1, 17))
    x, noise = field.sample(16, torch.Generator().manual_seed(0)), torch.randn(16, 1, 4)
    s = student.level_at(torch.linspace(0.05, 1, 16)).float()
    for method in ("consistency", "progressive", "mean_flow"):
        assert float(METHODS[method](student, field, 4)(x, s, noise, {}).detach().max()) < 1e-8, method


def test_progressive_distillation_halves_its_steps_and_its_teacher_is_kept():
    student = _student()
    loss = METHODS["progressive"](student, LAW, 4)
    assert int(loss.intervals) == 8 and not loss.kept()
    loss.follow(0.4)
    assert int(loss.intervals) == 8 and not loss.kept()
    loss.follow(0.5)
    assert int(loss.intervals) == 4
    frozen = loss.kept()["network.head.weight"].clone()
    with torch.no_grad():
        student.network.head.weight.add_(1.0)
    loss.follow(0.9)
    assert torch.equal(loss.kept()["network.head.weight"], frozen)  # the teacher of the second phase stays


def test_its_target_is_two_steps_of_the_teacher():
    student, loss = _student(), METHODS["progressive"](_student(), LAW, 1)
    loss.follow(1.0)  # one interval; the frozen teacher is the untrained student, which moves nothing
    loss._frozen = None  # ask the law itself
    x, noise, s = torch.zeros(3, 1), torch.tensor([[-1.0], [0.3], [1.0]]), torch.full((3,), 6.0)
    top, half = student.level_at(torch.tensor([1.0, 0.5])).float()
    u = student.coordinates(x + top * noise, top.expand(3))
    middle = midpoint(LAW, student.frame, u, top.expand(3), half.expand(3))
    end = midpoint(LAW, student.frame, middle, half.expand(3), torch.zeros(3))
    turned = math.atan(float(top) / ROOT)
    torch.testing.assert_close(loss(x, s, noise, {}), ((end - u) / turned)[:, 0].square(), rtol=1e-4, atol=1e-6)


def test_a_training_continues_bit_for_bit_across_a_phase():
    def state():
        student = _student(8)
        return StudentState(METHODS["progressive"](student, LAW, 2), Recipe(8, 16, 1e-2, 1, student.level_at, warmup=0))

    x = LAW.sample(64, torch.Generator().manual_seed(2))
    whole, first, second = state(), state(), state()
    for _ in train(whole, x):
        pass
    for step in train(first, x):
        if step.step == 6:
            break
    second.load_state_dict(first.state_dict())
    for _ in train(second, x):
        pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
