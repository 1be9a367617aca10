"""Handwritten digits as pictures (1,797 of 8 x 8 pixels), as scikit-learn carries them, and how they are moved about.

E. Alpaydin, C. Kaynak, the test part of the optical recognition of handwritten digits (UCI Machine Learning Repository,
1998, CC BY 4.0). `samples` has the same records as rows of a table of two classes.

Letters: `n` pictures.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from experiments.data.fetch import DataError

__all__ = ["CLASSES", "NUM", "Digits", "enlarge", "load", "moved", "on_canvas"]

CLASSES = 10
NUM = 1797


class Digits(NamedTuple):
    """Attributes: `images [n, 8, 8]` float32 in [0, 1]; `labels [n]` int32."""

    images: np.ndarray
    labels: np.ndarray


@functools.cache
def load() -> Digits:
    """All of them, in the order of the data set; not to be written to. Raises DataError without scikit-learn."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError("digits: they come with scikit-learn; pip install scikit-learn.") from error
    found = datasets.load_digits()
    images, labels = found.images.astype(np.float32) / 16, found.target.astype(np.int32)
    if images.shape != (NUM, 8, 8) or np.bincount(labels, minlength=CLASSES).min() < 170:
        raise DataError(f"digits: must be {NUM} pictures of 8 x 8 of ten classes, found {images.shape}.")
    return Digits(images, labels)


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """`[n, h, w]` to `[n, size, size]`, linearly between the centres of pixels; edges are continued."""
    for axis in (1, 2):
        old = images.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), old - 2)
        share = (at - low).astype(images.dtype)
        share = share.reshape((-1, 1) if axis == 1 else (-1,))
        images = (1 - share) * images.take(low, axis) + share * images.take(low + 1, axis)
    return images


def on_canvas(images: np.ndarray, size: int = 24) -> np.ndarray:
    """Pictures of 8 x 8 at twice their size in the middle of an empty one of `size` >= 16."""
    twice = enlarge(images, 16)
    before = (size - 16) // 2
    return np.pad(twice, ((0, 0), *((before, size - 16 - before),) * 2))


def moved(
    images: np.ndarray, *, shift: float | tuple[float, float] = 0.0, angle: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    """Pictures `[n, h, w]` moved about their centre, linearly interpolated; what comes in from outside is 0.

    Args:
      shift: pixels downwards and to the right; one number is both.
      angle: degrees, counter-clockwise.
      scale: factor of size.
    """
    turn = np.deg2rad(angle)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    height, width = images.shape[1:]
    centre = (np.array([height, width]) - 1) / 2
    here = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1) - centre
    from_where = (here - np.asarray(shift)) @ back.T + centre + 1  # of a picture with a margin of one empty pixel
    low = np.floor(from_where).astype(int)
    share = (from_where - low).astype(images.dtype)
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2)))

    def corner(down, right):
        row, column = low[..., 0] + down, low[..., 1] + right
        inside = (row >= 0) & (row < height + 2) & (column >= 0) & (column < width + 2)
        weight = (share[..., 0] if down else 1 - share[..., 0]) * (share[..., 1] if right else 1 - share[..., 1])
        return padded[:, np.where(inside, row, 0), np.where(inside, column, 0)] * np.where(inside, weight, 0)

    return sum(corner(down, right) for down in (0, 1) for right in (0, 1))
