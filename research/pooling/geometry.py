"""Where the windows of an N-dimensional feature map lie, and how many real elements each of them has.

Everything here is static: shapes, windows, strides and padding are Python numbers, so that a bad geometry is an error
before anything is traced. Along an axis of `n` entries with `low` and `high` padded ones, window `o` of length `k`
covers the padded entries `s o, ..., s o + k - 1`; there are `(n + low + high - k) // s + 1` windows.
"""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from research.core import validate

__all__ = ["PADDINGS", "Geometry", "counts", "resolve"]

#: Names that padding may have. VALID: none. SAME: `ceil(n / s)` windows, the smaller half of the padding first. CEIL:
#: none before, and behind as much as the last, partial window needs (of the authors' release of `lee:16`).
PADDINGS = ("VALID", "SAME", "CEIL")


class Geometry(NamedTuple):
    """Windows along every spatial axis; hashable, so static under `jit`."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]  # (low, high) of every axis; high is negative where the last entries are unused

    @property
    def out(self) -> tuple[int, ...]:
        """Number of windows along every axis."""
        lengths = zip(self.sizes, self.window, self.strides, self.pads, strict=True)
        return tuple((n + low + high - k) // s + 1 for n, k, s, (low, high) in lengths)

    @property
    def padded(self) -> bool:
        """Whether a window covers an entry that is not there."""
        reach = zip(self.out, self.strides, self.window, self.pads, self.sizes, strict=True)
        return any(low > 0 or s * (o - 1) + k - low > n for o, s, k, (low, _), n in reach)


def resolve(
    sizes: Sequence[int],
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Geometry:
    """The geometry of windows over axes of the given sizes.

    Args:
      sizes: number of entries along every spatial axis.
      window: length of a window along every axis, >= 1; one number stands for all axes.
      strides: steps between windows, >= 1; the window's lengths if None.
      padding: one of `PADDINGS`, or a pair (low, high) of numbers >= 0 for every axis.

    Raises:
      ValueError: a length or stride < 1, as many lengths as there are not axes, padding that is none of the above, a
        window larger than the padded input, or one with padded entries only.
    """
    sizes = tuple(int(n) for n in sizes)
    validate.require(len(sizes) >= 1, "sizes", "name at least one spatial axis", sizes)
    window = _per_axis("window", window, len(sizes))
    strides = window if strides is None else _per_axis("strides", strides, len(sizes))
    if isinstance(padding, str):
        validate.one_of("padding", padding, PADDINGS)
        pads = tuple(_named(padding, *axis) for axis in zip(sizes, window, strides, strict=True))
    else:
        pads = _pairs(padding, len(sizes))
    geometry = Geometry(sizes, window, strides, pads)
    longest = tuple(n + low + high for n, (low, high) in zip(sizes, pads, strict=True))
    allowed = f"be at most as large as the padded input {longest}"
    validate.require(all(k <= n for k, n in zip(window, longest, strict=True)), "window", allowed, window)
    allowed = f"leave at least one real entry to every window of {window} with strides {strides}"
    validate.require(bool((counts(geometry) > 0).all()), "padding", allowed, padding if sizes else pads)
    return geometry


@functools.lru_cache(maxsize=256)
def counts(geometry: Geometry) -> np.ndarray:
    """Number of real elements of every window, `[*out]` int64."""
    total = np.ones((), np.int64)
    for n, k, s, (low, _), out in zip(
        geometry.sizes, geometry.window, geometry.strides, geometry.pads, geometry.out, strict=True
    ):
        start = s * np.arange(out) - low
        real = np.clip(start + k, 0, n) - np.clip(start, 0, n)
        total = total[..., None] * real
    total.setflags(write=False)
    return total


def _per_axis(name: str, value, axes: int) -> tuple[int, ...]:
    """A positive whole number for every axis."""
    numbers = (value,) * axes if np.ndim(value) == 0 else tuple(value)
    validate.require(len(numbers) == axes, name, f"have one number for each of the {axes} spatial axes", value)
    try:
        numbers = tuple(operator.index(number) for number in numbers)
    except TypeError:
        raise ValueError(f"{name} must consist of whole numbers, got {value}.") from None
    validate.require(min(numbers) >= 1, name, "be >= 1 along every axis", value)
    return numbers


def _pairs(padding, axes: int) -> tuple[tuple[int, int], ...]:
    allowed = f"be one of {', '.join(PADDINGS)} or {axes} pairs (low, high) of whole numbers >= 0"
    try:
        pads = tuple((operator.index(low), operator.index(high)) for low, high in padding)
    except (TypeError, ValueError):
        raise ValueError(f"padding must {allowed}, got {padding}.") from None
    validate.require(len(pads) == axes and min(map(min, pads)) >= 0, "padding", allowed, padding)
    return pads


def _named(padding: str, n: int, k: int, s: int) -> tuple[int, int]:
    if padding == "VALID":
        return 0, 0
    if padding == "SAME":
        total = max((-(-n // s) - 1) * s + k - n, 0)
        return total // 2, total - total // 2
    windows = -(-max(n - k, 0) // s) + 1
    if (windows - 1) * s >= n:  # strides longer than the window: the last one would lie beyond the input
        windows -= 1
    return 0, max((windows - 1) * s + k - n, 0)
