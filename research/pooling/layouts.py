"""The two layouts of a batch of sets, dense with a mask and flat with segment ids, behind one interface.

An operator on sets is written once, on sums, maxima and counts of a set and on `spread`, which hands a set's number to
its elements. With `axis_name` the elements are split over that axis of a mesh, and the reductions end in a `psum` or a
`pmax`: statistics travel, elements do not.

Letters: `G` sets, `N` elements of a padded set, `M` elements in all, `D` channels.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int

__all__ = ["Dense", "Flat", "layout_of", "maximum"]


class Dense(eqx.Module):
    """Elements `[G, N, D]`; `mask` `[G, N]`, True takes part, None for full sets."""

    shape: tuple[int, int] = eqx.field(static=True)
    mask: Bool[Array, "G N"] | None
    axis_name: str | None = eqx.field(static=True, default=None)

    @property
    def count(self) -> Int[Array, "G 1"]:
        """Elements of every set."""
        groups, size = self.shape
        if self.mask is None:
            return _psum(jnp.full((groups, 1), size, jnp.int32), self.axis_name)
        return _psum(self.mask.sum(axis=1, keepdims=True, dtype=jnp.int32), self.axis_name)

    def where(self, values: Array, fill) -> Array:
        """Values of elements, `fill` at those that take no part."""
        return values if self.mask is None else jnp.where(self.mask[..., None], values, fill)

    def sum(self, values: Array) -> Float[Array, "G D"]:
        return _psum(self.where(values, 0).sum(axis=1, dtype=values.dtype), self.axis_name)

    def highest(self, values: Array) -> Array:
        """Largest value of a set, the dtype's lowest for an empty one; no gradient."""
        lowest = _lowest(values.dtype)
        values = jax.lax.stop_gradient(self.where(values, lowest))
        return _pmax(values.max(axis=1, initial=lowest), self.axis_name)

    def spread(self, statistics: Float[Array, "G D"]) -> Float[Array, "G 1 D"]:
        """Numbers of a set, as its elements see them."""
        return statistics[:, None]


class Flat(eqx.Module):
    """Elements `[M, D]` with the set `[M]` that each belongs to; `mask` `[M]`, True takes part."""

    ids: Int[Array, " M"]
    num_segments: int = eqx.field(static=True)
    mask: Bool[Array, " M"] | None = None
    sorted: bool = eqx.field(static=True, default=False)
    axis_name: str | None = eqx.field(static=True, default=None)

    @property
    def count(self) -> Int[Array, "G 1"]:
        """Elements of every set."""
        if self.sorted and self.mask is None:  # two places in an ordered list, instead of a pass over it
            ends = jnp.searchsorted(self.ids, jnp.arange(self.num_segments + 1, dtype=self.ids.dtype))
            return _psum(jnp.diff(ends)[:, None].astype(jnp.int32), self.axis_name)
        ones = jnp.ones((len(self.ids), 1), jnp.int32)
        return _psum(self._reduce(jax.ops.segment_sum, self.where(ones, 0)), self.axis_name)

    def where(self, values: Array, fill) -> Array:
        """Values of elements, `fill` at those that take no part."""
        return values if self.mask is None else jnp.where(self.mask[:, None], values, fill)

    def sum(self, values: Array) -> Float[Array, "G D"]:
        return _psum(self._reduce(jax.ops.segment_sum, self.where(values, 0)), self.axis_name)

    def highest(self, values: Array) -> Array:
        """Largest value of a set, the dtype's lowest for an empty one; no gradient."""
        values = jax.lax.stop_gradient(self.where(values, _lowest(values.dtype)))
        return _pmax(self._reduce(jax.ops.segment_max, values), self.axis_name)

    def spread(self, statistics: Float[Array, "G D"]) -> Float[Array, "M D"]:
        """Numbers of a set, as its elements see them."""
        return statistics.at[self.ids].get(mode="clip", indices_are_sorted=self.sorted)

    def _reduce(self, segment, values):
        return segment(values, self.ids, num_segments=self.num_segments, indices_are_sorted=self.sorted)


Layout = Dense | Flat


def layout_of(
    x: Array, *, mask=None, segment_ids=None, num_segments=None, sorted: bool = False, axis_name: str | None = None,
) -> Layout:  # fmt: skip
    """The layout of elements `x`: `[G, N, D]` without segment ids, `[M, D]` with them.

    Args:
      mask: bool `[G, N]`, or `[M]` with segment ids, which then may be anything where it is False.
      segment_ids: int `[M]` in [0, num_segments); concrete ids are checked, since JAX would drop others silently.
      num_segments: G, a Python int.
      sorted: that ids do not decrease; concrete ones are checked, traced ones trusted. Softmaxes of float32 are then
        differentiable once and in reverse.
      axis_name: of the mesh axis that elements are split over, inside `shard_map`.

    Raises: ValueError for a wrong rank, shape or dtype of any of them, and for ids outside the range.
    """
    if segment_ids is None:
        checks.require(num_segments is None, "num_segments", "be None without segment_ids", num_segments)
        checks.require(np.ndim(x) == 3, "x", "have shape (G, N, D) without segment_ids", np.shape(x))
        _check_mask(mask, np.shape(x)[:2])
        return Dense(np.shape(x)[:2], mask, axis_name)
    checks.require(np.ndim(x) == 2, "x", "have shape (M, D) with segment_ids", np.shape(x))
    allowed = "be a Python int >= 1 with segment_ids"
    whole = isinstance(num_segments, int | np.integer) and not isinstance(num_segments, bool)
    checks.require(whole and num_segments >= 1, "num_segments", allowed, num_segments)
    checks.shape("segment_ids", segment_ids, np.shape(x)[:1])
    dtype = jnp.result_type(segment_ids)
    checks.require(jnp.issubdtype(dtype, jnp.integer), "segment_ids", "be integers", dtype)
    _check_mask(mask, np.shape(x)[:1])
    if checks.is_concrete(segment_ids) and (mask is None or checks.is_concrete(mask)):
        taken = np.asarray(segment_ids) if mask is None else np.asarray(segment_ids)[np.asarray(mask)]
        checks.in_range("segment_ids", taken, 0, num_segments - 1)
        if sorted:
            drop = np.flatnonzero(np.diff(np.asarray(segment_ids)) < 0)
            checks.require(not len(drop), "segment_ids", "not decrease with sorted=True", f"a drop at {drop[:1]}")
    return Flat(jnp.asarray(segment_ids), int(num_segments), mask, sorted, axis_name)


def _check_mask(mask, shape) -> None:
    if mask is not None:
        checks.shape("mask", mask, shape)
        checks.require(jnp.issubdtype(jnp.result_type(mask), jnp.bool_), "mask", "be boolean", jnp.result_type(mask))


@jax.custom_jvp
def maximum(layout: Layout, values: Array) -> Array:
    """Largest value of a set per channel. Equal maxima share the gradient, so that order does not matter to it."""
    return layout.highest(values)


@maximum.defjvp
def _maximum_jvp(primals, tangents):
    (layout, values), (_, change) = primals, tangents
    top = layout.highest(values)
    tied = layout.where(values == layout.spread(top), False)
    share = layout.sum(tied.astype(values.dtype))
    return top, layout.sum(jnp.where(tied, change, 0)) / jnp.maximum(share, 1)


def _lowest(dtype):
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min


def _psum(values, axis_name):
    return values if axis_name is None else jax.lax.psum(values, axis_name)


def _pmax(values, axis_name):
    return values if axis_name is None else jax.lax.pmax(values, axis_name)
