"""Handwritten digits of 8 x 8 pixels, 17 levels, which scikit-learn brings: 1797 images of ten classes.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998), the test
set of 13 writers; blocks of 4 x 4 pixels of a bitmap of 32 x 32 were counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.images.arrays import image_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LEVELS, COUNT = 17, 1797


def load_digits(count: int, seed: int) -> xr.Dataset:
    """``count`` of the images in an order that depends on the seed, each once; 0: all. Raises InputError."""
    try:
        from sklearn.datasets import load_digits as shipped
    except ImportError:
        raise InputError(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn, or choose another "
            "data.source"
        ) from None
    if count > COUNT:
        raise InputError(f"data.count = {count}: there are {COUNT} digits; give {COUNT} or less, or 0 for all")
    found = shipped()
    rows = np.random.default_rng(seed).permutation(COUNT)[: count or COUNT]
    return image_ensemble(found.images[rows], LEVELS, found.target[rows])
