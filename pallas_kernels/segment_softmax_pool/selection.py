"""Sums over the members of a segment, and a segment's numbers at its members, as products with a matrix of 0 and 1.

The matrix unit multiplies numbers of 8 binary digits. A float32 is the sum of three of these, exactly, and 0 and 1 are
such numbers: three products and sums in float32 give what additions would give. A product with 0 is not 0 where the
other number is not finite; those are left out and counted apart, so that they stay in their own segment.
"""

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES

__all__ = ["all_finite", "beyond", "columns", "product", "row"]

_UPPER = -(1 << 16)  # mask of a float32's sign, exponent and first digits


def product(chooser, x, *, calm):
    """`chooser @ x`, `[A, B]` of zeros and ones by `[B, L]`; `calm` promises that all of x is finite."""
    if calm:
        return _exact(chooser, x)
    return _exact(chooser, jnp.where(jnp.abs(x) < jnp.inf, x, 0.0)) + beyond(chooser, x)


def beyond(chooser, x):
    """What `chooser @ x` has of numbers that are not finite: infinities, NaN, and 0 elsewhere."""
    odd = x != x
    more, less = (_exact(chooser, jnp.where(odd | (x == side), 1.0, 0.0)) for side in (jnp.inf, -jnp.inf))
    return jnp.where(more > 0, jnp.where(less > 0, jnp.nan, jnp.inf), jnp.where(less > 0, -jnp.inf, 0.0))


def _exact(chooser, x):
    chooser = chooser.astype(jnp.bfloat16)
    first = _cut(x)
    rest = x - first
    second = _cut(rest)
    return sum(
        jnp.dot(chooser, part.astype(jnp.bfloat16), preferred_element_type=jnp.float32)
        for part in (rest - second, second, first)
    )


def _cut(x):
    """Toward zero, so that no number becomes infinite."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return jax.lax.bitcast_convert_type(bits & _UPPER, jnp.float32)


def all_finite(*arrays):
    """Whether all numbers are finite."""
    wild = jnp.float32(0)
    for x in arrays:
        wild += jnp.sum(jnp.max(x * 0.0, axis=0, keepdims=True))
    return wild == 0


def columns(numbers, width):
    """`[1, B]` to `[B, width]`, the same in every column."""
    whole = jnp.broadcast_to(numbers, (LANES, numbers.shape[1])).T
    return jnp.concatenate([whole] * (_blocks.round_up(width, LANES) // LANES), axis=1)[:, :width]


def row(numbers):
    """`[B, 1]` to `[1, B]`."""
    return jnp.broadcast_to(numbers, (numbers.shape[0], LANES)).T[:1]
