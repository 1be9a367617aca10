"""Sums, means and extremes of windows, and their derivatives.

The derivative of an extreme needs the place of the first one in each window, a byte of it: then no window is compared
with its elements a second time, and nothing but the cotangent is read.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.pooling.phase_transpose import phase_transpose
from research.pooling.window_slices import Spec, divisor, elements, kept, parts, total, wide

__all__ = ["extreme", "extreme_adjoint", "extreme_with_place", "mean", "mean_adjoint"]


def mean(spec: Spec, x: jax.Array, mask) -> jax.Array:
    """`[B, *O, C]` sums, divided for kind "avg"."""
    y = total(wide(kept(mask, x)), spec.geometry)
    return (y / divisor(spec, mask, y.dtype) if spec.kind == "avg" else y).astype(x.dtype)


def mean_adjoint(spec: Spec, x: jax.Array, mask, ct: jax.Array) -> jax.Array:
    """`[B, *S, C]` from the cotangent `[B, *O, C]`."""
    if spec.kind == "avg":
        ct = ct / divisor(spec, mask, ct.dtype)
    dx = phase_transpose(None, [(ct, 0)], spec.geometry, lambda _, outs, offset: outs[0])
    return jnp.broadcast_to(dx, x.shape)


def _fill(spec):
    return -jnp.inf if spec.kind == "max" else jnp.inf


def _defined(spec, mask, y):
    """`y`, 0 in a window of which no element takes part."""
    return y if mask is None else jnp.where(elements(spec.geometry, mask) > 0, y, 0).astype(y.dtype)


def extreme(spec: Spec, x: jax.Array, mask) -> jax.Array:
    """Largest or smallest elements `[B, *O, C]`."""
    better = lax.max if spec.kind == "max" else lax.min
    found = parts(kept(mask, x, _fill(spec)), spec.geometry, _fill(spec))
    return _defined(spec, mask, functools.reduce(better, found))


def extreme_with_place(spec: Spec, x: jax.Array, mask) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The extremes, and by the rule of ties: the first one's offset; the extreme and how many are equal; the extreme.

    Of NaN the last one is the place, so that the slope of its window stays in its window.
    """
    found = parts(kept(mask, x, _fill(spec)), spec.geometry, _fill(spec))
    better, worse = (lax.max, lax.le) if spec.kind == "max" else (lax.min, lax.ge)
    y = found[0]
    place = jnp.zeros(y.shape, _code_type(len(found)))
    for offset, element in enumerate(found[1:], 1):
        place = jnp.where(worse(element, y), place, place.dtype.type(offset))
        y = better(y, element)
    if spec.ties == "first":
        return _defined(spec, mask, y), (place,)
    if spec.ties == "all":
        return _defined(spec, mask, y), (y,)
    equal = functools.reduce(jnp.add, [(element == y).astype(x.dtype) for element in found])
    return _defined(spec, mask, y), (y, equal)


def _code_type(size):
    """A byte while it counts the window's offsets: the array of places is as small as can be."""
    return jnp.int8 if size <= 127 else jnp.int16 if size <= 32767 else jnp.int32


def extreme_adjoint(spec: Spec, x: jax.Array, mask, stats: tuple[jax.Array, ...], ct: jax.Array) -> jax.Array:
    """`[B, *S, C]` from the cotangent and what `extreme_with_place` kept."""
    if mask is not None:
        ct = jnp.where(elements(spec.geometry, mask) > 0, ct, 0)
    if spec.ties == "first":
        code = stats[0].dtype

        def first(_, outs, offset):
            return jnp.where(outs[1] == offset.astype(code), outs[0], 0)

        return phase_transpose(None, [(ct, 0), (stats[0], -1)], spec.geometry, first)
    if spec.ties == "split":
        ct = ct / jnp.maximum(stats[1], 1).astype(ct.dtype)
    outs = [(ct, 0), (stats[0], 0)]
    inside = kept(mask, x, np.nan)  # equal to nothing

    def equal(x, outs, _):
        return jnp.where(x == outs[1], outs[0], 0)

    return phase_transpose(inside, outs, spec.geometry, equal)
