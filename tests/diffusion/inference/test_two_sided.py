"""ln Z from both sides: Bennett's ratio on weights of known law, where it has an error and where it must say open."""

import math

import pytest
import torch

from physgen.diffusion.inference.two_sided import bennett
from physgen.diffusion.noise import noise_like

LOG_Z = 3.0


def crooks_pair(variance, ahead, back, seed):
    """Normal log-weights that obey dR/dF = w/Z: means LOG_Z -+ variance/2."""
    white = noise_like(seed, "two sided", [0], (ahead + back,), dtype=torch.float64)[0]
    logs = LOG_Z + math.sqrt(variance) * white
    return logs[:ahead] - variance / 2, logs[ahead:] + variance / 2


@pytest.mark.parametrize(("variance", "ahead", "back"), [(1.0, 200, 200), (4.0, 300, 60), (9.0, 400, 400)])
def test_ln_Z_has_the_error_that_is_stated(variance, ahead, back):
    """Pulls of 200 repetitions: variance 1 within 4 standard errors (0.4), mean 0 within 4 (0.28) and the bias 1/N."""
    found = [bennett(*crooks_pair(variance, ahead, back, seed)) for seed in range(200)]
    pulls = torch.tensor([(one.log_Z - LOG_Z) / one.log_Z_error for one in found])
    assert 0.6 < float(pulls.var()) < 1.4 and abs(float(pulls.mean())) < 0.35
    assert sum(one.is_closed for one in found) > 190
    assert all(one.lower < LOG_Z + 1 and one.upper > LOG_Z - 1 for one in found)


def test_two_sides_beat_the_better_of_one():
    """Of weights whose tails allow no one-sided value, v = 9, the joined value still has its error."""
    found = [bennett(*crooks_pair(9.0, 400, 400, seed)) for seed in range(50)]
    assert sum(max(one.forward_tail, one.reverse_tail) > 0.7 for one in found) > 25
    away = [[abs(getattr(one, name) - LOG_Z) for one in found] for name in ("log_Z", "forward", "reverse")]
    both, below, above = (math.sqrt(sum(x * x for x in column) / 50) for column in away)
    assert both < 0.5 * min(below, above)


def test_without_overlap_it_stays_open():
    found = [bennett(*crooks_pair(150.0, 400, 400, seed)) for seed in range(20)]
    assert not any(one.is_closed for one in found)
    assert all(one.lower < LOG_Z < one.upper for one in found)  # the bounds hold whatever the tails


def test_a_mode_that_is_never_visited_shows_from_above():
    """F sees Z (1 - p) in every path, R a share p of paths that F cannot draw: ln Z is right only with both."""
    share = 0.25
    seen, unseen = LOG_Z + math.log(1 - share), LOG_Z + 40.0
    forward = torch.full((400,), seen) + 1e-3 * noise_like(1, "two sided", [0], (400,))[0]
    reverse = torch.cat([torch.full((300,), seen), torch.full((100,), unseen)])
    found = bennett(forward, reverse)
    assert found.forward == pytest.approx(seen, abs=1e-3)
    assert found.log_Z == pytest.approx(LOG_Z, abs=4 * found.log_Z_error)
    assert found.log_Z_error == pytest.approx(math.sqrt(share / (1 - share) / 400), rel=0.3)
    assert found.disagrees and not found.is_closed


def test_starts_of_another_law_are_found_out():
    forward, reverse = crooks_pair(0.5, 400, 400, 1)
    assert bennett(forward, reverse).is_closed
    assert bennett(forward, reverse + 1.0).disagrees


def test_a_factor_moves_every_value_alike():
    forward, reverse = crooks_pair(2.0, 100, 300, 3)
    here, there = bennett(forward, reverse), bennett(forward - 1e4, reverse - 1e4)
    for name in ("log_Z", "forward", "reverse", "lower", "upper"):
        assert getattr(there, name) == pytest.approx(getattr(here, name) - 1e4, abs=1e-7)
    assert there.log_Z_error == pytest.approx(here.log_Z_error, rel=1e-6)


def test_too_few_weights_have_no_tail_and_are_open():
    assert not bennett(*crooks_pair(0.1, 10, 400, 4)).is_closed
    with pytest.raises(ValueError, match="at least two"):
        bennett(torch.zeros(1), torch.zeros(30))
