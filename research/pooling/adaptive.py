"""Pools with a requested output size: adaptive bins, and the spatial pyramid made of them.

Bin i of `out` over an axis of `n` elements is [floor(i n / out), ceil((i + 1) n / out)). Bins cover the axis and are
never empty; neighbours share at most one element, and elements are repeated when out > n. So a pyramid of adaptive
bins has one length for inputs of any size; windows of length ceil(n / out) at steps of floor(n / out), the other
reading of `he:14`, give `out` bins for some n only (`window_level` says which).

Every kind of `windows.window_pool` works. Where it cannot be taken axis by axis, bins of one length at even steps are
plain windows, and others are laid out side by side, padded to the longest and masked.

Source: `he:14` for the pyramid; bins as the adaptive pools of the usual frameworks have them.
Letters: `B` batch, `S` axes of the input, `O` those of the output, `C` channels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling.operator import Operator
from research.pooling.windows import window_pool

__all__ = [
    "MODES", "Bins", "adaptive_bins", "adaptive_pool", "even_bins", "example", "lay_out", "pool_bins", "pyramid_length",
    "spatial_pyramid", "window_level",
]  # fmt: skip

MODES = ("bins", "window")

#: Kinds that are taken one axis after the other: how, and what an element that is not there counts as.
_REDUCTIONS = {
    "sum": (jnp.sum, 0.0), "avg": (jnp.sum, 0.0), "max": (jnp.max, -jnp.inf), "min": (jnp.min, jnp.inf),
}  # fmt: skip


class Bins(NamedTuple):
    """Half-open intervals of one axis, static: bin i holds elements start[i], ..., stop[i] - 1."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Elements of the longest bin."""
        return max(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def step(self) -> int | None:
        """Distance of the bins' starts, if all are equally long and begin at 0, d, 2 d, ...; otherwise None."""
        if len({b - a for a, b in zip(self.start, self.stop, strict=True)}) > 1 or self.start[0] != 0:
            return None
        steps = set(np.diff(self.start).tolist())
        return steps.pop() if len(steps) == 1 and min(steps) >= 1 else self.longest if not steps else None


def adaptive_bins(n: int, out: int) -> Bins:
    """The `out` bins of an axis of `n` elements; both >= 1."""
    checks.require(n >= 1, "n", "be >= 1", n)
    checks.require(out >= 1, "out", "be >= 1", out)
    index = range(out)
    return Bins(tuple(i * n // out for i in index), tuple(-(-(i + 1) * n // out) for i in index))


def even_bins(count: int, length: int, step: int) -> Bins:
    """`count` bins of one length that begin at 0, step, 2 step, ..."""
    return Bins(tuple(i * step for i in range(count)), tuple(i * step + length for i in range(count)))


def window_level(n: int, out: int) -> Bins | None:
    """Bins of windows of length ceil(n / out) at steps of floor(n / out); None where they are not `out`.

    That is so for (n, out) = (5, 3), (6, 4), (7, 4), (11, 4), and for n = 8 to 11 and out = 6, among others.
    """
    checks.require(1 <= out <= n, "out", f"lie in 1..{n}", out)
    length, step = -(-n // out), n // out
    return even_bins(out, length, step) if (n - length) // step + 1 == out else None


def lay_out(x: Float[Array, "B *S C"], bins: Sequence[Bins]) -> tuple[Float[Array, "B *L C"], Bool[Array, "*L"] | None]:
    """The bins of every axis side by side, each padded to the longest of its axis, L = O * longest.

    Returns:
      the elements, and which of them belong to their bin: None for all of them.
    """
    mask = np.ones((), bool)
    for axis, one in enumerate(bins, start=1):
        start, stop = np.asarray(one.start)[:, None], np.asarray(one.stop)[:, None]
        place = start + np.arange(one.longest)
        inside = place < stop
        tiles = inside.all() and place.size == x.shape[axis] and (place.ravel() == np.arange(x.shape[axis])).all()
        if not tiles:
            x = jnp.take(x, np.minimum(place, stop - 1).ravel(), axis=axis)
        mask = mask[..., None] & inside.ravel()
    return x, None if mask.all() else jnp.asarray(mask)


def pool_bins(
    x: Float[Array, "B *S C"], bins: Sequence[Bins], kind: str, *, params: dict[str, Any] | None = None
) -> Float[Array, "B *O C"]:
    """The pool of the given kind, as in `windows.window_pool`, over the boxes of bins, one `Bins` per axis.

    Sums, means and extremes are taken one axis after the other, since bins may be as long as the axis; equal extremes
    along an axis share the gradient equally.
    """
    if kind in _REDUCTIONS:
        checks.require(not params, "params", f"be empty for kind {kind!r}", params)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        for axis, one in enumerate(bins, start=1):
            wide = _pool_axis(wide, one, axis, kind)
        return wide.astype(x.dtype)
    x = x[(slice(None), *(slice(0, max(one.stop)) for one in bins))]  # no window behind the last bin
    window, steps = tuple(one.longest for one in bins), [one.step for one in bins]
    if all(step is not None for step in steps):
        return window_pool(x, kind, window, tuple(steps), params=params)
    laid, mask = lay_out(x, bins)
    if mask is not None:
        mask = jnp.broadcast_to(mask, laid.shape[:-1])
    return window_pool(laid, kind, window, params=params, mask=mask)


def _pool_axis(x, one: Bins, axis: int, kind: str):
    reduce, empty = _REDUCTIONS[kind]
    others = [even_bins(n, 1, 1) for n in x.shape[1:-1]]
    laid, mask = lay_out(x, [*others[: axis - 1], one, *others[axis:]])
    laid = laid.reshape(*x.shape[:axis], len(one.start), one.longest, *x.shape[axis + 1 :])
    after = (1,) * (x.ndim - axis - 1)
    if mask is not None:
        inside = np.asarray(one.start)[:, None] + np.arange(one.longest) < np.asarray(one.stop)[:, None]
        laid = jnp.where(inside.reshape((1,) * axis + inside.shape + after), laid, empty)
    found = reduce(laid, axis=axis + 1)
    if kind == "avg":
        lengths = np.subtract(one.stop, one.start).astype(x.dtype)
        found = found / lengths.reshape((1,) * axis + (-1, *after))
    return found


def adaptive_pool(
    x: Float[Array, "B *S C"], out: int | Sequence[int], kind: str = "avg", *, params: dict[str, Any] | None = None
) -> Float[Array, "B *O C"]:
    """Pools to the requested size: bin (i, j, ...) of the output is the pool of a box of adaptive bins.

    Args:
      x: channels last, one to three axes.
      out: sizes of the output, >= 1; one number stands for all axes. May exceed the input's.
      kind, params: as in `windows.window_pool`.

    Source: the token poolers of `hu:25`, `xu:24` and `maaz:24` are this with kind "avg".
    """
    axes = x.ndim - 2
    sizes = (out,) * axes if np.ndim(out) == 0 else tuple(out)
    checks.require(len(sizes) == axes, "out", f"have one number for each of the {axes} axes of x", out)
    checks.require(min(sizes) >= 1, "out", "be >= 1 along every axis", out)
    return pool_bins(x, [adaptive_bins(n, o) for n, o in zip(x.shape[1:-1], sizes, strict=True)], kind, params=params)


def spatial_pyramid(
    x: Float[Array, "B *S C"], levels: Sequence[int] = (4, 2, 1), kind: str = "max", *, mode: str = "bins",
    params: dict[str, Any] | None = None,
) -> Float[Array, "B features"]:  # fmt: skip
    """Pools to `level` bins per axis for every level, flattened row-major with channels last, one after the other.

    Args:
      levels: bins per axis of each level, >= 1.
      mode: "bins" of `adaptive_bins`, or "window" of `window_level`.

    Returns:
      as many features as `pyramid_length` says, whatever the size of x.

    Raises ValueError in mode "window" for a level that windows do not give on this size.

    Source: `he:14`. Guarantee: `pyramid_length` (T18); level 1 of kind "max" is the global maximum.
    """
    checks.one_of("mode", mode, MODES)
    checks.require(len(levels) >= 1 and min(levels) >= 1, "levels", "be one or more numbers >= 1", tuple(levels))
    found = []
    for level in levels:
        if mode == "bins":
            bins = [adaptive_bins(n, level) for n in x.shape[1:-1]]
        else:
            bins = [window_level(n, level) if level <= n else None for n in x.shape[1:-1]]
            fits = all(one is not None for one in bins)
            checks.require(fits, "levels", f"give {level} windows along axes of {x.shape[1:-1]} in mode window", level)
        found.append(pool_bins(x, bins, kind, params=params).reshape(x.shape[0], -1))
    return jnp.concatenate(found, axis=1)


def pyramid_length(levels: Sequence[int], axes: int, channels: int) -> int:
    """T18: number of features of a pyramid, C sum of level^axes, for inputs of any size."""
    return channels * sum(level**axes for level in levels)


def example(key: Key) -> dict[str, Operator]:
    """Bins that tile, that overlap evenly and unevenly, that repeat, and a pyramid."""
    one, two, three = (jax.random.normal(k, shape) for k, shape in zip(
        jax.random.split(key, 3), ((2, 7, 5, 2), (2, 4, 4, 2), (3, 4, 2)), strict=True
    ))  # fmt: skip
    source = "he:14, section 2.2; hu:25"
    formula = "mean over [floor(i n / o), ceil((i + 1) n / o)) per axis"
    flat = ("permutation", "idempotent", "homogeneous", "shift", "monotone", "min_max")
    return {
        "adaptive_avg": Operator(lambda _, x, mask: adaptive_pool(x, (3, 2)), (), one, formula, source),
        "adaptive_soft": Operator(
            lambda _, x, mask: adaptive_pool(x, 3, "soft", params={"beta": 1.0}), (), two, formula, source
        ),
        "adaptive_repeats": Operator(lambda _, x, mask: adaptive_pool(x, (5, 3), "max"), (), two, formula, source),
        "global_avg": Operator(
            lambda _, x, mask: adaptive_pool(x, 1)[:, 0], (), three, "mean of all", source, invariants=flat
        ),
        "pyramid_max": Operator(
            lambda _, x, mask: spatial_pyramid(x, (3, 2, 1)), (), one, "max over the bins of every level", source,
            "pooling/fig_pyramid",
        ),
    }  # fmt: skip
