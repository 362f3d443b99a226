"""What a network of spins takes: only J/T counts, so couplings of another strength are other temperatures."""

import numpy as np
import pytest

from physgen.domains.spins import Spins, from_arrays
from physgen.domains.spins.couplings import complete_graph
from physgen.errors import InputError

LATTICE = {"grid": [4, 4], "graph": False, "temperatures": [0.5, 2.0], "strength": 1.0}
DOMAIN = Spins()


def square(factor):
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (1, 2, 4, 4))
    return from_arrays(None, factor * signs)


def asked(like, temperature, constants=LATTICE):
    given = {} if temperature is None else {"temperature": temperature}
    return DOMAIN.request(like, 2, given, constants).temperature.values.tolist()


def test_couplings_like_the_trained_ones_are_taken():
    assert asked(square(1.4), 0.5) == [0.5]
    assert asked(square(1.0), None) == [0.5, 2.0]
    assert asked(square(0.2), 1.0) == [1.0]  # hotter than all trained ones: no state can be missed
    without = {name: value for name, value in LATTICE.items() if name != "strength"}
    assert asked(square(1.0), 1.0, without) == [1.0]


@pytest.mark.parametrize(
    ("factor", "temperature", "message"),
    [
        (5, 1.0, "5 times as strong.*0.5 to 2 J are 2.5 to 10 J here.*scale=0.2"),
        (5, 5.0, "5 times as strong.*scale=0.2"),
        (0.1, 0.1, "0.1 times as strong.*0.05 to 0.2 J here.*scale=10 "),
        (5, None, "T = 0.5 J: the couplings are 5 times as strong"),
        (1, 5.0, "the temperature 5 lies outside"),
        (1, float("nan"), "the temperature nan lies outside"),
    ],
)
def test_another_strength_or_temperature_is_refused_with_the_unit_that_is_taken(factor, temperature, message):
    with pytest.raises(InputError, match=message):
        asked(square(factor), temperature)


def test_temperatures_of_the_file_are_held_to_the_same_rule():
    like = from_arrays(None, np.ones((1, 2, 4, 4)), (0.1, 1.0))
    with pytest.raises(InputError, match=r"the temperature 0.1 lies outside"):
        asked(like, None)


def test_graphs_are_measured_by_the_field_of_independent_spins():
    edges, spins = complete_graph(64), 64
    bonds = np.random.default_rng(1).choice([-1.0, 1.0], (1, len(edges))) / np.sqrt(spins - 1)
    constants = {"grid": [32], "graph": True, "temperatures": [0.8, 2.0], "strength": 1.0, "bonds": 600}
    assert asked(from_arrays(None, bonds, edges=edges), 0.8, constants) == [0.8]
    with pytest.raises(InputError, match="3 times as strong"):
        asked(from_arrays(None, 3 * bonds, edges=edges), 0.8, constants)


def test_the_strength_is_learned_from_the_training_part():
    made = Spins(length=3, temperatures=(1.0,), instances=3, replicas=2, couplings="bimodal").simulate(0)
    assert made.pipe(DOMAIN.fit_encoding)["strength"] == pytest.approx(1)
