"""Users' hidden states of a frozen language model, one sequence a row, in FOLDER/{train,validation}_<name>.npy.

`states` are floating `[n, T, D]`; `lengths` integers `[n]`, how many tokens of a sequence are no padding, which comes
last; `labels` integers `[n]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import part_files
from experiments.data.fetch import DataError

__all__ = ["States", "like", "read"]


class States(NamedTuple):
    """Attributes: `states [n, T, D]`; `lengths [n]` int32, 1 to T; `labels [n]` int32, 0 <= label < classes."""

    states: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def like(count: int, length: int, channels: int, dtype: str) -> States:
    """`States` of shapes alone."""
    import jax

    shape = jax.ShapeDtypeStruct
    return States(shape((count, length, channels), np.dtype(dtype)), *[shape((count,), np.int32)] * 2)


def read(folder: str | Path, part: str, *, count: int, length: int, channels: int, dtype: str, classes: int) -> States:
    """The first `count` sequences of a part; states are mapped and not read. Raises DataError."""
    options = {"count": count}
    states = part_files.mapped(
        folder, part, "states", like=(None, length, channels), dtype=np.dtype(dtype).type, **options
    )
    lengths = np.asarray(part_files.mapped(folder, part, "lengths", like=(None,), dtype=np.integer, **options))
    if not (lengths.min() >= 1 and lengths.max() <= length):
        raise DataError(
            f"{Path(folder) / f'{part}_lengths.npy'} must hold lengths in 1..{length}, "
            f"found {lengths.min()}..{lengths.max()}."
        )
    return States(states, lengths.astype(np.int32), part_files.labels(folder, part, classes=classes, **options))
