"""Users' labelled pictures as arrays on disk: FOLDER/{train,validation}_{images,labels}.npy, memory-mapped.

Images are uint8 `[n, side, side, 3]`, labels integers `[n]`. Nothing is downloaded: ImageNet and its like come with
terms that users accept for themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.fetch import DataError

__all__ = ["PARTS", "Images", "like", "load", "read", "synthetic"]

PARTS = ("train", "validation")


class Images(NamedTuple):
    """Attributes: `images [n, side, side, 3]` uint8; `labels [n]` int32, 0 <= label < classes."""

    images: np.ndarray
    labels: np.ndarray


def like(count: int, side: int) -> Images:
    """`Images` of shapes alone."""
    import jax

    shape = jax.ShapeDtypeStruct
    return Images(shape((count, side, side, 3), np.uint8), shape((count,), np.int32))


def load(source: str | Path, part: str, *, count: int, side: int, classes: int) -> Images:
    """The first `count` pictures of a part of a folder, or of "synthetic". Raises DataError, also for too few."""
    if source == "synthetic":
        return synthetic(part, count=count, side=side, classes=classes)
    found = read(source, part, side=side, classes=classes)
    if len(found.labels) < count:
        raise DataError(f"images: {part} must have {count:,} pictures, found {len(found.labels):,}.")
    return Images(np.asarray(found.images[:count]), found.labels[:count])


def read(folder: str | Path, part: str, *, side: int, classes: int) -> Images:
    """One part, of `PARTS`. Raises DataError where files are missing or are not what they should be."""
    found = []
    for name in ("images", "labels"):
        path = Path(folder) / f"{part}_{name}.npy"
        try:
            found.append(np.load(path, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise DataError(f"images: {path} cannot be read ({error}).") from error
    images, labels = found
    if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        raise DataError(f"images: {part} must be uint8 of [n, {side}, {side}, 3], found {images.dtype} {images.shape}.")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"images: {part} must have {len(images):,} whole labels, found {labels.dtype} {labels.shape}.")
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(f"images: labels of {part} must lie in 0..{classes - 1}, found {labels.min()}..{labels.max()}.")
    return Images(images, labels.astype(np.int32))


def synthetic(part: str, *, count: int, side: int, classes: int) -> Images:
    """Noise around one random pattern per class, the same patterns in both parts: a stand-in for a rehearsal."""
    patterns = np.random.default_rng(0).integers(64, 192, (classes, side, side, 3))
    rng = np.random.default_rng(1 + PARTS.index(part))
    labels = rng.integers(0, classes, count).astype(np.int32)
    noise = rng.integers(-64, 64, (count, side, side, 3))
    return Images((patterns[labels] + noise).astype(np.uint8), labels)
