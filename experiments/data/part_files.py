"""Users' arrays on disk, one file for each part and kind of array: FOLDER/{train,validation}_<name>.npy, memory-mapped.

Nothing is downloaded: what comes with terms of use is for users to accept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.data.fetch import DataError

__all__ = ["PARTS", "labels", "mapped"]

PARTS = ("train", "validation")


def mapped(
    folder: str | Path, part: str, name: str, *, like: tuple[int | None, ...], dtype: type, count: int,
    whole: bool = False,
):  # fmt: skip
    """The first `count` rows of an array, mapped and not read.

    Args:
      part: of `PARTS`.
      like: the shape that is expected, None for the number of rows.
      dtype: a NumPy dtype, or an abstract one such as `np.integer`.
      whole: refuse a file that has more rows.

    Raises:
      DataError: the file is missing or no array, or of another shape or kind, or has fewer rows.
    """
    path = Path(folder).expanduser() / f"{part}_{name}.npy"
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
    fits = found.ndim == len(like) and all(want in (None, size) for want, size in zip(like, found.shape, strict=True))
    if not fits or not np.issubdtype(found.dtype, dtype):
        wanted = ", ".join("n" if size is None else str(size) for size in like)
        raise DataError(f"{path} must hold {dtype.__name__} of shape [{wanted}], found {found.dtype} {found.shape}.")
    if len(found) < count:
        raise DataError(f"{path} must have {count:,} rows, found {len(found):,}.")
    if whole and len(found) > count:
        raise DataError(f"{path} must have {count:,} rows and no more, found {len(found):,}.")
    return found[:count]


def labels(
    folder: str | Path, part: str, *, count: int, classes: int, first: int = 0, whole: bool = False
) -> np.ndarray:  # fmt: skip
    """`<part>_labels.npy`, int32 `[count]`. Raises DataError, also for one that is not in first .. classes - 1."""
    found = np.asarray(mapped(folder, part, "labels", like=(None,), dtype=np.integer, count=count, whole=whole))
    if len(found) and not (found.min() >= first and found.max() < classes):
        raise DataError(
            f"{Path(folder) / f'{part}_labels.npy'} must hold labels in {first}..{classes - 1}, "
            f"found {found.min()}..{found.max()}."
        )
    return found.astype(np.int32)
