"""The ensemble: one xarray Dataset that holds configurations, their labels and where they came from.

Rules of the data type. The variable ``field`` holds the configurations. Its dims named ``z y x`` (or
``site``) are space, ``component`` is the channel, every other dim counts samples. Labels and couplings
are further variables, provenance stands in the root attributes, and what counts as independent as well
(:mod:`physgen.ensemble.units`). There is no class: every function here
takes a Dataset and returns one.

Files are NetCDF-4/HDF5 with one sample per chunk and a Fletcher-32 checksum on each, because a plain
HDF5 file with a flipped bit loads without complaint.
"""

from physgen.ensemble.check import check_ensemble
from physgen.ensemble.files import SCHEMA, load_ensemble, open_ensemble, save_ensemble
from physgen.ensemble.from_array import from_array
from physgen.ensemble.layout import SPACE, flatten, sample_count, sample_dims, space_dims, spacing
from physgen.ensemble.split import select_units, shuffled_units, split, splitting_label, subset
from physgen.ensemble.units import (
    IndependentUnits,
    at_samples,
    exchangeable_dims,
    independent_units,
    unit_attrs,
    units_of_samples,
)

__all__ = [
    "IndependentUnits",
    "SCHEMA",
    "SPACE",
    "at_samples",
    "check_ensemble",
    "exchangeable_dims",
    "flatten",
    "from_array",
    "independent_units",
    "load_ensemble",
    "open_ensemble",
    "sample_count",
    "sample_dims",
    "save_ensemble",
    "select_units",
    "shuffled_units",
    "space_dims",
    "spacing",
    "split",
    "splitting_label",
    "subset",
    "unit_attrs",
    "units_of_samples",
]
