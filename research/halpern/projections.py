"""Euclidean projection onto the simplex {u >= 0, sum u = r}: max(v - t, 0) with the threshold t that makes the sum r.

`simplex` finds t by sweeps without sorting and is the default; `simplex_by_sorting` is exact in a fixed number of
operations and the reference. Both take one vector `[D]`; batches by `vmap`.
Source: `condat:16` for both.
"""

import jax
import jax.numpy as jnp

from research.core.types import Array, Float

__all__ = ["simplex", "simplex_by_sorting"]


def simplex(v: Float[Array, "D"], radius: float | Float[Array, ""] = 1.0) -> Float[Array, "D"]:
    """The projection without a sort: Newton's method on the threshold, which rises until no more entries drop out.

    The set of entries above the threshold can only shrink, and the loop stops once its size does not fall: at most D
    sweeps, 8 to 10 from far away, 2 or 3 near the simplex. "Until the size stays the same" would loop for ever where
    rounding makes tied entries come back.

    Args:
      v: finite.
      radius: r > 0.
    """
    size = v.shape[0]

    def sweep(carry):
        threshold, count, _ = carry
        above = jnp.maximum(v - threshold, 0)
        fewer = jnp.sum(v > threshold, dtype=jnp.int32)
        # From the last threshold on, not from zero: rounding does not grow with a shift common to all entries.
        threshold += (jnp.sum(above) - radius) / jnp.maximum(fewer, 1).astype(v.dtype)
        return threshold, fewer, fewer < count

    start = ((jnp.sum(v) - radius) / size, jnp.int32(size), jnp.bool(True))
    threshold, _, _ = jax.lax.while_loop(lambda carry: carry[2], sweep, start)
    return jnp.maximum(v - threshold, 0)


def simplex_by_sorting(v: Float[Array, "D"], radius: float | Float[Array, ""] = 1.0) -> Float[Array, "D"]:
    """The projection by sorting: the threshold is the largest over k of (sum of the k largest - r) / k."""
    descending = jnp.sort(v)[::-1]
    thresholds = (jnp.cumsum(descending) - radius) / jnp.arange(1, v.shape[0] + 1, dtype=v.dtype)
    return jnp.maximum(v - jnp.max(thresholds), 0)
