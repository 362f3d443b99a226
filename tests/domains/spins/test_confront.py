"""Two ensembles of spins: matched where they can be, refused with both values where not."""

import numpy as np
import pytest

from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import complete_graph
from physgen.domains.spins.layout import Disorder, instance_digests, spin_ensemble
from physgen.errors import InputError

FIELDS = {"length": 4, "instances": 4, "replicas": 3, "temperatures": (0.8, 1.2, 1.6)}
DOMAIN = Domain(**FIELDS)


@pytest.fixture(scope="module")
def made():
    return DOMAIN.simulate(seed=0)


def confront(made, other):
    return DOMAIN.confront(made, other, "the generated ensemble")


def test_temperatures_are_matched_by_value_in_any_order(made):
    shuffled = made.isel(temperature=[2, 0, 1])
    back = confront(made, shuffled)
    assert np.array_equal(back.field, made.field) and np.array_equal(back.temperature, made.temperature)
    subset = confront(made, made.isel(temperature=[2, 0]))
    assert subset.temperature.values.tolist() == [0.8, 1.6]
    assert DOMAIN.restrict(made, subset).temperature.values.tolist() == [0.8, 1.6]
    single = made.assign_coords(temperature=made.temperature.astype(np.float32))
    assert np.array_equal(confront(made, single).temperature, made.temperature)
    with pytest.raises(InputError, match=r"\[0.8, 1.2, 1.6\] J in the reference and \[1, 2, 3\] J.*do not overlap"):
        confront(made, made.assign_coords(temperature=[1.0, 2.0, 3.0]))
    with pytest.raises(InputError, match="one stands twice"):
        confront(made, made.assign_coords(temperature=[0.8, 0.8, 1.6]))


def test_the_same_instances_take_the_order_and_the_numbers_of_the_reference(made):
    moved = made.isel(disorder=[3, 1, 0, 2]).assign_coords(disorder=[0, 1, 2, 3])
    back = confront(made, moved)
    assert np.array_equal(back.field, made.field) and np.array_equal(back.disorder, made.disorder)
    more = confront(made.isel(disorder=[2, 1]), moved)
    assert np.array_equal(more.field, made.field[[2, 1, 3, 0]])
    assert more.disorder.values.tolist() == [2, 1, 3, 4]


def test_other_instances_stay_as_they_are(made):
    fresh = DOMAIN.simulate(seed=1)
    kept = confront(made, fresh)
    assert np.array_equal(kept.field, fresh.field)
    assert not set(instance_digests(kept)) & set(instance_digests(made))
    part = confront(made, made.isel(disorder=[2, 1]))  # not all of the reference's: none is missing from it
    assert np.array_equal(part.field, made.field[[2, 1]])


def graph(made):
    edges = complete_graph(16)
    couplings = np.ones((4, len(edges)), np.float32)
    spins = made.field.values.reshape(*made.field.shape[:3], 16)
    return spin_ensemble(spins, Disorder(couplings, edges, None), made.temperature.values, np.arange(4), {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: Domain(**FIELDS | {"length": 6}).simulate(0), "lattice of 4 x 4 in the reference, lattice of 6 x 6"),
        (graph, "lattice of 4 x 4 in the reference, general graph of 16 spins"),
        (lambda e: e.assign_attrs(boundary="periodic"), "cylinder in the reference, periodic in"),
        (
            lambda e: Domain(**FIELDS | {"boundary": "periodic"}).simulate(0).drop_attrs(deep=False),
            "y free, x periodic in the reference, y periodic, x periodic in",
        ),
        (lambda e: e.assign_attrs(model="ferromagnet"), "edwards_anderson in the reference, ferromagnet in"),
        (
            lambda e: e.assign(external_field=(("disorder", "y", "x"), np.full((4, 4, 4), 0.3))),
            "external field: absent in the reference, present in",
        ),
        (lambda e: e.assign(couplings=e.couplings.assign_attrs(units="K")), "unit of couplings: J in .*, K in"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_both_values(made, change, message):
    with pytest.raises(InputError, match=message):
        confront(made, change(made))


def test_what_is_not_said_is_no_contradiction(made):
    foreign = made.drop_attrs().assign(external_field=(("disorder", "y", "x"), np.zeros((4, 4, 4))))
    assert np.array_equal(confront(made, foreign).field, made.field)
