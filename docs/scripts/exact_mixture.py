"""A U-turn in an exact mixture: from which noise on does a configuration forget its class?"""

import torch

import physgen as pg

means = torch.stack([torch.full((1, 16), 1.0), torch.full((1, 16), -1.0)])  # two classes in 16 dimensions
mixture = pg.exact.GaussianMixture(means, covariance=torch.tensor([0.25, 0.25]))
levels = pg.log_uniform(s_max=40.0, s_min=0.01, steps=60)
x = pg.sample(mixture, levels, (1024, 1, 16), seed=0)
for s in (1.0, 2.0, 4.0, 8.0, 40.0):
    y = x + s * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    back = pg.sample(mixture, levels, x.shape, seed=2, sampler="ancestral", start=y, from_level=s)
    kept = (back.mean((1, 2)) * x.mean((1, 2)) > 0).double()
    print(f"t_OU = {pg.t_OU(s):.2f}: the class is kept by", pg.Value(kept.mean(), kept.std() / 32))
