"""A run of angles draws another lattice, in couplings that it has never seen, with exact weights."""

import numpy as np
import pytest
import torch

from physgen.diffusion.inference.weight_statistics import reweighted_mean
from physgen.domains.contract import get_domain
from physgen.domains.lattice_bonds import couplings_of
from physgen.domains.xy.strip import log_partition
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.stages import DrawOptions, sample

DOMAIN, LENGTH = "xy", 3


def test_ln_z_and_energies_are_those_of_the_transfer_matrix(short_run, unseen, tmp_path):
    asked = DrawOptions(60, unseen, steps=8, weights=True, seed=2)
    made = load_ensemble(sample(short_run, tmp_path / "drawn.h5", asked, device="cpu"))
    assert made.attrs["levels"] == "least dissipation" and made.sizes["x"] == 3
    for i in range(2):
        for t, temperature in enumerate((1.0, 2.0)):
            law, bonds = made.isel(disorder=i, temperature=t), couplings_of(unseen)[i] / temperature
            log_z = log_partition(bonds)
            assert abs(float(law["log_Z"]) - log_z) < 4 * float(law["log_Z_error"])
            assert float(law["log_Z_bound"]) < log_z
            values, weights = (torch.from_numpy(law[name].values.astype(float)) for name in ("energy", "log_weight"))
            mean, error = (float(number) for number in reweighted_mean(values, weights))
            assert float(law["mean_energy"]) == pytest.approx(mean)
            scaled = [log_partition(bonds * (1 + d), points=12) for d in (-0.01, 0.01)]
            expected = -(scaled[1] - scaled[0]) / 0.02 * temperature / 9
            assert abs(mean - expected) < 4 * error
    assert float(made["tail"].max()) < 0.7 and float(made["effective_fraction"].min()) > 0.3
    assert float(made["log_Z_closed"].mean()) > 0.5  # configurations of the law were given: both sides of ln Z
    np.testing.assert_allclose(np.abs(made["field"].values).max(), np.pi, atol=0.3)


def test_what_the_network_was_not_trained_for_is_refused(short_run, unseen, tmp_path):
    with pytest.raises(InputError, match="outside those of the training data"):
        colder = DrawOptions(30, unseen, {"temperature": 0.2}, weights=True)
        sample(short_run, tmp_path / "new.h5", colder, device="cpu")
    domain = get_domain(DOMAIN)
    other = domain(length=4, temperatures=(1.0,), instances=8, replicas=2, sweeps=3).simulate(seed=1)
    with pytest.raises(InputError, match="lattice: "):
        domain().confront(unseen, other, "the other")
    given = domain(temperatures=(1.5,), replicas=8, sweeps=3).simulate_given(unseen, seed=1)
    assert np.array_equal(given["couplings"], unseen["couplings"]) and given.sizes["temperature"] == 1


@pytest.mark.parametrize(("copied", "verdicts"), [(0, {"open", "pass"}), (6, {"fail"})])
def test_copies_are_found_whatever_their_rotation(copied, verdicts):
    domain = get_domain(DOMAIN)(length=6, temperatures=(0.9,), instances=6, replicas=40, sweeps=20)
    data = domain.simulate(seed=4)
    made, train_part, held = (data.isel(disorder=slice(2 * i, 2 * i + 2)) for i in range(3))
    made = made.copy(deep=True)
    made["field"].values.reshape(80, 6, 6)[:copied] = train_part["field"].values.reshape(80, 6, 6)[:copied] + 0.4
    assert domain.memorization(made, train_part, held).attrs["verdict"] in verdicts
