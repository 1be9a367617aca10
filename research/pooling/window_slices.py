"""What every formulation of a pool over windows is built of: the elements of the windows as strided slices.

Letters: `B` maps, `S` axes of the input, `O` those of the windows, `C` channels, `K` elements of a window.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.pooling.geometry import Geometry, counts

__all__ = ["Spec", "divisor", "elements", "kept", "parts", "total", "wide"]


class Spec(NamedTuple):
    """All that is static in a reduction over windows."""

    kind: str
    eps: float
    geometry: Geometry
    count_include_pad: bool
    grad: str
    ties: str
    power: int = 0  # of `powers`; 0 where the coefficient is an array
    learned: bool = False  # whether the coefficient is an array, whose slope may be asked for


def parts(x: jax.Array, geometry: Geometry, fill: float) -> list[jax.Array]:
    """The elements of every window, one array `[B, *O, C]` for every row-major offset; `fill` where there is none."""
    axes = zip(geometry.sizes, geometry.window, geometry.strides, geometry.out, geometry.pads, strict=True)
    ends = [(low, max(s * (out - 1) + k - low - n, 0), 0) for n, k, s, out, (low, _) in axes]
    if geometry.padded:
        x = lax.pad(x, jnp.asarray(fill, x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    found = []
    for start in itertools.product(*(range(k) for k in geometry.window)):
        stop = [a + s * (o - 1) + 1 for a, s, o in zip(start, geometry.strides, geometry.out, strict=True)]
        found.append(lax.slice(x, [0, *start, 0], [x.shape[0], *stop, x.shape[-1]], [1, *geometry.strides, 1]))
    return found


def total(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Sum of every window."""
    return functools.reduce(jnp.add, parts(x, geometry, 0))


def kept(mask: jax.Array | None, x: jax.Array, fill: float = 0) -> jax.Array:
    """`x` where the mask `[B, *S]` is True, else `fill`."""
    return x if mask is None else jnp.where(mask[..., None], x, jnp.asarray(fill, x.dtype))


def wide(x: jax.Array) -> jax.Array:
    """In float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def elements(geometry: Geometry, mask: jax.Array | None = None) -> jax.Array:
    """Number of elements of every window that take part, `[B or 1, *O, 1]` int32."""
    if mask is None:
        return jnp.asarray(counts(geometry), jnp.int32)[None, ..., None]
    return total(mask[..., None].astype(jnp.int32), geometry)


def divisor(spec: Spec, mask: jax.Array | None, dtype) -> jax.Array:
    """What a mean divides by: a scalar where it is the same for all windows, else `[B or 1, *O, 1]`; at least 1."""
    if spec.count_include_pad or (mask is None and not spec.geometry.padded):
        return jnp.asarray(np.prod(spec.geometry.window), dtype)
    return jnp.maximum(elements(spec.geometry, mask), 1).astype(dtype)
