"""Made pictures of patches: few of them carry the picture's class, the others are what all classes have in common.

A stand-in for pictures of birds before any background, where classes of validation are not those of training.
"""

from __future__ import annotations

import numpy as np

from experiments.data.image_files import Images
from experiments.data.part_files import PARTS
from research.core import validate as checks

__all__ = ["PATCH", "synthetic"]

#: Pixels of a patch's side.
PATCH = 8


def synthetic(
    part: str, *, count: int, side: int, classes: int, unseen: int, foreground: float, nuisances: int
) -> Images:  # fmt: skip
    """Pictures of one part; labels lie in 0..classes - 1 in training, in classes..classes + unseen - 1 in validation.

    Args:
      count: as equally many of every class as can be.
      side: a multiple of `PATCH`.
      foreground: share of patches with the class's pattern, of (side / PATCH)^2, rounded; where they are is random.
      nuisances: patterns of the others, the same in both parts.

    Raises: ValueError for a side that is no multiple, or a share that is not in (0, 1].
    """
    checks.require(side > 0 and side % PATCH == 0, "side", f"be a positive multiple of {PATCH}", side)
    checks.require(0 < foreground <= 1, "foreground", "lie in (0, 1]", foreground)
    shape = (classes + unseen + nuisances, PATCH // 4, PATCH // 4, 3)
    patterns = np.random.default_rng(0).integers(64, 192, shape).repeat(4, axis=1).repeat(4, axis=2)
    rng, across = np.random.default_rng(1 + PARTS.index(part)), side // PATCH
    first, number = (0, classes) if part == "train" else (classes, unseen)
    labels = (first + np.arange(count) % number).astype(np.int32)
    kinds = rng.integers(classes + unseen, len(patterns), (count, across**2))
    carries = rng.permuted(np.tile(np.arange(across**2) < round(foreground * across**2), (count, 1)), axis=1)
    kinds = np.where(carries, labels[:, None], kinds).reshape(count, across, across)
    images = patterns[kinds].transpose(0, 1, 3, 2, 4, 5).reshape(count, side, side, 3)
    return Images((images + rng.integers(-32, 32, images.shape)).astype(np.uint8), labels)
