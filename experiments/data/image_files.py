"""Users' labelled pictures: uint8 `[n, side, side, 3]` in FOLDER/{train,validation}_images.npy, labels beside."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import part_files

__all__ = ["Images", "like", "load", "synthetic"]


class Images(NamedTuple):
    """Attributes: `images [n, side, side, 3]` uint8; `labels [n]` int32, first <= label < classes."""

    images: np.ndarray
    labels: np.ndarray


def like(count: int, side: int) -> Images:
    """`Images` of shapes alone."""
    import jax

    shape = jax.ShapeDtypeStruct
    return Images(shape((count, side, side, 3), np.uint8), shape((count,), np.int32))


def load(
    source: str | Path, part: str, *, count: int, side: int, classes: int, first: int = 0, whole: bool = False
) -> Images:  # fmt: skip
    """The first `count` pictures of a part of a folder, mapped and not read, or of "synthetic".

    Args:
      classes, first: labels of a folder lie in first .. classes - 1.
      whole: refuse a folder with more pictures.

    Raises: DataError.
    """
    if source == "synthetic":
        return synthetic(part, count=count, side=side, classes=classes)
    like = (None, side, side, 3)
    images = part_files.mapped(source, part, "images", like=like, dtype=np.uint8, count=count, whole=whole)
    return Images(images, part_files.labels(source, part, count=count, classes=classes, first=first, whole=whole))


def synthetic(part: str, *, count: int, side: int, classes: int) -> Images:
    """Noise around one random pattern per class, the same patterns in both parts: a stand-in for a rehearsal."""
    patterns = np.random.default_rng(0).integers(64, 192, (classes, side, side, 3))
    rng = np.random.default_rng(1 + part_files.PARTS.index(part))
    labels = rng.integers(0, classes, count).astype(np.int32)
    noise = rng.integers(-64, 64, (count, side, side, 3))
    return Images((patterns[labels] + noise).astype(np.uint8), labels)
