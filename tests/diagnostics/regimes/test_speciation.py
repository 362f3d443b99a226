"""The largest eigenvalue and its time: unbiased within errors that hold, for more values than samples too."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.classes import (
    LargestOverlap,
    label_class,
    magnetization_class,
    nearest_class,
    overlap_class,
    principal_class,
)
from physgen.diagnostics.regimes.speciation import spectral_speciation
from physgen.errors import InputError


def two_classes(n, d, spike, seed):
    """(n, 1, d): white noise of variance 1 and two means that make the largest eigenvalue 1 + spike; their signs."""
    rng = np.random.default_rng(seed)
    sign = rng.permutation(np.arange(n) % 2) * 2 - 1
    x = rng.standard_normal((n, d)) + math.sqrt(spike / d) * sign[:, None]
    return torch.from_numpy(x)[:, None], sign


def test_eigenvalue_is_unbiased_where_there_are_more_values_than_samples():
    """d/n = 2 shifts the sample eigenvalue of a spike of 20 by 2 * 21/20, many errors of the mean."""
    pulls, raw, errors = [], [], []
    for seed in range(40):
        found = spectral_speciation(two_classes(60, 120, 20.0, seed)[0])
        pulls.append(float(found["eigenvalue"]) - 21.0)
        raw.append(float(found["eigenvalue_sample"]) - 21.0)
        errors.append(float(found["eigenvalue_error"]))
    spread = np.std(pulls, ddof=1)
    assert abs(np.mean(pulls)) < 4 * spread / math.sqrt(40) + 21 / 60  # O(1/n) of finite samples
    assert np.mean(raw) > 1.5
    assert 0.6 < np.mean(errors) / spread < 1.6


def test_times_follow_from_the_eigenvalue_and_the_axis_is_that_of_the_means():
    x, sign = two_classes(400, 50, 30.0, 1)
    found = spectral_speciation(x)
    eigenvalue = float(found["eigenvalue"])
    assert float(found["t_S"]) == pytest.approx(0.5 * math.log(eigenvalue))
    assert float(found["t_S_exact"]) == pytest.approx(0.5 * math.log(1 + eigenvalue))
    overlap = float((found["component"].values.ravel() @ np.full(50, 50**-0.5)) ** 2)
    assert overlap == pytest.approx(float(found["component_overlap"]), abs=0.01)
    assert found["component"].shape == (1, 50)
    own = principal_class(x)(x).numpy()
    assert max((own == (sign > 0)).mean(), (own == (sign < 0)).mean()) == 1


@pytest.mark.parametrize("shape", [(150, 1, 12, 12), (300, 1, 110)])  # Gram and covariance, both by ARPACK
def test_the_jackknife_leaves_out_whole_units(shape):
    """Each unit 3 times over: the error is that of the units, not smaller by sqrt 3."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal(shape))
    x[:, 0] += 4 * torch.from_numpy(rng.standard_normal((shape[0], *[1] * (len(shape) - 2))))
    alone = spectral_speciation(x)
    thrice = spectral_speciation(x.repeat_interleave(3, 0), np.repeat(np.arange(shape[0]), 3))
    assert thrice.attrs["n_independent"] == shape[0] and thrice.attrs["correction"] == "jackknife"
    assert float(thrice["eigenvalue_error"]) == pytest.approx(float(alone["eigenvalue_error"]), rel=0.05)
    assert np.isnan(float(thrice["component_overlap"]))


def test_one_unit_has_no_error_and_bad_input_is_refused():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 1, 4)))
    assert np.isnan(float(spectral_speciation(x, np.zeros(5))["t_S_error"]))
    with pytest.raises(InputError, match="n >= 3"):
        spectral_speciation(x[:2])
    with pytest.raises(InputError, match="equal"):
        spectral_speciation(torch.ones(5, 1, 4))
    with pytest.raises(InputError, match="not finite"):
        spectral_speciation(x / 0)
    with pytest.raises(InputError, match="unit names"):
        spectral_speciation(x, np.zeros(4))


def test_classes_by_magnetization_overlap_nearest_point_and_label():
    x = torch.tensor([[[1.0, 1.0, -1.0]], [[-1.0, -1.0, 1.0]]])
    assert magnetization_class((1, 3))(x).tolist() == [1, 0]
    assert overlap_class(x[1])(x).tolist() == [0, 1]
    assert overlap_class([x[0], x[1]])(x).tolist() == [0, 1]
    assert LargestOverlap(torch.tensor([[[0.0, 0.0, 1.0]], [[-1.0, -1.0, 1.0]]]), fold=True)(x).tolist() == [1, 1]
    assert nearest_class(x)(x + 0.1).tolist() == [0, 1]


def test_label_classes_say_how_often_they_are_wrong():
    """Two classes at distance 2a have the error Phi(-a), here .1587, once more for the noise of the means."""
    rng = np.random.default_rng(0)
    sign = np.arange(1000) % 2 * 2 - 1
    x = torch.from_numpy(rng.standard_normal((1000, 1, 3)))
    x[:, 0, 0] += torch.from_numpy(sign)
    classify, names, wrong = label_class(x, np.where(sign > 0, "up", "down"))
    assert names.tolist() == ["down", "up"]
    assert wrong == pytest.approx(0.1587, abs=4 * math.sqrt(0.1587 * 0.8413 / 1000))
    assert (classify(x).numpy() != (sign > 0)).mean() <= wrong
    with pytest.raises(InputError, match="at least two classes"):
        label_class(x, np.zeros(1000))
