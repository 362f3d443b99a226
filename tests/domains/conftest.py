"""What the tests of paths with exact weights share: a run of a lattice of any kind of spins, and what it never saw.

A module says of which ``DOMAIN`` it is, and of which ``LENGTH`` the lattices are that are drawn.
"""

from pathlib import Path

import pytest

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def short_run(request, tmp_path_factory):
    """The folder of a run of two steps: the network is belief propagation then."""
    from physgen.config import load_config
    from physgen.stages import simulate, train

    folder = tmp_path_factory.mktemp("run")
    words = ["tracking.uri=off", "training.steps=2", "training.warmup=1", "data.temperatures=[1.0 J, 2.0 J]"]
    config = CONFIGS / request.module.DOMAIN / "smoke.yaml"
    asked = load_config(config, [*words, f"dataset={folder / 'data.h5'}"])
    simulate(asked, folder / "data.h5")
    return train(asked, folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def unseen(request):
    """Configurations of two instances that no run has seen, on lattices whose ln Z the transfer matrix knows."""
    from physgen.domains.contract import get_domain

    settings = {"couplings": "gaussian", "boundary": "cylinder", "temperatures": (1.0, 2.0)}
    domain = get_domain(request.module.DOMAIN)(length=request.module.LENGTH, instances=2, replicas=25, **settings)
    return domain.simulate(seed=7)
