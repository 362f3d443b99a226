"""Schedules against numerical integration of their own drift and diffusion, and against each other."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.sde import OU, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, s_of_t_OU, t_OU

SCHEDULES = [OU(), VP(), VP(beta_min=3.0, beta_max=3.0), SubVP(), VE(), Cosine(), Cosine(offset=0.0), RectifiedFlow()]
named = pytest.mark.parametrize("sde", SCHEDULES, ids=repr)


def last_time(sde: SDE) -> float:
    return 0.95 * sde.t_end  # cosine and rectified flow end at s = infinity


@named
def test_mean_and_variance_are_those_of_the_drift_and_diffusion(sde):
    """d ln(alpha)/dt = f and d sigma^2/dt = 2 f sigma^2 + g^2, integrated from t = 0 by an independent solver."""

    def rates(t, state):
        return [float(sde.drift(t)), 2 * float(sde.drift(t)) * state[1] + float(sde.diffusion(t)) ** 2]

    times = np.linspace(0, last_time(sde), 8)
    start = [0.0, float(sde.sigma(0.0)) ** 2]
    found = solve_ivp(rates, (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-13, method="DOP853").y
    np.testing.assert_allclose(found[0], torch.log(sde.alpha(torch.tensor(times))), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found[1], sde.sigma(torch.tensor(times)) ** 2, rtol=1e-8, atol=1e-10)


@named
def test_inverses_round_trip_and_keep_their_digits_at_small_noise(sde):
    t = torch.cat([torch.logspace(-6, -2, 9, dtype=torch.float64), torch.linspace(0.05, 0.95, 19, dtype=torch.float64)])
    t = t * sde.t_end
    torch.testing.assert_close(sde.t_of_s(sde.s(t)), t, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(sde.t_of_log_snr(sde.log_snr(t)), t, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(sde.s(t), sde.sigma(t) / sde.alpha(t), rtol=1e-12, atol=0)
    torch.testing.assert_close(s_of_t_OU(t_OU(sde.s(t))), sde.s(t), rtol=1e-9, atol=0)


@named
def test_s_grows_with_t_and_float32_stays_float32(sde):
    t = torch.linspace(0.001, last_time(sde), 200)
    s = sde.s(t)
    assert s.dtype == torch.float32 and bool((s.diff() > 0).all())
    torch.testing.assert_close(s.double(), sde.s(t.double()), rtol=1e-4, atol=0)


def test_vp_is_the_ou_process_in_the_clock_of_the_integrated_rate():
    t = torch.linspace(0.01, 1, 12, dtype=torch.float64)
    sde, ou = VP(), OU(duration=20.0)
    clock = 0.5 * sde.integrated_rate(t)
    torch.testing.assert_close(sde.alpha(t), ou.alpha(clock))
    torch.testing.assert_close(sde.sigma(t), ou.sigma(clock))
    torch.testing.assert_close(clock, t_OU(sde.s(t)))


def test_prior_std_is_the_noise_at_the_last_time():
    assert VE(sigma_max=50.0).prior_std() == pytest.approx(50.0)
    assert OU(duration=3.0).prior_std() == pytest.approx(math.sqrt(1 - math.exp(-6)))
    assert VP().prior_std() == pytest.approx(1, abs=1e-4)


@named
def test_any_schedule_carries_the_same_law_at_equal_s(sde):
    """The flow of x_t, with the schedule's own f, g and score, moves y = x/alpha as dy/ds = (y - D)/s does."""
    means = torch.tensor([-1.0, 0.6], dtype=torch.float64)[:, None, None]
    law = GaussianMixture(means, torch.tensor([0.02, 0.09], dtype=torch.float64), torch.tensor([0.3, 0.7]))
    y_start = np.linspace(-6, 6, 7)

    def flow(t, x):
        clock = torch.tensor(t, dtype=torch.float64)
        score = sde.score(law, torch.tensor(x)[:, None, None], clock.expand(len(x)))[:, 0, 0].numpy()
        return float(sde.drift(t)) * x - 0.5 * float(sde.diffusion(t)) ** 2 * score

    def reference(s, y):
        denoised = law(torch.tensor(y)[:, None, None], torch.tensor(s, dtype=torch.float64))[:, 0, 0].numpy()
        return (y - denoised) / s

    span = [float(sde.t_of_s(s)) for s in (4.0, 0.3)]
    tight = {"rtol": 1e-9, "atol": 1e-11, "method": "DOP853"}
    x_end = solve_ivp(flow, span, y_start * float(sde.alpha(span[0])), **tight).y[:, -1]
    expected = solve_ivp(reference, (4.0, 0.3), y_start, **tight).y[:, -1]
    np.testing.assert_allclose(x_end / float(sde.alpha(span[1])), expected, rtol=1e-7)


@pytest.mark.parametrize(
    "make", [lambda: OU(0.0), lambda: VP(beta_min=0.0), lambda: VE(2.0, 1.0), lambda: Cosine(offset=-0.1)]
)
def test_impossible_schedules_are_refused_with_the_value(make):
    with pytest.raises(ValueError, match="got"):
        make()
