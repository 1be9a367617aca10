"""Ten photographs that come with scikit-image, in grey.

Public domain or CC0 according to scikit-image's list of its data, part of the package (BSD 3-Clause). Nothing is
shipped with the project, and nothing is downloaded.
"""

from __future__ import annotations

import functools

import numpy as np

from experiments.data.fetch import DataError

__all__ = ["NAMES", "SIDE", "load"]

NAMES = ("camera", "coins", "brick", "grass", "gravel", "moon", "coffee", "chelsea", "rocket", "astronaut")

#: Pixels of a side: what all of them have.
SIDE = 300

#: Luminance of red, green and blue (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


@functools.cache
def load() -> np.ndarray:
    """`[10, SIDE, SIDE]` float32 in [0, 1]: the middle of each picture, in the order of `NAMES`; not to be written to.

    Raises DataError without scikit-image, or where a picture is smaller.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise DataError("pictures: they come with scikit-image; pip install scikit-image.") from error
    found = []
    for name in NAMES:
        picture = np.asarray(getattr(data, name)(), np.float64) / 255
        grey = picture @ _LUMA if picture.ndim == 3 else picture
        if min(grey.shape) < SIDE:
            raise DataError(f"pictures: {name} must have at least {SIDE} x {SIDE} pixels, found {grey.shape}.")
        top, left = ((n - SIDE) // 2 for n in grey.shape)
        found.append(grey[top : top + SIDE, left : left + SIDE])
    return np.asarray(found, np.float32)
