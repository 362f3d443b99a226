"""The ensemble: one xarray Dataset that holds configurations, their labels and where they came from.

Rules of the data type. The variable ``field`` holds the configurations. Its dims named ``z y x`` (or
``site``) are space, ``component`` is the channel, every other dim counts samples. Labels and quenched fields
are further variables, provenance stands in the root attributes, and what counts as independent as well
(:mod:`physgen.ensemble.units`). There is no class: every function here
takes a Dataset and returns one. A *template* is one without ``field``, which says in its root attribute ``template``
what it holds instead: conditions that configurations can be made under.

Files are NetCDF-4/HDF5 with one sample per chunk and a Fletcher-32 checksum on each, because a plain
HDF5 file with a flipped bit loads without complaint.
"""

from physgen.ensemble.blocks import BLOCK_VALUES, sample_blocks, sample_regions
from physgen.ensemble.check import TEMPLATE, check_ensemble, check_template, is_template
from physgen.ensemble.corner import CORNER, EXTRAPOLATED, corner_of, cut_corner, in_corner, marked, outside_corner
from physgen.ensemble.files import (
    SCHEMA,
    is_foreign,
    load_conditions,
    load_ensemble,
    map_ensemble,
    open_conditions,
    open_ensemble,
    open_verified,
    save_ensemble,
)
from physgen.ensemble.from_array import from_array, in_box_of
from physgen.ensemble.layout import LOG_WEIGHT, SPACE, flatten, sample_count, sample_dims, space_dims, spacing
from physgen.ensemble.scratch import scratch_array
from physgen.ensemble.selection import move_selection, save_selection
from physgen.ensemble.split import select_units, shuffled_units, split, splitting_label, subset
from physgen.ensemble.units import (
    SHARED,
    IndependentUnits,
    at_samples,
    exchangeable_dims,
    independent_units,
    unit_attrs,
    units_of_samples,
)
from physgen.ensemble.view import computed_field, unread_field

__all__ = [
    "BLOCK_VALUES",
    "CORNER",
    "EXTRAPOLATED",
    "LOG_WEIGHT",
    "SCHEMA",
    "SHARED",
    "SPACE",
    "TEMPLATE",
    "IndependentUnits",
    "at_samples",
    "check_ensemble",
    "check_template",
    "computed_field",
    "corner_of",
    "cut_corner",
    "exchangeable_dims",
    "flatten",
    "from_array",
    "in_box_of",
    "in_corner",
    "independent_units",
    "is_foreign",
    "is_template",
    "load_conditions",
    "load_ensemble",
    "map_ensemble",
    "marked",
    "move_selection",
    "open_conditions",
    "open_ensemble",
    "open_verified",
    "outside_corner",
    "sample_blocks",
    "sample_count",
    "sample_dims",
    "sample_regions",
    "save_ensemble",
    "save_selection",
    "scratch_array",
    "select_units",
    "shuffled_units",
    "space_dims",
    "spacing",
    "split",
    "splitting_label",
    "subset",
    "unit_attrs",
    "units_of_samples",
    "unread_field",
]
