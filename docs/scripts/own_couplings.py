"""Couplings of your own: draw spins in them from a trained network, and judge them against exact samples."""

import numpy as np

import physgen as pg
from physgen.domains.spins import Spins, exact, from_arrays

glass = Spins(length=6, temperatures=(1.5,), instances=40, replicas=20)
settings = {"network": pg.NetworkConfig(kind="message_passing", width=8, depth=4)}
settings["training"] = pg.TrainingConfig(steps=100, batch_size=32)
experiment = pg.Experiment(name="own-couplings", domain="spins", data=glass, **settings)
run = pg.train(experiment, pg.simulate(experiment), resume=True)

rng = np.random.default_rng(1)
couplings = rng.normal(size=(8, 2, 6, 6))  # yours: (instance, direction of the bond, y, x)
couplings[:, 0, -1] = 0  # free ends along y, a ring along x, as in training
spins = run.sample(50, like=from_arrays(None, couplings, temperatures=1.5))
truth = from_arrays([exact.sample(J, 1.5, 50, rng).spins for J in couplings], couplings, 1.5)
print(pg.evaluate(spins, truth))
