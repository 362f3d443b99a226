"""Tables of the CAMELS parameters: params_{set}_{suite}.txt, CosmoAstroSeed_{suite}_{volume}_{set}.txt, any header.

Source of the names and orders: the tables and the Info_* files in the documentation of CAMELS (camels.readthedocs.io).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from physgen.domains.cosmology.labels import RESERVED, SEED_COLUMNS, name_numbers
from physgen.domains.cosmology.tables import Table, canonical, is_parameter, is_table, read_table
from physgen.errors import InputError

SIX = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
RAMSES = ("Omega_m", "sigma_8", "A_SN1", "A_SN2", "A_AGN1", "A_AGN2")
COSMOLOGY = ("Omega_b", "h", "n_s")  # columns 7 to 9 of every suite
TNG = (
    "Omega_m", "sigma_8", "WindEnergyIn1e51erg", "RadioFeedbackFactor", "VariableWindVelFactor",
    "RadioFeedbackReiorientationFactor", *COSMOLOGY, "MaxSfrTimescale", "FactorForSofterEQS", "IMFslope",
    "SNII_MinMass_Msun", "ThermalWindFraction", "VariableWindSpecMomentum", "WindFreeTravelDensFac", "MinWindVel",
    "WindEnergyReductionFactor", "WindEnergyReductionMetallicity", "WindEnergyReductionExponent", "WindDumpFactor",
    "SeedBlackHoleMass", "BlackHoleAccretionFactor", "BlackHoleEddingtonFactor", "BlackHoleFeedbackFactor",
    "BlackHoleRadiativeEfficiency", "QuasarThreshold", "QuasarThresholdPower",
)  # fmt: skip
TNG_35 = (
    *TNG, "UVBH0beta", "UVBH0Deltaz", "UVBHepbeta", "UVBHepDeltaz", "SNIa_Rate_Norm", "SNIa_Rate_DTD_power",
    "SofteningComovingType01",
)  # fmt: skip
SIMBA_28 = (
    "Omega_m", "sigma_8", "GALSF_SUBGRID_DAA_LOADFACTOR", "BH_BAL_KICK_MOMENTUM_FLUX", "GALSF_SUBGRID_FIREVEL",
    "BH_QUENCH_JET", *COSMOLOGY, "CritPhysDensity", "SfEffPerFreeFall", "TempClouds", "WindFreeTravelMaxTime",
    "WindFreeTravelDensFac", "SeedBlackHoleMass", "BlackHoleAccretionFactor", "BlackHoleRadiativeEfficiency",
    "BlackHoleEddingtonFactor", "BlackHoleNgbFactor", "BlackHoleMaxAccretionRadius", "GALSF_JEANS_MIN_T",
    "GALSF_SUBGRID_FIREVEL_SLOPE", "GALSF_SUBGRID_HOTWIND", "GALSF_AGBWINDHEATING", "BH_HOST_TO_SEED_RATIO",
    "BH_QUENCH_JET_HOTWIND", "BH_BONDI_HOT", "MBH_JET_MIN",
)  # fmt: skip
ONE_PARAMETER = (5, 6, 7, 26, 28, 35)  # columns that 1P tables have, by suite


def find_table(path: Path, name: re.Match, paths: list[Path], option: str | None) -> Path:
    """The table: ``params=``, the one among the paths, or one of the usual names beside the fields."""
    given = [Path(option)] if option else [p for p in paths if is_table(p)]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} are both tables: give the one of this set, params=FILE")
    suite, set_ = name["suite"], name["set"]
    plain = suite.removeprefix("Nbody_").removesuffix("_DM")
    beside = [path.with_name(f"params_{s}.txt") for s in (f"{set_}_{suite}", suite, f"{set_}_{plain}", plain)]
    for spelling in (plain, plain.replace("-", "")):
        volumes = [f"_L{name['box']}"] if name["box"] else ["", "_L25", "_L50"]
        beside += [p for v in volumes for p in sorted(path.parent.glob(f"CosmoAstroSeed_{spelling}{v}*_{set_}.txt"))]
        beside.append(path.with_name(f"CosmoAstroSeed_{spelling}.txt"))
    for candidate in given or beside:
        if candidate.is_file():
            _check_file_name(candidate, plain, set_)
            return candidate
    raise InputError(
        f"the parameters of {path.name} were not found ({(given or beside)[0]}): give the file, params={beside[0].name}"
    )


def _check_file_name(table: Path, suite: str, set_: str) -> None:
    """The suite and the set in the name of a table against those of the fields."""
    match = re.fullmatch(r"params_(?:(?P<set>1P|CV|LH|EX|BE|SB\d+)_)?(?P<suite>.+)", table.stem) or re.fullmatch(
        r"CosmoAstroSeed_(?P<suite>[A-Za-z-]+)(?:_L\d+n\d+)?(?:_(?P<set>1P|CV|LH|EX|BE|SB\d+))?", table.stem
    )
    if not match:
        return
    said = match["suite"].removeprefix("Nbody_").removesuffix("_DM")
    if re.sub("[-_]", "", said).lower() not in (re.sub("[-_]", "", suite).lower(), "nbody"):
        raise InputError(f"{table} is by its name the table of {said}, the fields are of {suite}: give the right table")
    if match["set"] and match["set"] != set_:
        raise InputError(
            f"{table} is by its name the table of {match['set']}, the fields are of {set_}: give the right table"
        )


def read_parameters(path: Path, name: re.Match) -> Table:
    """The rows of this set, in the order of their numbers where they are named ``{set}_{number}``."""
    table = read_table(path)
    names = table.words.get("name")
    if not names:
        return table
    own = [i for i, row in enumerate(names) if row.split("_")[0] == name["set"]]
    if not own:
        raise InputError(
            f"{path} has no row of the set {name['set']}, its first is {names[0]}: give the table of this set"
        )
    notes = list(table.notes)
    if len(own) < len(names):
        notes.append(f"{path.name}: the {len(own)} rows of {name['set']} out of {len(names)}")
    if all(re.fullmatch(rf"{name['set']}_\d+", names[i]) for i in own):
        numbers = name_numbers([names[i] for i in own])
        if not np.array_equal(np.sort(numbers), np.arange(len(numbers))):
            raise InputError(
                f"{path} names {len(numbers)} rows of {name['set']}, but not 0 to {len(numbers) - 1}: it is not whole"
            )
        own = [own[i] for i in np.argsort(numbers)]
    words = {column: [values[i] for i in own] for column, values in table.words.items()}
    return Table(path, table.values[own], table.names, words, notes)


def parameters(table: Table, name: re.Match) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """(labels, seeds, notes): one value per simulation; names in a header win over the position."""
    if table.names and sum(map(is_parameter, table.names)) >= 2:
        columns = [canonical(n) for n in table.names]
        notes = [f"columns of {table.path.name} by its header: {_short(columns)}"]
        if "Omega_m" not in columns:
            raise InputError(f"{table.path} names no column Omega_m ({' '.join(table.names)}): correct its header")
    else:
        columns = _by_position(table, name)
        notes = [f"columns of {table.path.name} by position: {_short(columns)}"]
    used = RESERVED & set(columns)
    if used:
        raise InputError(f"{table.path} names a column {sorted(used)[0]!r}, which has another meaning: rename it")
    values = {column: table.values[:, i] for i, column in enumerate(columns)}
    seeds = {column: values.pop(column) for column in columns if column.lower() in SEED_COLUMNS}
    Omega_m = values["Omega_m"]
    if not np.all((Omega_m > 0) & (Omega_m <= 1)):
        bad = Omega_m[(Omega_m <= 0) | (Omega_m > 1)][0]
        raise InputError(f"{table.path} gives Omega_m = {bad:g}, outside 0 to 1: its columns stand in another order")
    if name["suite"].startswith("Nbody") or name["suite"].endswith("_DM"):
        # the baryonic columns of an N-body suite are placeholders
        values = {column: values[column] for column in ("Omega_m", "sigma_8", *COSMOLOGY) if column in values}
    return values, seeds, [*table.notes, *notes]


def _short(columns: list[str]) -> str:
    return " ".join(columns if len(columns) <= 10 else [*columns[:9], f"... ({len(columns)} in all)"])


def _by_position(table: Table, name: re.Match) -> list[str]:
    """Names by the documented order of the suite; a last column of whole numbers after row names is the seed."""
    width, set_, suite = table.values.shape[1], name["set"], name["suite"]
    allowed = _widths(set_)
    seeded = "name" in table.words and width - 1 in allowed and width not in allowed
    width -= seeded
    if width not in allowed:
        raise InputError(
            f"{table.path} has {width} columns, this format has {' or '.join(map(str, allowed))} for {set_}: "
            "give the right params file, or a header that names its columns"
        )
    return [*_order(width, suite), *(["seed"] if seeded else [])]


def _widths(set_: str) -> tuple[int, ...]:
    match = re.fullmatch(r"SB(\d+)", set_)
    if match:
        return (int(match[1]),) if int(match[1]) != 5 else (5, 6)
    return ONE_PARAMETER if set_ in ("1P", "CV", "EX", "BE") else (6,)


def _order(width: int, suite: str) -> tuple[str, ...]:
    plain = suite.removeprefix("Nbody_").removesuffix("_DM")
    if width <= 6:
        return (RAMSES if plain == "Ramses" else SIX)[:width]
    if width == 7:
        return (*SIX, "Omega_b")
    documented = {("IllustrisTNG", 28): TNG, ("IllustrisTNG", 35): TNG_35, ("SIMBA", 28): SIMBA_28}
    if (plain, width) in documented:
        return documented[plain, width]
    return ("Omega_m", "sigma_8", *(f"parameter_{i}" for i in range(3, 7)), *COSMOLOGY) + tuple(
        f"parameter_{i}" for i in range(10, width + 1)
    )
