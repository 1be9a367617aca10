"""Users' features of pictures and captions, in FOLDER/{train,validation}_features.npy and _captions.npy.

Features are float16 `[n, grid, grid, width]`, what a frozen vision encoder makes of a picture's patches. Captions are
int32 `[n, length]`, tokens below a vocabulary, -1 behind the end; a token that says that a caption ends is the user's
own.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import digit_scenes, part_files
from experiments.data.fetch import DataError

__all__ = ["Captioned", "like", "load"]


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
    """The first `count` pictures of a part of a folder, features mapped and not read, or of "scenes" of digits.

    Raises:
      DataError: files are missing, too short, or not what they should be.
      ValueError: scenes cannot have these shapes.
    """
    if source == "scenes":
        if vocabulary < digit_scenes.CLASSES:
            raise ValueError(f"vocabulary must be >= {digit_scenes.CLASSES} for scenes, got {vocabulary}.")
        seed, shape = part_files.PARTS.index(part), {"grid": grid, "width": width, "length": length}
        return Captioned(*digit_scenes.scenes(seed, held_out=part == "validation", count=count, **shape))
    shape = (None, grid, grid, width)
    features = part_files.mapped(source, part, "features", like=shape, dtype=np.float16, count=count)
    captions = part_files.mapped(source, part, "captions", like=(None, length), dtype=np.int32, count=count)
    return Captioned(features, _checked(np.asarray(captions), Path(source) / f"{part}_captions.npy", vocabulary))


def _checked(captions: np.ndarray, path: Path, vocabulary: int) -> np.ndarray:
    low, high = captions.min(), captions.max()
    if low < -1 or high >= vocabulary:
        raise DataError(f"{path} must hold tokens in -1..{vocabulary - 1}, found {low}..{high}.")
    there = captions >= 0
    broken = np.flatnonzero(~there[:, 0] | (there[:, 1:] & ~there[:, :-1]).any(axis=1))
    if len(broken):
        raise DataError(
            f"{path} must have a token in every row and -1 only behind the last, found {len(broken):,} other rows, "
            f"the first at {broken[0]:,}."
        )
    return captions
