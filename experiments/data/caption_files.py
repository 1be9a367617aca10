"""Users' features of pictures and captions as arrays on disk: FOLDER/{train,validation}_{features,captions}.npy.

Features are float16 `[n, grid, grid, width]`, what a frozen vision encoder makes of a picture's patches, memory-mapped.
Captions are int32 `[n, length]`, tokens below a vocabulary, -1 behind the end; a token that says that a caption ends is
the user's own. Nothing is downloaded: encoders and captions come with terms that users accept for themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import digit_scenes
from experiments.data.fetch import DataError

__all__ = ["PARTS", "Captioned", "like", "load", "read"]

PARTS = ("train", "validation")


class Captioned(NamedTuple):
    """Attributes: `features [n, grid, grid, width]` float16; `captions [n, length]` int32, -1 behind their ends."""

    features: np.ndarray
    captions: np.ndarray


def like(count: int, *, grid: int, width: int, length: int) -> Captioned:
    """`Captioned` of shapes alone."""
    import jax

    shape = jax.ShapeDtypeStruct
    return Captioned(shape((count, grid, grid, width), np.float16), shape((count, length), np.int32))


def load(
    source: str | Path, part: str, *, count: int, grid: int, width: int, length: int, vocabulary: int
) -> Captioned:  # fmt: skip
    """The first `count` pictures of a part of a folder, or of "scenes" of digits. Raises DataError, also for too few.

    Raises ValueError for shapes that scenes cannot have.
    """
    if source == "scenes":
        if vocabulary < digit_scenes.CLASSES:
            raise ValueError(f"vocabulary must be >= {digit_scenes.CLASSES} for scenes, got {vocabulary}.")
        seed, shape = PARTS.index(part), {"grid": grid, "width": width, "length": length}
        return Captioned(*digit_scenes.scenes(seed, held_out=part == "validation", count=count, **shape))
    found = read(source, part, grid=grid, width=width, length=length, vocabulary=vocabulary)
    if len(found.captions) < count:
        raise DataError(f"captions: {part} must have {count:,} pictures, found {len(found.captions):,}.")
    return Captioned(np.asarray(found.features[:count]), found.captions[:count])


def read(folder: str | Path, part: str, *, grid: int, width: int, length: int, vocabulary: int) -> Captioned:
    """One part, of `PARTS`. Raises DataError where files are missing or are not what they should be."""
    found = []
    for name in Captioned._fields:
        path = Path(folder) / f"{part}_{name}.npy"
        try:
            found.append(np.load(path, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise DataError(f"captions: {path} cannot be read ({error}).") from error
    features, captions = found
    if features.dtype != np.float16 or features.shape[1:] != (grid, grid, width):
        wanted = f"float16 of [n, {grid}, {grid}, {width}]"
        raise DataError(f"captions: features of {part} must be {wanted}, found {features.dtype} {features.shape}.")
    if captions.dtype != np.int32 or captions.shape != (len(features), length):
        wanted = f"int32 of [{len(features):,}, {length}]"
        raise DataError(f"captions: those of {part} must be {wanted}, found {captions.dtype} {captions.shape}.")
    if captions.size and not (captions.min() >= -1 and captions.max() < vocabulary):
        low, high = captions.min(), captions.max()
        raise DataError(f"captions: tokens of {part} must lie in -1..{vocabulary - 1}, found {low}..{high}.")
    there = captions >= 0
    broken = np.flatnonzero(~there[:, 0] | (there[:, 1:] & ~there[:, :-1]).any(axis=1))
    if len(broken):
        raise DataError(
            f"captions: those of {part} must have a token and -1 only behind the last, found {len(broken):,} others, "
            f"the first at {broken[0]:,}."
        )
    return Captioned(features, captions)
