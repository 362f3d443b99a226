"""Fields of small scatter get bins that resolve them; those of others stay as they are."""

import numpy as np
import pytest

import physgen as pg
from physgen.domains.contract import get_domain
from physgen.domains.cosmology.statistics import one_point


def contrast(scatter, seed, count=24):
    """Lognormal density contrast of which ln(1 + delta) scatters by ``scatter``."""
    white = np.random.default_rng(seed).normal(size=(count, 16, 16))
    values = np.exp(scatter * white - scatter**2 / 2) - 1
    return get_domain("cosmology").adopt(pg.from_array(values, box_size="25 Mpc/h", attrs={"field_kind": "delta"}))


@pytest.mark.parametrize(("scatter", "width"), [(1.0, 0.1), (0.3, 0.1), (0.05, 0.01), (0.005, 0.001)])
def test_the_reference_chooses_bins_for_all_that_are_compared_with_it(scatter, width):
    domain, reference = get_domain("cosmology")(), contrast(scatter, 0)
    reference = domain.confront(reference, reference, "the reference")
    other = domain.confront(reference, contrast(1.0, 1), "the generated ensemble")
    mine, theirs = one_point(reference), one_point(other)
    assert mine["width"].values == pytest.approx(np.full(50, width), rel=1e-6)
    np.testing.assert_array_equal(mine["log10_density"], theirs["log10_density"])
    assert int((mine["value"] > 0).sum()) >= 8
    assert float((theirs["value"] * theirs["width"]).sum("log10_density").mean()) == pytest.approx(1)  # nothing is lost


def test_a_narrow_field_of_half_the_scatter_is_told_from_the_right_one():
    """With bins of a tenth of a decade nearly all values of both lie in two bins."""
    reference = contrast(0.05, 0)
    judged = pg.evaluate(contrast(0.025, 1), reference, domain="cosmology")
    status = {verdict.diagnostic: verdict.status for verdict in judged.verdicts}
    assert status["one_point"] == "fail"
