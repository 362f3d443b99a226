"""Means, pairs and chains from weighted draws of an untrained network: those of enumerated glasses."""

import numpy as np
import pytest
import torch

import physgen as pg
from physgen.cli import main
from physgen.config import load_config
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.weight_statistics import (
    independence_metropolis,
    reweighted_jackknife,
    reweighted_pair_mean,
    stays,
)
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.observables import spin_observables
from physgen.ensemble import check_ensemble, load_ensemble
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.stages.sampling import draw_ensemble
from physgen.stages.weighing import metropolised
from physgen.stages.weight_words import describe_draws

SPINS = ["data.instances=10", "network={kind: message_passing, width: 8, depth: 4}", "data.temperatures=[1.2 J, 2 J]"]
NAMES = ("energy", "magnetization", "magnetization_squared", "overlap_squared")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("means")
    quick = ["tracking.uri=off", "training.steps=2", "training.warmup=1", *SPINS]
    asked = load_config("configs/spins/smoke.yaml", [*quick, f"dataset={folder / 'data.h5'}"])
    simulate(asked, folder / "data.h5")
    return train(asked, folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def glasses(run):
    words = ["data.length=3", "data.instances=4", "data.replicas=1", "data.temperatures=[1.2 J, 2 J]", "seed=9"]
    return simulate(load_config("configs/spins/smoke.yaml", words), run.parent / "glasses.h5")


@pytest.fixture(scope="module")
def drawn(run, glasses):
    """Weighted draws on four unseen 3 x 3 glasses at two temperatures."""
    return sample(run, run.parent / "drawn.h5", DrawOptions(400, glasses, steps=6, weights=True, seed=1))


def enumerated(law):
    """The four means of an instance and temperature, from all of its states."""
    bonds, grid = law["couplings"].values, law["couplings"].shape[1:]
    edges, count = lattice_edges(grid), int(np.prod(grid))
    known = enumerate_graph(count, edges, bonds.reshape(-1), float(law["temperature"]))
    states = enumerate_spins(count).numpy().astype(float)
    correlations = states.T @ (states * known.probabilities[:, None])
    m = states.mean(axis=1)
    return np.array([known.energy, *(known.probabilities @ one for one in (abs(m), m**2)), np.mean(correlations**2)])


def test_weighted_means_are_those_of_the_enumeration_and_plain_ones_are_not(drawn):
    made = load_ensemble(drawn)
    assert made.attrs["weighted_means"].split() == list(NAMES)
    assert made["mean_energy"].dims == ("disorder", "temperature") and made["mean_energy_error"].attrs["units"] == "J"
    energy, *_, overlap = (one.values for one in spin_observables(made))
    rows = np.arange(made["log_weight"].size).reshape(made["log_weight"].shape)
    flat, pulls, plain = torch.zeros(400), [], []
    for place in np.ndindex(4, 2):
        law, here = made.isel(disorder=place[0], temperature=place[1]), rows[place]
        exact = enumerated(law)
        found = np.array([(float(law[f"mean_{name}"]), float(law[f"mean_{name}_error"])) for name in NAMES])
        pulls.append((found[:, 0] - exact) / found[:, 1])
        as_drawn = reweighted_jackknife(torch.from_numpy(energy(here)), flat)
        of_pairs = reweighted_pair_mean(lambda part, here=here: torch.from_numpy(overlap(here[part], here)), flat)
        plain.append([(as_drawn[0] - exact[0]) / as_drawn[1], (of_pairs[0] - exact[3]) / of_pairs[1]])
    squares, unweighted = np.square(pulls).sum(axis=0), np.square(plain).sum(axis=0)
    assert (squares < 24).all(), squares  # 8 expected, standard deviation 4
    assert (unweighted > 40).all(), unweighted
    said = describe_draws(drawn).split("\n")[1]
    mean = float(made["mean_energy"].isel(temperature=0).mean())
    assert f"energy {mean:.4f} +- " in said and "over 4 of 4 laws" in said


def test_states_of_a_chain_are_of_the_law_and_say_how_they_depend(drawn):
    made = load_ensemble(drawn)
    taken = metropolised(made, 100, seed=2)
    assert check_ensemble(taken).sizes["replica"] == 100 and taken["field"].dims == made["field"].dims
    assert "log_weight" not in taken and taken.attrs["metropolis_burn_in"] == 40
    pulls = []
    for i, j in np.ndindex(4, 2):
        old, new = (one.isel(disorder=i, temperature=j) for one in (made, taken))
        states, accepted = independence_metropolis(torch.from_numpy(old["log_weight"].values), 2, 2 * i + j)
        kept = states.numpy()[40 + np.arange(1, 101) * 360 // 100 - 1]  # every 3.6th state, the last one too
        assert (new["field"].values == old["field"].values[kept]).all() and kept[-1] == states[-1]
        lengths = stays(states[40:]).numpy()
        assert float(new["acceptance"]) == accepted and int(new["longest_stay"]) == stays(states).max()
        assert float(new["stay_time"]) == pytest.approx((lengths**2).sum() / 360)
        assert int(new["certified"]) == (float(old["tail"]) <= 0.7 and 100 * float(new["stay_time"]) <= 360)
        independent = min(100, 360 / float(new["stay_time"]))
        spread = float(new["energy"].std()) / independent**0.5
        pulls.append((float(new["energy"].mean()) - enumerated(old)[0]) / spread)
    assert np.square(pulls).sum() < 24  # 8 expected, standard deviation 4
    with pytest.raises(InputError, match="give at most 360"):
        metropolised(made, 361, seed=2)


def test_a_chain_is_the_same_whatever_is_drawn_with_it(run, glasses):
    one = load_ensemble(glasses).isel(disorder=[1], temperature=[0])
    both = load_ensemble(glasses).isel(disorder=[1, 2], temperature=[0])
    few, many = (
        draw_ensemble(open_run(run), DrawOptions(n, like, steps=4, weights=True, seed=3)).isel(disorder=0)
        for n, like in ((30, one), (70, both))
    )
    first, again = few["log_weight"].values[0], many["log_weight"].values[0]
    np.testing.assert_allclose(first, again[:30], atol=1e-4)
    states = [independence_metropolis(torch.from_numpy(logs), 3)[0] for logs in (first, again)]
    assert states[0].tolist() == states[1][:30].tolist()


def test_the_command_keeps_states_and_says_how_long_they_stay(run, glasses, tmp_path, capsys):
    words = ["sample", str(run), "--like", str(glasses), "-n", "30", "--steps", "4", "-o", str(tmp_path / "new.h5")]
    assert main([*words, "--weights", "--metropolis", "9"]) == 0
    said = capsys.readouterr().out
    assert "Metropolis: accepted" in said and "of 30 states, 3 of them burn-in" in said
    assert "of 30 draws count" in said and "weighted means" in said
    again = pg.open_run(run).sample(30, like=glasses, steps=4, weights=True, metropolis=9, progress=False)
    assert (again["field"].values == load_ensemble(tmp_path / "new.h5")["field"].values).all()
    taken = pg.open_run(run).sample(30, like=glasses, steps=4, weights=True, resample=5, progress=False)
    assert taken.sizes["replica"] == 5 and taken.attrs["resampled_from"] == 30
    for wrong, why in (([], "needs weights"), (["--weights", "--resample", "5"], "both choose")):
        assert main([*words[:-1], str(tmp_path / "no.h5"), "--metropolis", "9", *wrong]) == 2
        assert why in capsys.readouterr().err and not (tmp_path / "no.h5").exists()
    assert main([*words[:-1], str(tmp_path / "no.h5"), "--weights", "--metropolis", "28"]) == 2
    assert "at most 27" in capsys.readouterr().err
