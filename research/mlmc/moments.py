"""Four moments of a stream, merged batch by batch: what kurtosis needs, where `core.stats.Moments` has two.

Sums of powers of deviations from the mean, not of the values: a difference of raw moments keeps no digit in float32
where the mean is large. Source: `pebay:08` for the merge.
"""

from typing import NamedTuple

import jax.numpy as jnp

from research.core.types import Array, Bool, Float, Int

__all__ = ["CentralMoments", "kurtosis", "merge", "of_batch", "start", "variance"]


class CentralMoments(NamedTuple):
    """Count, mean, and sums of powers of deviations from it; all of one shape."""

    count: Int[Array, "..."]  # below 2**31
    mean: Float[Array, "..."]
    second: Float[Array, "..."]  # sum of (x - mean)**2
    third: Float[Array, "..."]
    fourth: Float[Array, "..."]


def start(shape: tuple[int, ...] = (), dtype=jnp.float32) -> CentralMoments:
    """Moments of nothing."""
    return CentralMoments(jnp.zeros(shape, jnp.int32), *(jnp.zeros(shape, dtype) for _ in range(4)))


def of_batch(x: Float[Array, " B"], valid: Bool[Array, " B"]) -> CentralMoments:
    """Moments of the valid entries; what the others hold does not matter, NaN included."""
    count = jnp.sum(valid, dtype=jnp.int32)
    scale = jnp.maximum(count, 1).astype(x.dtype)
    mean = jnp.sum(jnp.where(valid, x, 0)) / scale
    deviation = jnp.where(valid, x - mean, 0)
    return CentralMoments(count, mean, *(jnp.sum(deviation**power) for power in (2, 3, 4)))


def merge(a: CentralMoments, b: CentralMoments) -> CentralMoments:
    """Moments of the union; either may be empty."""
    count = a.count + b.count
    # Shares of the whole instead of counts: products of counts exceed what float32 holds.
    whole = jnp.maximum(count, 1).astype(a.mean.dtype)
    one, other = a.count.astype(whole.dtype) / whole, b.count.astype(whole.dtype) / whole
    delta, mixed = b.mean - a.mean, one * other
    cross = delta**2 * mixed * whole
    skew = other * a.second - one * b.second
    return CentralMoments(
        count,
        a.mean + delta * other,
        a.second + b.second + cross,
        a.third + b.third + delta * cross * (one - other) - 3 * delta * skew,
        a.fourth + b.fourth + delta**2 * cross * (1 - 3 * mixed)
        + 6 * delta**2 * (other**2 * a.second + one**2 * b.second)
        + 4 * delta * (one * b.third - other * a.third),
    )  # fmt: skip


def variance(moments: CentralMoments, ddof: int = 0) -> Float[Array, "..."]:
    """Mean squared deviation, with `ddof` degrees of freedom taken off; NaN where count <= ddof."""
    freedom = moments.count - ddof
    return jnp.where(freedom > 0, moments.second / jnp.maximum(freedom, 1).astype(moments.second.dtype), jnp.nan)


def kurtosis(moments: CentralMoments) -> Float[Array, "..."]:
    """Fourth central moment over the squared variance: 3 for a normal law, at most the count; NaN without spread."""
    count = moments.count.astype(moments.mean.dtype)
    spread = moments.second > 0
    # Divided twice: the square of a small second moment underflows first.
    second = jnp.where(spread, moments.second, 1)
    return jnp.where(spread, moments.fourth / second * (count / second), jnp.nan)
