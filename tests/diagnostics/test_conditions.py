"""Conditions are what they are, not what they are called: digests of labels, couplings and graphs."""

import numpy as np
import pytest
import xarray as xr

from physgen.diagnostics import power_spectrum
from physgen.diagnostics.conditions import condition_names, entry_conditions, unit_conditions
from physgen.diagnostics.result import are_paired


def maps(labels, simulation=None):
    rng = np.random.default_rng(0)
    count = len(next(iter(labels.values())))
    data = {"field": (("sample", "y", "x"), rng.standard_normal((count, 6, 6)))}
    data |= {name: ("sample", np.asarray(values, float)) for name, values in labels.items()}
    if simulation is not None:
        data["simulation"] = ("sample", np.asarray(simulation))
    return xr.Dataset(data, attrs={"independent_unit": "simulation"})


LABELS = {"Omega_m": [0.1, 0.1, 0.3, 0.3], "a": [0.5, 1.0, 0.5, 1.0]}


def test_all_labels_of_a_unit_count_in_any_order_and_at_any_number_of_maps():
    one = unit_conditions(maps(LABELS, [0, 0, 1, 1]))
    shuffled = unit_conditions(maps({n: np.array(v)[[3, 0, 2, 1]] for n, v in LABELS.items()}, [7, 2, 7, 2]))
    assert sorted(one) == sorted(shuffled) and len(set(one)) == 2
    twice = unit_conditions(maps({n: np.repeat(v, 3) for n, v in LABELS.items()}, np.repeat([0, 0, 1, 1], 3)))
    assert twice.tolist() == one.tolist()
    other = unit_conditions(maps(LABELS | {"a": [0.5, 0.5, 0.5, 1.0]}, [0, 0, 1, 1]))
    assert other[0] != one[0] and other[1] == one[1]


def test_a_number_alone_is_no_condition():
    rng = np.random.default_rng(1)
    first, second = (maps({"Omega_m": rng.uniform(0.1, 0.5, 6)}, np.arange(6)).drop_vars("Omega_m") for _ in range(2))
    assert unit_conditions(first) is None
    assert not are_paired(power_spectrum(first), power_spectrum(second))


def test_equal_labels_pair_and_one_label_for_all_does_not():
    labels = {"Omega_m": [0.1, 0.2, 0.3]}
    equal = [power_spectrum(maps(labels, order)) for order in ([0, 1, 2], [5, 6, 4])]
    assert are_paired(*equal)
    fiducial = [power_spectrum(maps({"Omega_m": [0.3] * 3}, [0, 1, 2])) for _ in range(2)]
    assert not are_paired(*fiducial)


@pytest.mark.parametrize("relative", [1e-9, 1e-3])
def test_six_digits_count(relative):
    """Files in single precision hold the same condition; a change of a thousandth is another one."""
    one = unit_conditions(maps({"h": [0.6711, 0.7]}))
    other = unit_conditions(maps({"h": np.array([0.6711, 0.7]) * (1 + relative)}))
    assert (one == other).all() == (relative < 1e-6)


def test_an_instance_is_its_couplings_and_its_graph():
    spins = np.ones((2, 1, 2, 3), np.int8)
    dims = ("disorder", "temperature", "replica", "site")
    edges = np.array([[0, 1], [1, 2]])

    def glass(couplings, edges=edges):
        couplings = np.asarray(couplings)
        return xr.Dataset(
            {"field": (dims, spins), "couplings": (("disorder", "edge"), couplings), "edges": (("edge", "end"), edges)},
            attrs={"independent_unit": "disorder"},
        )

    one = unit_conditions(glass([[1.0, -1.0], [1.0, 1.0]]))
    assert unit_conditions(glass([[1, -1], [1, 1]])).tolist() == one.tolist()  # stored as integers or not
    assert unit_conditions(glass([[1.0, 1.0], [1.0, -1.0]])).tolist() == one[::-1].tolist()
    assert not set(unit_conditions(glass([[1.0, -1.0], [1.0, 1.0]], edges[:, ::-1] + 1))) & set(one)
    assert condition_names(glass([[1.0, -1.0], [1.0, 1.0]]), "disorder") == ["couplings"]


def test_a_variable_may_say_that_it_is_no_condition():
    ensemble = maps(LABELS, [0, 0, 1, 1])
    plain = unit_conditions(ensemble)
    ensemble["weight"] = ("sample", np.arange(4.0), {"is_condition": 0})
    assert unit_conditions(ensemble).tolist() == plain.tolist()
    assert len(set(entry_conditions(ensemble, "sample"))) == 4
