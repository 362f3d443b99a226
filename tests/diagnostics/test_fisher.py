"""Fisher matrices against closed forms, and what their corrections are for."""

import numpy as np
import pytest

from physgen.diagnostics.fisher import correction_factor, fisher_matrix
from physgen.errors import InputError

GRADIENT = np.array([[1.0, 0.5, -0.3, 0.0, 0.2, 0.1], [0.0, 0.8, 0.4, -0.6, 0.1, 0.3]])


def statistics(seed, count, each=1, size=6):
    """A mean quadratic in two labels, noise of a known covariance, shared by half within a unit of ``each``."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.uniform(-1, 1, (count, 2)), each, axis=0)
    root = np.tril(0.3 * np.ones((size, size))) + 0.5 * np.eye(size)
    shared = np.repeat(rng.standard_normal((count, size)), each, axis=0)
    noise = (shared + rng.standard_normal(shared.shape)) / np.sqrt(2) if each > 1 else shared
    x = labels @ GRADIENT[:, :size] + 0.3 * labels[:, :1] ** 2 + noise @ root.T
    return x, labels, np.repeat(np.arange(count), each), root @ root.T


@pytest.mark.parametrize("each", [1, 4])
def test_fisher_matrix_is_the_closed_form_within_its_error(each):
    x, labels, units, covariance = statistics(0, 300, each)
    found = fisher_matrix(x, labels, [0.0, 0.0], ["a", "b"], units=units)
    exact = GRADIENT @ np.linalg.inv(covariance) @ GRADIENT.T
    z = (found.fisher.values - exact) / found.fisher_error.values
    assert np.abs(z).max() < 4
    sigma = np.sqrt(np.diag(np.linalg.inv(exact)))
    assert np.abs((found.sigma.values - sigma) / found.sigma_error.values).max() < 4
    assert (found.sigma_error / found.sigma).max() < 0.15


def test_corrections_and_the_noise_of_derivatives_take_off_information_that_is_not_there():
    """Few units: uncorrected information is too large, on the average of 40 sets; corrected it is not."""
    exact = GRADIENT @ np.linalg.inv(statistics(0, 2)[3]) @ GRADIENT.T
    found = {name: [] for name in ("hartlap", "none")}
    for seed in range(40):
        x, labels, _, _ = statistics(seed + 1, 40)
        for name, kept in found.items():
            kept.append(np.trace(fisher_matrix(x, labels, [0.1, 0.0], correction=name).fisher.values))
    mean = {name: np.mean(kept) / np.trace(exact) for name, kept in found.items()}
    error = {name: np.std(kept) / np.sqrt(40) / np.trace(exact) for name, kept in found.items()}
    # at 0.1 the gradient has gained 0.06 in the first label
    moved = GRADIENT + np.array([[0.06], [0.0]])
    true = np.trace(moved @ np.linalg.inv(statistics(0, 2)[3]) @ moved.T) / np.trace(exact)
    assert abs(mean["hartlap"] - true) < 4 * error["hartlap"]
    assert mean["none"] - true > 4 * error["none"]
    assert correction_factor(1e9, 6, "sellentin") == pytest.approx(1, abs=1e-6)
    assert correction_factor(40, 6, "hartlap") < correction_factor(40, 6, "sellentin") < 1


def test_impossible_requests_are_refused_with_the_remedy():
    x, labels, _, _ = statistics(3, 14)
    with pytest.raises(InputError, match="more coarsely"):
        fisher_matrix(x, labels, [0.0, 0.0])
    x, labels, _, _ = statistics(3, 60)
    with pytest.raises(InputError, match="outside the labels"):
        fisher_matrix(x, labels, [3.0, 0.0])
    with pytest.raises(InputError, match="is unknown"):
        fisher_matrix(x, labels, [0.0, 0.0], correction="all")
