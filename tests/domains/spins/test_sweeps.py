"""Local moves after drawing: they leave the law unchanged, keep weights right, and move alike in any company."""

import numpy as np
from scipy.stats import chisquare

from physgen.cli import main
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import disorder_of, with_spins
from physgen.ensemble import load_ensemble

SMALL = Domain(dimension=2, length=3, boundary="free", temperatures=(1.0, 2.0), instances=2, replicas=4000)
PLACE = {row.tobytes(): k for k, row in enumerate(enumerate_spins(9).numpy().astype(np.int8))}


def law(ensemble, instance, temperature):
    couplings = disorder_of(ensemble).couplings[instance].reshape(-1).astype(float)
    return enumerate_graph(9, lattice_edges((3, 3)), couplings, temperature)


def of_energies(ensemble, instance, temperature):
    """How often each energy is seen, and is to be seen; rare ones in one class."""
    known = law(ensemble, instance, float(ensemble["temperature"][temperature]))
    spins = ensemble["field"].values[instance, temperature]
    levels, which = np.unique(np.round(known.energies, 6), return_inverse=True)
    wanted = np.bincount(which, weights=known.probabilities) * len(spins)
    states = [PLACE[row.tobytes()] for row in spins.reshape(len(spins), 9)]
    seen = np.bincount(which[states], minlength=len(levels))
    rare = wanted < 8
    return tuple(np.append(x[~rare], x[rare].sum()) for x in (seen, wanted))


def test_the_law_is_left_as_it_is():
    exact = SMALL.simulate(3)
    moved = SMALL.local_moves(exact, 2, seed=5)
    assert (moved["field"] != exact["field"]).any(dim=("y", "x")).mean() > 0.5
    for i, j in np.ndindex(2, 2):
        assert chisquare(*of_energies(moved, i, j)).pvalue > 1e-4
    hotter = SMALL.local_moves(exact.assign_coords(temperature=[1.1, 2.2]), 2, seed=5)
    wrong = hotter.assign_coords(temperature=exact["temperature"])
    assert chisquare(*of_energies(wrong, 0, 0)).pvalue < 1e-4  # ten per cent in temperature would be seen


def test_weights_stay_right():
    """Uniform states with weights exp(-beta E): the weighted energy is that of the law, moved or not."""
    exact = SMALL.simulate(3).isel(disorder=[0], temperature=[1])
    spins = np.random.default_rng(2).choice([-1, 1], size=exact["field"].shape).astype(np.int8)
    uniform = with_spins(exact, spins)
    weights = np.exp(-9 * uniform["energy"].values.ravel() / 2.0)
    moved = SMALL.local_moves(uniform, 1, seed=5)["energy"].values.ravel()
    energy = law(exact, 0, 2.0).energy
    size = weights.sum() ** 2 / (weights**2).sum()
    assert abs(np.average(moved, weights=weights) - energy) < 4 * moved.std() / size**0.5
    assert abs(moved.mean() - energy) > 8 * moved.std() / len(moved) ** 0.5  # without weights one sweep is not enough


def test_a_configuration_moves_alike_in_any_company():
    ensemble = SMALL.simulate(3).isel(replica=slice(0, 20))
    all_of_them = SMALL.local_moves(ensemble, 3, seed=1)["field"]
    part = {"replica": slice(0, 7), "disorder": [1], "temperature": [1]}
    np.testing.assert_array_equal(SMALL.local_moves(ensemble.isel(part), 3, seed=1)["field"], all_of_them.isel(part))
    assert (SMALL.local_moves(ensemble, 3, seed=2)["field"] != all_of_them).any()


def test_the_command_says_that_draws_were_moved_and_refuses_where_nothing_is_known(tmp_path, capsys):
    rows = [f"{i} {j} {0.5 * (-1) ** (i * j)}" for i in range(8) for j in range(i)]
    (tmp_path / "mine.txt").write_text("\n".join(["# H = -sum J s s", *rows]) + "\n")
    words = ["--like", str(tmp_path / "mine.txt"), "--condition", "temperature=1.5", "-n", "32", "--steps", "4"]
    for name, more in (("plain", []), ("moved", ["--sweeps", "3"]), ("both", ["--sweeps", "3", "--weights"])):
        assert main(["sample", "glass:sk", *words, *more, "-o", str(tmp_path / f"{name}.h5")]) == 0
    plain, moved, both = (load_ensemble(tmp_path / f"{name}.h5") for name in ("plain", "moved", "both"))
    assert "local_sweeps" not in plain.attrs and moved.attrs["local_sweeps"] == both.attrs["local_sweeps"] == 3
    assert not np.array_equal(plain["field"], moved["field"]) and "mean_energy" in both
    capsys.readouterr()
    assert main(["certify", str(tmp_path / "moved.h5")]) == 0
    assert "then 3 sweeps of local moves" in capsys.readouterr().out
    out = ["-o", str(tmp_path / "maps.h5"), "-n", "2"]
    given = ["--condition", "Omega_m=0.3,sigma_8=0.8,redshift=0"]
    assert main(["sample", "emulator:slabs64", *given, "--sweeps", "3", *out]) == 2
    assert "knows no local moves" in capsys.readouterr().err
    assert main(["sample", "glass:sk", *words, "--sweeps", "0", *out]) == 2
    assert "sweeps = 0 is too few" in capsys.readouterr().err
