"""Learning of a linear score: closed forms against descent on fields, and how the time grows with the lattice."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.linear_score import LinearScore, descend, linear_score_times
from physgen.errors import InputError


def critical(size):
    """1 / (k^2 + 1/L^2) on a square lattice, k of the lattice Laplacian."""
    k2 = (2 * np.sin(math.pi * np.fft.fftfreq(size))) ** 2
    return 1 / (k2[:, None] + k2[None, :] + 1 / size**2)


@pytest.mark.parametrize("layers", [1, 2])
def test_descent_on_fields_by_autograd_is_the_descent_of_the_modes(layers):
    """The loss as it stands, on fields in real space: noise averaged by Stein's lemma, data sampled."""
    size, count, t, rate, steps = 8, 20, 0.3, 2e-3, 60
    s2 = math.expm1(2 * t)
    fields = torch.randn(count, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2
    modes = torch.fft.fft2(fields)
    spectrum = (modes.abs() ** 2).mean(0).numpy() / size**2
    model = LinearScore(spectrum, t, layers)
    kernels = [torch.zeros(size, size, dtype=torch.float64) for _ in range(layers)]
    for kernel in kernels:
        kernel[0, 0] = model.start ** (1 / layers)
        kernel.requires_grad_()
    for _ in range(steps):
        whole = math.prod(torch.fft.fft2(kernel) for kernel in kernels)
        smoothed = torch.fft.ifft2(whole * modes).real
        noise = torch.fft.ifft2(whole).real
        loss = (smoothed**2).sum() / count / size**2 / 2 + s2 * (noise**2).sum() / 2 - noise[0, 0]
        gradients = torch.autograd.grad(loss, kernels)
        kernels = [(k - rate * g).detach().requires_grad_() for k, g in zip(kernels, gradients, strict=True)]
    expected = torch.fft.fft2(kernels[0].detach()).real.numpy() ** layers
    assert descend(model, rate, steps) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("layers, target", [(1, "score"), (2, "score"), (1, "denoiser"), (2, "denoiser")])
def test_closed_form_is_the_limit_of_small_steps(layers, target):
    """Euler steps of the flow err by half a step times the rate: 1/400 of a weight at most, here."""
    model = LinearScore(critical(8), 0.2, layers, target)
    rate = model.largest_step / 200
    found = descend(model, rate, 400)
    assert found == pytest.approx(model.weights(400 * rate)[0], rel=5e-3)


def test_one_layer_slows_down_as_the_square_of_the_size_and_two_as_its_logarithm():
    sizes = 16, 32, 64
    one, two, denoiser = (
        [linear_score_times(LinearScore(critical(size), 0.01, *which)) for size in sizes]
        for which in ((1, "score"), (2, "score"), (2, "denoiser"))
    )
    assert np.diff(np.log([float(x["steps"]) for x in one])) == pytest.approx(2 * math.log(2), rel=2e-3)
    assert np.diff([float(x["tau"]) for x in two]) == pytest.approx(math.log(2), rel=2e-3)  # ln L
    assert all(float(x["condition"]) == pytest.approx(1) for x in two)
    assert np.all(np.diff(np.log([float(x["steps"]) for x in denoiser])) > 1.9 * math.log(2))  # depth helps the score


def test_time_to_the_tolerance_is_that_of_the_error():
    model = LinearScore(critical(8), 0.1, 2)
    found = linear_score_times(model, 0.03)
    assert model.error(model.weights(float(found["tau"])))[0] == pytest.approx(0.03, rel=1e-6)
    within = model.weights(found["value"].values)[range(64), *np.unravel_index(range(64), (8, 8))]
    assert within == pytest.approx(model.solution.ravel() * (1 - math.sqrt(0.03)), rel=1e-10)


def test_a_local_kernel_of_one_layer_needs_steps_like_the_logarithm_of_the_size():
    """Its Hessian is the field's correlation within the window, which grows like ln L in two dimensions."""
    counts = []
    for size in (8, 16, 32):
        model, seen = LinearScore(critical(size), 0.01), []
        correlation = np.fft.ifft2(model.variance).real
        places = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        hessian = np.array([[correlation[(a[0] - b[0]) % size, (a[1] - b[1]) % size] for b in places] for a in places])
        watch = lambda step, w, model=model, seen=seen: seen.append(step) or model.error(w[None])[0] < 0.01  # noqa: E731
        descend(model, 1 / np.linalg.eigvalsh(hessian)[-1], 400, radius=1, watch=watch)
        counts.append(len(seen))
    assert counts[2] < 1.3 * counts[0] < 200


def test_bad_input_is_refused_in_words():
    with pytest.raises(InputError, match="layers 1 or 2"):
        LinearScore(critical(4), 0.1, 3)
    with pytest.raises(InputError, match="positive mode variances"):
        LinearScore(np.zeros((4, 4)), 0.1)
    with pytest.raises(InputError, match="tolerance"):
        linear_score_times(LinearScore(critical(4), 0.1), 2.0)
