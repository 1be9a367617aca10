"""Euclidean projection onto the simplex {u >= 0, sum u = r}: max(v - t, 0) with the threshold t that makes the sum r.

`simplex` finds t by sweeps without a sort and is the default; `simplex_by_sorting` takes a fixed number of operations
and is the reference. Both take one vector `[D]`, batches by `vmap`, and differentiate.

Microseconds per projection of float32 inside a compiled scan, on one Xeon core (the least of 150 runs; "near" is a
point of the simplex moved by a tenth of its entries, "far" standard normal entries):

    D        sweeps near   sweeps far   sorting
    400          1.2           2.0        77
    1024         1.7           2.9       380
    2048         3.4           8.3       560

Source: `condat:16`, for both.
"""

import functools

import jax
import jax.numpy as jnp

from research.core.types import Array, Float

__all__ = ["simplex", "simplex_by_sorting"]

#: Partial sums that a sweep keeps apart. One running sum waits for every addition before the next: 2.4 times slower.
LANES = 8


def simplex(v: Float[Array, "D"], radius: float | Float[Array, ""] = 1.0) -> Float[Array, "D"]:
    """The projection by sweeps: Newton's method on the threshold, which rises until no more entries drop out.

    The entries above the threshold can only become fewer, and the loop stops once they do not: at most D sweeps, 8 to
    10 from far away, 2 or 3 near the simplex. To stop once their number stays the same would loop for ever where
    rounding lets tied entries come back.

    Args:
      v: finite, D >= 1; a NaN gives NaN.
      radius: r > 0.
    """
    return _simplex(v, jnp.asarray(radius, v.dtype))


@jax.custom_jvp
def _simplex(v, radius):
    size = v.shape[0]
    lanes = LANES if size >= 8 * LANES else 1
    padded = jnp.pad(v, (0, -size % lanes), constant_values=-jnp.inf)
    parts = jnp.split(padded, lanes)

    def total(terms):
        return jnp.sum(functools.reduce(jnp.add, terms))

    def sweep(carry):
        threshold, count, _ = carry
        fewer = total([(part > threshold).astype(v.dtype) for part in parts])
        excess = total([jnp.maximum(part - threshold, 0) for part in parts]) - radius
        # From the last threshold on, not from zero: rounding does not grow with a shift common to all entries.
        return threshold + excess / jnp.maximum(fewer, 1), fewer, fewer < count

    start = ((jnp.sum(v) - radius) / size, jnp.asarray(size, v.dtype), jnp.bool(True))
    threshold, _, _ = jax.lax.while_loop(lambda carry: carry[2], sweep, start)
    return jnp.maximum(v - threshold, 0)


@_simplex.defjvp
def _simplex_jvp(primals, tangents):
    """On the entries above the threshold, the tangent less its mean; none elsewhere."""
    u = _simplex(*primals)
    above = (u > 0).astype(u.dtype)
    to_spread = tangents[1] - jnp.vdot(above, tangents[0])
    return u, above * (tangents[0] + to_spread / jnp.sum(above))


def simplex_by_sorting(v: Float[Array, "D"], radius: float | Float[Array, ""] = 1.0) -> Float[Array, "D"]:
    """The projection by sorting: the threshold is the largest over k of (sum of the k largest - r) / k."""
    descending = jnp.sort(v)[::-1]
    counts = jnp.arange(1, v.shape[0] + 1, dtype=v.dtype)
    threshold = jnp.max((jnp.cumsum(descending) - jnp.asarray(radius, v.dtype)) / counts)
    return jnp.maximum(v - threshold, 0)
