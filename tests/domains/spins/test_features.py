"""Random features of local energies."""

import numpy as np

from physgen.domains.spins.features import message_feature_array


def test_messages_do_not_change_under_a_gauge_transformation():
    rng = np.random.default_rng(10)
    neighbours = np.array([[1, 2], [0, 3], [0, 3], [1, 2]])
    ring = {(0, 1): 0.7, (0, 2): -1.1, (1, 3): 0.4, (2, 3): 1.3}
    strengths = np.array([[ring[min(i, j), max(i, j)] for j in row] for i, row in enumerate(neighbours)])
    spins, gauge = rng.choice([-1, 1], (5, 4)), np.array([1, -1, -1, 1])
    found = message_feature_array(spins, neighbours, strengths)
    turned = message_feature_array(spins * gauge, neighbours, strengths * gauge[:, None] * gauge[neighbours])
    np.testing.assert_allclose(turned, found, atol=1e-6)
    energy = -sum(bond * spins[:, i] * spins[:, j] for (i, j), bond in ring.items())
    scale = np.sqrt((strengths**2).sum(1).mean())
    np.testing.assert_allclose(found[:, -1], -2 * energy / 4 / scale, atol=1e-6)  # each bond is seen from both ends
