"""Couplings of your own: draw spins in them from a trained network, and judge them against exact samples."""

import numpy as np

import physgen as pg
from physgen.domains.spins import Spins, from_arrays

glass = Spins(length=6, temperatures=(1.5,), instances=40, replicas=20)
settings = {"network": pg.NetworkConfig(kind="message_passing", width=8, depth=4)}
settings["training"] = pg.TrainingConfig(steps=100, batch_size=32)
experiment = pg.Experiment(name="own-couplings", domain="spins", data=glass, **settings)
run = pg.train(experiment, pg.simulate(experiment), resume=True)

J = np.random.default_rng(1).normal(size=(8, 2, 6, 6))  # yours: (instance, direction of the bond, y, x)
J[:, 0, -1] = 0  # free ends along y, a ring along x, as in training
mine = from_arrays(None, J)
spins = run.sample(20, like=mine)
truth = pg.simulate(experiment, mine)  # exact: the transfer matrix takes any J on a narrow lattice
print(f"energy per spin {float(spins.energy.mean()):.3f} J, exact {float(truth.exact_energy.mean()):.3f} J")
print(pg.evaluate(spins, truth))
