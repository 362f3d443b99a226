"""What an ensemble says of its lattice: dims, periodicity, mask; what cannot be learned is refused here."""

from __future__ import annotations

import numpy as np
import xarray as xr

from physgen.ensemble import sample_dims
from physgen.errors import InputError


def is_periodic(ensemble: xr.Dataset) -> bool:
    """The root attribute ``periodic`` (0 or 1); an ensemble that does not say is taken as periodic."""
    value = str(ensemble.attrs.get("periodic", 1)).strip().lower()
    if value not in ("0", "1", "true", "false", "0.0", "1.0"):
        raise InputError(f"the attribute periodic = {value!r} must be 1 (opposite sides touch) or 0 (they do not)")
    return value in ("1", "true", "1.0")


def check_layout(ensemble: xr.Dataset) -> None:
    """Refuse what has no place in the encoding.

    One dim counts configurations and is called ``sample``; every further sample dim (``redshift``) is a condition like
    the labels. A mask that leaves cells out is refused: the network would learn its shape as physics.

    Raises:
        InputError: another layout, or a mask.
    """
    dims = sample_dims(ensemble)
    if "sample" not in dims:
        raise InputError(
            f"'field' has the sample dims {dims}, none of them called 'sample': rename the one that counts "
            f"configurations (ensemble.rename({{{dims[0]!r}: 'sample'}})) and give the simulation of each as the "
            "variable 'simulation' on it"
        )
    if "simulation" in dims:
        raise InputError(
            "'field' has the dims 'simulation' and 'sample': put both into 'sample', with the simulation of each as "
            "the variable 'simulation' on it (ensemble.stack(s=['simulation', 'sample']), then reset_index and rename)"
        )
    check_mask_free(ensemble)


def check_mask_free(ensemble: xr.Dataset) -> None:
    """Raise InputError where a variable ``mask`` (1 where the field was seen) leaves cells out."""
    if "mask" in ensemble.variables and not np.all(ensemble["mask"].values):
        share = float(np.mean(np.asarray(ensemble["mask"].values) == 0))
        raise InputError(
            f"{100 * share:.3g} % of the cells are masked: masked fields cannot be learned or measured here, "
            "cut out a part without a mask, or fill the cells and drop the variable 'mask'"
        )
