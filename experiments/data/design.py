"""From columns of text to features, labels and groups: the few steps that both data sets share.

Letters: `n` records, `d` features, `G` groups, `m` attributes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.fetch import DataError

__all__ = [
    "Attributes",
    "Groupwise",
    "cells",
    "check_sizes",
    "codes_of",
    "min_max",
    "numbers",
    "one_hot",
    "read_columns",
    "stack",
]


class Groupwise(NamedTuple):
    """A data set for groupwise regret.

    Attributes:
      features: `[n, d]` float64.
      labels: `[n]` float64 in [0, 1].
      awake: `[n, G]` float64, 0 or 1: membership of each group.
      feature_names: `d` names.
      group_names: `G` names.
    """

    features: np.ndarray
    labels: np.ndarray
    awake: np.ndarray
    feature_names: tuple[str, ...]
    group_names: tuple[str, ...]


class Attributes(NamedTuple):
    """Categorical attributes from which families of intersectional groups are built.

    Attributes:
      codes: `[n, m]` int32; column j takes values in [0, len(levels[j])).
      names: `m` names of the attributes.
      levels: for each attribute the names of its values.
    """

    codes: np.ndarray
    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]


def min_max(values: np.ndarray) -> np.ndarray:
    """Scales `[n]` values to [0, 1] over the whole data set, as the paper does; a constant column becomes 0."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def codes_of(column: Sequence[str], levels: Sequence[str], name: str) -> np.ndarray:
    """`[n]` int32 positions of the values in `levels`. Raises `DataError` for a value that is not among them."""
    position = {level: k for k, level in enumerate(levels)}
    if unknown := sorted(set(column) - position.keys()):
        raise DataError(f"{name} must be one of {', '.join(levels)}, got {unknown[0]!r}.")
    return np.array([position[value] for value in column], np.int32)


def one_hot(codes: np.ndarray, num_levels: int) -> np.ndarray:
    """`[n, num_levels]` float64 indicators of integer codes."""
    return (codes[:, None] == np.arange(num_levels)).astype(np.float64)


def stack(blocks: Iterable[tuple[np.ndarray, Sequence[str]]]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Columns `[n, k]` (or `[n]`) and their names, side by side."""
    columns, names = [], []
    for values, labels in blocks:
        columns.append(values if values.ndim == 2 else values[:, None])
        names.extend(labels)
    return np.concatenate(columns, axis=1), tuple(names)


def cells(attributes: Attributes) -> tuple[np.ndarray, tuple[str, ...]]:
    """One group per combination of all attributes that occurs: `[n, cells]` float64, and names like "young & male"."""
    present, cell = np.unique(attributes.codes, axis=0, return_inverse=True)
    names = (" & ".join(levels[c] for levels, c in zip(attributes.levels, row, strict=True)) for row in present)
    return one_hot(cell.reshape(-1), len(present)), tuple(names)


def read_columns(
    content: bytes, header: Sequence[str], what: str, aliases: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Columns of a comma-separated file with a header, as stripped text.

    Args:
      content: the file; any line ends.
      header: the names it must have, in any order.
      what: what to call the file in an error.
      aliases: accepted other spellings, other name -> name in `header`.

    Raises:
      DataError: another header, or a row of another length.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{what} must be comma-separated text ({error}).") from error
    found = [name.strip() for name in rows[0]] if rows else []
    found = [(aliases or {}).get(name, name) for name in found]
    if sorted(found) != sorted(header):
        raise DataError(f"{what} must have the header {','.join(header)}, got {','.join(found)}.")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"{what}, record {number}, must have {len(header)} fields, got {len(row)}.")
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else ([] for _ in found)
    return {name: [value.strip() for value in column] for name, column in zip(found, columns, strict=True)}


def numbers(column: Sequence[str], name: str) -> np.ndarray:
    """`[n]` float64. Raises `DataError` for a value that is not a finite number."""
    try:
        values = np.array(column, np.float64)
    except ValueError as error:
        raise DataError(f"{name} must be a number ({error}).") from error
    if not np.isfinite(values).all():
        raise DataError(f"{name} must be finite, got {column[int(np.argmin(np.isfinite(values)))]!r}.")
    return values


def check_sizes(awake: np.ndarray, group_names: Sequence[str], expected: Sequence[int], what: str) -> None:
    """Raises `DataError` naming the first group whose size is not the published one."""
    found = awake.sum(axis=0).astype(int)
    for name, size, count in zip(group_names, expected, found, strict=True):
        if count != size:
            raise DataError(f"{what}: group {name} must have {size:,} records, found {count:,}.")
