"""What a TPU runs for flat sets in order: the kernel pair of `pallas_kernels.segment_softmax_pool`.

On a chip segment operations walk through the elements' ids one by one; the kernel reads elements in blocks, once in
each direction, and adds them up by matrix products. `softmax_monoid` has the choice made while a program is lowered.
"""

import jax.numpy as jnp

from pallas_kernels.segment_softmax_pool import segment_softmax_pool
from research.core.types import Array, Float
from research.pooling.layouts import Dense, Flat

__all__ = ["log_sum", "mean", "serves"]


def serves(layout: Dense | Flat, logits: Array, values: Array | None = None) -> bool:
    """Whether the kernel pair computes this: flat sets in order on one device, in float32, a logit for each element or
    for each of its channels."""
    if not isinstance(layout, Flat) or not layout.sorted or layout.axis_name is not None:
        return False
    if jnp.result_type(logits) != jnp.float32 or 0 in jnp.shape(logits):
        return False
    if values is None:
        return True
    fits = jnp.shape(logits)[1] in (1, jnp.shape(values)[1])
    return fits and jnp.result_type(values) == jnp.float32 and 0 not in jnp.shape(values)


def mean(layout: Flat, logits: Array, values: Array, empty: float | Array) -> Float[Array, "G D"]:
    """The softmax-weighted mean by the kernel's package, on any platform."""
    found = _run(layout, logits, values)
    nothing = found.log_sum == -jnp.inf
    return jnp.where(nothing, empty, found.pooled)


def log_sum(layout: Flat, logits: Array, empty: float | Array) -> Float[Array, "G D"]:
    """log of the sum of exp(logit) by the kernel's package, on any platform."""
    found = _run(layout, logits, None).log_sum
    return jnp.where(found == -jnp.inf, empty, found)


def _run(layout, logits, values):
    mask = None if layout.mask is None else jnp.asarray(layout.mask)
    return segment_softmax_pool(logits, values, layout.ids, layout.num_segments, valid=mask)
