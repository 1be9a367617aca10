"""Scenes of scikit-learn's digits with captions: a stand-in for users' features, in which more tokens tell more.

A scene is a square of cells, filled from the first on in reading order, each with a digit; the rest is empty. Its
caption is the digits that are there. Features are the pixels of square patches, so that nothing has been told apart
beforehand. Training and validation have different pictures of digits: the last quarter is for validation.
"""

from __future__ import annotations

import math

import numpy as np

from experiments.data import digits

__all__ = ["CLASSES", "scenes"]

CLASSES = digits.CLASSES
_SIDE = 8
#: Of the pixels of all pictures, roughly: features have about mean 0 and deviation 1.
_MEAN, _DEVIATION = 0.3, 0.38


def scenes(seed: int, *, held_out: bool, count: int, grid: int, width: int, length: int) -> tuple[np.ndarray, ...]:
    """Features `[count, grid, grid, width]` float16 and captions `[count, length]` int32, -1 behind their ends.

    Args:
      held_out: whether the digits are those for validation.
      grid: patches along a side; `width` pixels each.
      length: cells of a scene, and digits of the longest caption; the shortest has one.

    Raises:
      ValueError: the cells, of 8 x 8 pixels each, and the patches do not make the same square.
      DataError: no digits.
    """
    cells, patch = math.isqrt(length), math.isqrt(width)
    if cells**2 != length or patch**2 != width or cells * _SIDE != grid * patch:
        allowed = f"c^2, p^2 and {_SIDE} c / p of whole c and p"
        raise ValueError(f"length, width and grid must be {allowed}, got {length}, {width}, {grid}.")
    images, labels = digits.load()
    first = len(labels) * 3 // 4
    pool = np.arange(first, len(labels)) if held_out else np.arange(first)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(pool, (count, length))
    there = np.arange(length) < rng.integers(1, length + 1, (count, 1))
    pictures = ((images[chosen] * there[..., None, None] - _MEAN) / _DEVIATION).astype(np.float16)
    whole = pictures.reshape(count, cells, cells, _SIDE, _SIDE).transpose(0, 1, 3, 2, 4)
    features = whole.reshape(count, grid, patch, grid, patch).transpose(0, 1, 3, 2, 4).reshape(count, grid, grid, width)
    return features, np.where(there, labels[chosen], -1).astype(np.int32)
