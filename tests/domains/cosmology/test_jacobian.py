"""ln of the Jacobian of an encoding against differences of the encoding itself: zero mode, normal scores included."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from physgen.domains.cosmology import Domain
from physgen.domains.lattice_field import fit_constants

SHAPE = (400, 3, 2)


def fields(kind):
    """Lognormal fields whose means vary, as those of slabs do."""
    rng = np.random.default_rng(4)
    values = np.exp(0.8 * rng.standard_normal(SHAPE) + 0.3 * rng.standard_normal((SHAPE[0], 1, 1)))
    values = {"delta": values - 1, "density": 40 * values, "real": values - 2}[kind]
    space = {d: (d, np.arange(n) + 0.5, {"units": "Mpc/h"}) for d, n in zip("yx", SHAPE[1:], strict=True)}
    attrs = {"domain": "cosmology", "field_kind": kind}
    return xr.Dataset({"field": (("sample", "y", "x"), values)}, space, attrs)


@pytest.mark.parametrize("zero_mode", ["mean", "encoded"])
@pytest.mark.parametrize(("kind", "transform"), [("delta", "gaussian"), ("density", "log"), ("real", "gaussian")])
def test_log_jacobian_is_that_of_the_encoding(kind, transform, zero_mode):
    data = fields(kind)
    domain = dataclasses.replace(Domain(), transform=transform, zero_mode=zero_mode)
    constants = domain.fit_encoding(data)
    some = data.isel(sample=slice(3))
    found = domain.log_jacobian(some, constants)
    cells = int(np.prod(SHAPE[1:]))
    for i in range(3):
        one = data.field.values[i].reshape(-1)
        step = 1e-3 * (np.abs(one) + 0.05)  # float32 results: their rounding and the curvature are a per mille
        moved = one + np.concatenate([np.diag(step), -np.diag(step)])
        copies = data.isel(sample=np.arange(2 * cells)).assign(
            field=(("sample", "y", "x"), moved.reshape(-1, *SHAPE[1:]))
        )
        x = domain.encode(copies, constants)[0].double().numpy().reshape(2, cells, cells)
        matrix = (x[0] - x[1]) / (2 * step[:, None])
        assert found[i] == pytest.approx(np.linalg.slogdet(matrix)[1], abs=0.02)


def test_default_encoding_states_its_scale_and_an_own_one_nothing():
    data = fields("real")

    class Plain(Domain.__mro__[1]):
        name, description, split_by = "plain", "a default encoding", "sample"

        def simulate(self, seed, processes=1, progress=None):
            raise NotImplementedError

    class Own(Plain):
        def encode(self, ensemble, constants):
            raise NotImplementedError

    constants = fit_constants(data, Plain().values, ())
    np.testing.assert_allclose(Plain().log_jacobian(data, constants), -6 * np.log(constants["std"][0]))
    assert Own().log_jacobian(data, constants) is None
