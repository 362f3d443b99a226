"""The sets of Quijote: fixed cosmologies by the name of their folder, and the tables of those that vary.

Source: table of simulations in the documentation (quijote-simulations.readthedocs.io, "Structure and types").
"""

from __future__ import annotations

import re

import numpy as np

from physgen.domains.cosmology.tables import Table, canonical, is_parameter
from physgen.errors import InputError

COLUMNS = {
    5: ("Omega_m", "Omega_b", "h", "n_s", "sigma_8"),
    7: ("Omega_m", "Omega_b", "h", "n_s", "sigma_8", "M_nu", "w"),
}
FIDUCIAL = {"Omega_m": 0.3175, "Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624, "sigma_8": 0.834}
EXTENDED = {
    **{"M_nu": 0.0, "w": -1.0, "delta_b": 0.0, "f_NL_local": 0.0, "f_NL_equilateral": 0.0},
    **{"f_NL_orthogonal_CMB": 0.0, "f_NL_orthogonal_LSS": 0.0, "p_NL": 0.0},
}
# folder -> (parameter, value of _p, value of _m)
STEPS = {
    "Om": ("Omega_m", 0.3275, 0.3075),
    "Ob": ("Omega_b", 0.050, 0.048),
    "Ob2": ("Omega_b", 0.051, 0.047),
    "h": ("h", 0.6911, 0.6511),
    "ns": ("n_s", 0.9824, 0.9424),
    "s8": ("sigma_8", 0.849, 0.819),
    "w": ("w", -1.05, -0.95),
    "DC": ("delta_b", 0.035, -0.035),
    "LC": ("f_NL_local", 100.0, -100.0),
    "EQ": ("f_NL_equilateral", 100.0, -100.0),
    "OR_CMB": ("f_NL_orthogonal_CMB", 100.0, -100.0),
    "OR_LSS": ("f_NL_orthogonal_LSS", 100.0, -100.0),
    "ODD": ("p_NL", 1e6, -1e6),
}
NEUTRINOS = {"Mnu_p": 0.1, "Mnu_pp": 0.2, "Mnu_ppp": 0.4}
# words in the name of a varied set -> a column that its table must have (None: none beyond the five)
VARIED = {"nwLH": "w", "EQ": "f_NL_equilateral", "LC": "f_NL_local"}


def fixed_labels(name: str) -> dict[str, float] | None:
    """The cosmology of a set that has only one, by the name of its folder; None for any other name.

    Beyond the five parameters those that the extended sets vary stand with their standard values.
    """
    base = {**FIDUCIAL, **EXTENDED}
    if re.fullmatch(r"fiducial(_ZA|_LR|_HR)?", name):
        return base
    if name in NEUTRINOS:
        return {**base, "M_nu": NEUTRINOS[name]}
    match = re.fullmatch(r"(\w+?)_([pm])", name)
    if not match or match[1] not in STEPS:
        return None
    parameter, plus, minus = STEPS[match[1]]
    return {**base, parameter: plus if match[2] == "p" else minus}


def set_labels(table: Table, name: str, realisations: np.ndarray) -> tuple[dict[str, np.ndarray], list[str]]:
    """Rows of the table of a varied set for its realisations, and notes.

    Names in the header win over the position. Without a header, 5 columns are the Latin hypercube, 7 that with
    neutrinos and dark energy.
    """
    columns, notes = _columns(table, name)
    if realisations.max() >= len(table):
        raise InputError(
            f"{table.path} has {len(table)} rows, realisation {realisations.max()} needs row {realisations.max()}: "
            "give the params file of this set"
        )
    _check_set(table, columns, name)
    return {column: table.values[realisations, i] for i, column in enumerate(columns)}, [*notes, *table.notes]


def _columns(table: Table, name: str) -> tuple[list[str], list[str]]:
    width = table.values.shape[1]
    if table.names and sum(map(is_parameter, table.names)) >= 1:
        return [canonical(n) for n in table.names], [f"columns of {table.path.name} by its header"]
    if width not in COLUMNS:
        raise InputError(
            f"{table.path} has {width} columns, this format has {' or '.join(map(str, COLUMNS))} (others need a header "
            "of their names): give the right params file"
        )
    needed = next((column for word, column in VARIED.items() if word in name), None)
    if needed and needed not in COLUMNS[width]:
        raise InputError(
            f"{table.path} has {width} columns and no header, {name} varies {needed}: give the table of {name}"
        )
    return list(COLUMNS[width]), [f"columns of {table.path.name} by position: {' '.join(COLUMNS[width])}"]


def _check_set(table: Table, columns: list[str], name: str) -> None:
    """The folder's set against the columns, the file's name and the range of Omega_m."""
    varied = re.search("latin_hypercube|nwLH|BSQ", name)
    for word, column in VARIED.items():
        if varied and word in name and column not in columns:
            raise InputError(
                f"{table.path} has no column {column}, which {name} varies: give the params file of {name}"
            )
        if varied and word not in name and column in columns:
            raise InputError(f"{table.path} varies {column}, {name} does not: give the params file of {name}")
    words = [*VARIED, "BSQ"]
    in_file = [w for w in words if re.search(rf"(?<![A-Za-z]){w}(?![A-Za-z])", table.path.stem.replace("_", " "))]
    if in_file and re.search("latin_hypercube|BSQ|nwLH", name) and not any(w in name for w in in_file):
        raise InputError(
            f"{table.path} is by its name the table of {in_file[0]}, the fields belong to {name}: correct one"
        )
    if "Omega_m" in columns:
        values = table.values[:, columns.index("Omega_m")]
        if not np.all((values > 0) & (values <= 1)):
            bad = values[(values <= 0) | (values > 1)][0]
            raise InputError(
                f"{table.path} gives Omega_m = {bad:g}, outside 0 to 1: its columns stand in another order"
            )
