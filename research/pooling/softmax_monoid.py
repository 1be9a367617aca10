"""Softmax-weighted sums as a monoid: (largest logit, weighted sum, sum of weights), merged in any order and grouping.

A set may be cut into tiles or spread over devices; each part is summarised alone, and `combine` rescales to the larger
of two maxima. The maximum only keeps exponentials in range: results do not depend on it, so no gradient passes it.

`pooled` and `log_total` are the mean and the logarithm of whole sets; on a TPU flat sets in order have a kernel for it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core.types import Array, Float
from research.pooling import segment_kernel
from research.pooling.layouts import Layout

__all__ = [
    "LOWEST", "Summary", "all_reduce", "combine", "identity", "log_sum", "log_total", "mean", "pooled", "summary",
]  # fmt: skip

#: Maximum of nothing. Finite: the difference of two infinities is not a number.
LOWEST = -1e30


class Summary(NamedTuple):
    """What is known of a part of a set; all `[..., D]`."""

    top: Float[Array, "..."]  # largest logit, LOWEST for none
    numerator: Float[Array, "..."]  # sum of exp(logit - top) times value
    denominator: Float[Array, "..."]  # sum of exp(logit - top)


def identity(shape: tuple[int, ...], dtype=jnp.float32) -> Summary:
    """The summary of no elements: `combine(identity, a) = a`."""
    return Summary(jnp.full(shape, LOWEST, dtype), jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def summary(layout: Layout, logits: Float[Array, "..."], values: Float[Array, "..."] | None = None) -> Summary:
    """Of every set of a layout; logits and values are the elements' `[..., D]`, finite where these take no part.

    Without values only `log_sum` can be asked for.
    """
    top = jnp.maximum(layout.highest(logits), LOWEST)
    weight = jnp.exp(layout.where(logits, 0) - layout.spread(jnp.where(top == LOWEST, 0, top)))
    total = layout.sum(weight)
    return Summary(top, jnp.zeros_like(total) if values is None else layout.sum(weight * values), total)


def combine(a: Summary, b: Summary) -> Summary:
    """The summary of two disjoint parts together. Associative and commutative up to rounding; same shapes."""
    top = jax.lax.stop_gradient(jnp.maximum(a.top, b.top))
    of_a, of_b = jnp.exp(jax.lax.stop_gradient(a.top) - top), jnp.exp(jax.lax.stop_gradient(b.top) - top)
    numerator = a.numerator * of_a + b.numerator * of_b
    return Summary(top, numerator, a.denominator * of_a + b.denominator * of_b)


def all_reduce(part: Summary, axis_name: str) -> Summary:
    """The summary of all devices' parts along a mesh axis, inside `shard_map`: one maximum and one sum travel."""
    top = jax.lax.pmax(jax.lax.stop_gradient(part.top), axis_name)
    scale = jnp.exp(jax.lax.stop_gradient(part.top) - top)
    return Summary(top, *jax.lax.psum((part.numerator * scale, part.denominator * scale), axis_name))


def mean(whole: Summary, empty: float | Array = 0.0) -> Float[Array, "..."]:
    """The softmax-weighted mean; `empty`, with zero gradient, where there are no elements."""
    nothing = whole.denominator == 0
    return jnp.where(nothing, empty, whole.numerator / jnp.where(nothing, 1, whole.denominator))


def log_sum(whole: Summary, empty: float | Array = 0.0) -> Float[Array, "..."]:
    """log of the sum of exp(logit); `empty`, with zero gradient, where there are no elements."""
    nothing = whole.denominator == 0
    return jnp.where(nothing, empty, whole.top + jnp.log(jnp.where(nothing, 1, whole.denominator)))


def pooled(
    layout: Layout, logits: Float[Array, "..."], values: Float[Array, "..."], empty: float | Array = 0.0
) -> Float[Array, "G D"]:
    """`mean` of the `summary` of every set. Of flat sets in order, in float32, differentiable once and in reverse."""

    def ours(logits, values):
        return mean(summary(layout, logits, values), empty)

    if not segment_kernel.serves(layout, logits, values):
        return ours(logits, values)
    kernel = functools.partial(segment_kernel.mean, layout, empty=empty)
    return jax.lax.platform_dependent(logits, values, tpu=kernel, default=ours)


def log_total(layout: Layout, logits: Float[Array, "..."], empty: float | Array = 0.0) -> Float[Array, "G D"]:
    """`log_sum` of the `summary` of every set; differentiable as `pooled`."""

    def ours(logits):
        return log_sum(summary(layout, logits), empty)

    if not segment_kernel.serves(layout, logits):
        return ours(logits)
    return jax.lax.platform_dependent(
        logits, tpu=functools.partial(segment_kernel.log_sum, layout, empty=empty), default=ours
    )
