"""What is said of weights: why both sides do not meet, sizes and fractions; what the judge makes of weights."""

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.cli import main
from physgen.errors import InputError
from physgen.report.evaluation_prose import banner_of
from physgen.stages.evaluation import _by_weights
from physgen.stages.guidance import _describe
from physgen.stages.reverse_paths import BOTH_SIDES
from physgen.stages.weight_words import table_of_both_sides


def law(**values):
    """One law with both sides of ln Z, closed nowhere."""
    known = dict.fromkeys(BOTH_SIDES, 1.0) | {"log_Z_closed": 0, "two_sided_tail": 0.2, "two_sided_counts": 40.0}
    known |= {"tail": 0.2, "effective_fraction": 0.25, "log_Z": 1.0, "log_Z_error": 0.1, "log_Z_bound": -3.0} | values
    known["log_Z_upper_bound"] = 5.0
    made = xr.Dataset({name: ((), value) for name, value in known.items()}, {"sample": np.arange(400)})
    made["log_weight"] = ("sample", np.zeros(400))
    return made.assign_attrs(reverse_starts="configurations of the ensemble of like", reverse_paths=100)


@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ({"two_sided_tail": 0.83}, "open: a heavy tail of the weights, Pareto shape 0.83 above 0.7; ln Z", "overlap"),
        ({"two_sided_counts": 3.0}, "open: too little overlap, 3 paths count; ln Z between -3.0 and 5.0", "tail"),
        ({"two_sided_counts": 3.0, "two_sided_tail": 1.2}, "3 paths count and a heavy tail of the weights", "disagree"),
        ({"two_sided_tail": np.nan}, "open: too few paths to judge the tail of their weights", "overlap"),
        ({}, "open: the two sides disagree", "overlap"),
    ],
)
def test_a_law_that_is_open_says_why(values, said, unsaid):
    table = table_of_both_sides(law(**values))
    assert said in table and unsaid not in table
    assert " 100 " in table  # a quarter of 400 draws count


def test_the_size_is_a_size_and_the_fraction_a_fraction():
    weights = torch.zeros(400, dtype=torch.float64)
    weights[:322] = -30.0  # 78 of 400 count, all alike
    weights += 0.3 * torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = (2 * weights).exp().sum() / weights.exp().sum() ** 2
    size = 1 / float(found)
    said = _describe(weights)
    assert f"effective sample size {size:.1f} of 400 draws (fraction {size / 400:.3f})" in said and size > 50


def weighted_spins(replicas=200, seed=1):
    """Single spins in a field of ln 3 (mean .5), drawn as if free: weights exp(h s), which mend that."""
    from physgen.domains.spins.layout import Disorder, spin_ensemble

    rng = np.random.default_rng(seed)
    spins = rng.choice([-1, 1], (2, 1, replicas, 4)).astype(np.int8)
    edges, bonds = np.array([[0, 1]]), np.zeros((2, 1), dtype=np.float32)
    outer = np.full((2, 4), np.log(3) / 2, dtype=np.float32)
    made = spin_ensemble(spins, Disorder(bonds, edges, outer), np.ones(1), np.arange(2), {})
    weights = spins.sum(-1) * np.log(3) / 2
    made["log_weight"] = (("disorder", "temperature", "replica"), weights)
    return made.assign(
        tail=(("disorder", "temperature"), np.array([[0.2], [0.3]])),
        effective_fraction=made["temperature"] * 0.4 + 0 * made["disorder"],
    )


def test_the_judge_takes_draws_by_their_weights_where_it_is_asked(tmp_path):
    made = weighted_spins()
    assert "no diagnostic takes" in banner_of(made) and "--resample M" in banner_of(made)
    taken = _by_weights(made, 60, tmp_path / "new.h5")
    assert taken.sizes["replica"] == 60 and "log_weight" not in taken and banner_of(taken) == ""
    mean, error = float(taken["field"].mean()), (0.75 / (4 * 2 * 200 * 0.4)) ** 0.5
    assert abs(mean - 0.5) < 4 * error and abs(float(made["field"].mean())) < 4 * (1 / 1600) ** 0.5
    many = banner_of(_by_weights(made, 150, tmp_path / "new.h5"))
    assert "in 2 of 2 laws fewer draws count than were kept" in many
    again, others = (_by_weights(made, 60, tmp_path / "new.h5", seed) for seed in (0, 1))
    assert again.equals(taken) and not others.equals(taken)
    with pytest.raises(InputError, match="has none of"):
        _by_weights(made.drop_vars("tail"), 60, tmp_path / "new.h5")


def test_the_option_is_one_of_the_command(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("new", "old"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(20, 8, 8)))
    words = ["evaluate", str(tmp_path / "new.npy"), "--reference", str(tmp_path / "old.npy"), "--resample", "5"]
    assert main(words) == 2 and "has none of" in capsys.readouterr().err
