"""Maps of your own: train on them, draw new ones under a condition of your choice, and judge the network."""

import numpy as np
from scipy.ndimage import gaussian_filter

import physgen as pg

# stand-ins for np.load("maps.npy"): 60 simulations of 4 maps, with the amplitude of their fluctuations
amplitude = np.repeat(np.random.default_rng(0).uniform(0.5, 1.0, 60), 4)
noise = np.random.default_rng(1).standard_normal((240, 16, 16))
maps = np.exp(4 * amplitude[:, None, None] * gaussian_filter(noise, (0, 1, 1), mode="wrap"))

labels, simulation = {"amplitude": amplitude}, np.arange(240) // 4
data = pg.from_array(maps, "25 Mpc/h", labels=labels, simulation=simulation, attrs={"field_kind": "surface_density"})
settings = {"network": pg.NetworkConfig(width=8), "training": pg.TrainingConfig(steps=100, batch_size=16)}
run = pg.train(pg.Experiment(name="own-maps", domain="cosmology", **settings), data, resume=True)
new = run.sample(32, condition={"amplitude": 0.8})
print(pg.values(pg.power_spectrum(new)))
pg.save_ensemble(new, "new.h5")
evaluation = run.evaluate()
print(evaluation, evaluation.values["power_spectrum"]["mean_ratio"], sep="\n")
