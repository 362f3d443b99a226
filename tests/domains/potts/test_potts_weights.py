"""A run of Potts states draws another lattice, in couplings that it has never seen, with exact weights."""

import numpy as np
import pytest
import torch

from physgen.diffusion.inference.weight_statistics import reweighted_mean
from physgen.domains.contract import get_domain
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.stages import DrawOptions, sample

DOMAIN, LENGTH = "potts", 5


def test_ln_z_and_energies_are_those_of_the_transfer_matrix(short_run, unseen, tmp_path):
    asked = DrawOptions(100, unseen, steps=10, weights=True, seed=2)
    made = load_ensemble(sample(short_run, tmp_path / "drawn.h5", asked, device="cpu"))
    assert made.attrs["levels"] == "least dissipation" and made.sizes["x"] == 5
    for i in range(2):
        for t in range(2):
            law, exact = made.isel(disorder=i, temperature=t), unseen.isel(disorder=i, temperature=t)
            log_z = float(exact["log_partition"])
            assert abs(float(law["log_Z"]) - log_z) < 4 * float(law["log_Z_error"])
            assert float(law["log_Z_bound"]) < log_z
            values, weights = (torch.from_numpy(law[name].values.astype(float)) for name in ("energy", "log_weight"))
            mean, error = (float(number) for number in reweighted_mean(values, weights))
            expected, spread = float(exact["energy"].mean()), float(exact["energy"].std()) / np.sqrt(25)
            assert abs(mean - expected) < 4 * np.hypot(error, spread)
    assert float(made["tail"].max()) < 0.7 and float(made["effective_fraction"].min()) > 0.05
    assert float(made["log_Z_closed"].mean()) > 0.5  # configurations of the law were given: both sides of ln Z


def test_what_the_network_was_not_trained_for_is_refused(short_run, unseen, tmp_path):
    other = get_domain(DOMAIN)(states=4, length=4, temperatures=(1.0,), instances=2, replicas=2).simulate(seed=1)
    for wrong, words in ((other, "the network was trained on 3"), (unseen.drop_attrs(deep=False), "how many states")):
        with pytest.raises(InputError, match=words):
            sample(short_run, tmp_path / "new.h5", DrawOptions(30, wrong, weights=True), device="cpu")
    with pytest.raises(InputError, match="outside those of the training data"):
        colder = DrawOptions(30, unseen, {"temperature": 0.2}, weights=True)
        sample(short_run, tmp_path / "new.h5", colder, device="cpu")
    domain = get_domain(DOMAIN)
    with pytest.raises(InputError, match="states: 3 in the reference, 4"):
        domain().confront(unseen, other, "the other")
    with pytest.raises(InputError, match="the given sites have 3"):
        domain(states=4).simulate_given(unseen, seed=1)
    given = domain(temperatures=(1.5,), replicas=3).simulate_given(unseen, seed=1)
    assert np.array_equal(given["couplings"], unseen["couplings"]) and given.sizes["temperature"] == 1
