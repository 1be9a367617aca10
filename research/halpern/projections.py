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

import jax.numpy as jnp

from pallas_kernels.vr_forb_game.simplex import simplex
from research.core.types import Array, Float

__all__ = ["simplex", "simplex_by_sorting"]


def simplex_by_sorting(v: Float[Array, "D"], radius: float | Float[Array, ""] = 1.0) -> Float[Array, "D"]:
    """The projection by sorting: the threshold is the largest over k of (sum of the k largest - r) / k."""
    descending = jnp.sort(v)[::-1]
    counts = jnp.arange(1, v.shape[0] + 1, dtype=v.dtype)
    threshold = jnp.max((jnp.cumsum(descending) - jnp.asarray(radius, v.dtype)) / counts)
    return jnp.maximum(v - threshold, 0)
