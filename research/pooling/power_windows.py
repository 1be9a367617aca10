"""Power means and L^p norms of windows for a small whole exponent, by multiplication: no logarithm of an element.

Every element is divided by the largest of its window, so that no power leaves the range of the dtype; the derivative is
a power of x / y, which is at most n^(1/p). For p = 2 that power is x itself and comes out of the sum over windows.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from research.pooling.phase_transpose import phase_transpose
from research.pooling.window_slices import Spec, divisor, kept, parts, wide

__all__ = ["LARGEST", "adjoint", "forward"]

#: Exponents 1, ..., LARGEST are taken by multiplication.
LARGEST = 8
#: Of the bit pattern of x^(-1/3), less a third of that of x: the best to 5e5, found by search over [1e-3, 1e3].
_START = 1.4199e9


def _sizes(spec, x, mask):
    """What is raised to the power, 0 for what takes no part."""
    x = wide(kept(mask, x))
    sizes = jnp.abs(x) + spec.eps if spec.kind == "lp" else jnp.maximum(x, spec.eps)
    return kept(mask, sizes)


def forward(spec: Spec, x: jax.Array, mask) -> jax.Array:
    """`[B, *O, C]`, in float32 at least."""
    found = parts(_sizes(spec, x, mask), spec.geometry, 0)
    largest = functools.reduce(lax.max, found)
    scale = jnp.where(largest > 0, 1 / largest, 0)
    scale = jnp.where(jnp.isnan(largest), largest, scale)
    sum_ = functools.reduce(jnp.add, [lax.integer_pow(element * scale, spec.power) for element in found])
    if spec.kind == "power":
        sum_ = sum_ / divisor(spec._replace(count_include_pad=False), mask, sum_.dtype)
    return largest * _root(sum_, spec.power)


def adjoint(spec: Spec, x: jax.Array, mask, y: jax.Array, ct: jax.Array) -> jax.Array:
    """`[B, *S, C]` from the values and the cotangent."""
    inside = wide(kept(mask, x))
    sizes = _sizes(spec, x, mask)
    if spec.kind == "power":
        ct = ct / divisor(spec._replace(count_include_pad=False), mask, ct.dtype)
        factor = jnp.where((inside > spec.eps) | jnp.isnan(inside), 1.0, 0.0).astype(ct.dtype)
    else:
        factor = jnp.sign(inside)
    scale = jnp.where(y > 0, 1 / y, 0)
    scale = jnp.where(jnp.isnan(y), y, scale)
    if spec.power == 2:
        return factor * sizes * phase_transpose(None, [(ct * scale, 0)], spec.geometry, lambda _, outs, __: outs[0])

    def ratio(size, outs, _):
        return lax.integer_pow(size * outs[0], spec.power - 1) * outs[1]

    return factor * phase_transpose(sizes, [(scale, 0), (ct, 0)], spec.geometry, ratio)


def _root(x, p):
    """x^(1/p) for x >= 0, in the range that sums of scaled powers have."""
    if p == 1:
        return x
    if p == 2:
        return jnp.sqrt(x)
    if p == 4:
        return jnp.sqrt(jnp.sqrt(x))
    if p == 3 and x.dtype == jnp.float32:
        return _cube_root(x)
    return jnp.where(x == 0, 0, jnp.exp(jnp.log(jnp.where(x == 0, 1, x)) / p))


def _cube_root(x):
    """By Newton's iteration for x^(-1/3), which needs no division, from a third of the bits of the exponent.

    The start is within 4 %, an iteration leaves twice the error's square; the last step is taken on the root itself,
    whose rounding is all that is left. Products begin with `x`, so that 0 stays 0.
    """
    bits = lax.bitcast_convert_type(x, jnp.int32).astype(jnp.float32)
    inverse = lax.bitcast_convert_type((_START - bits * (1 / 3)).astype(jnp.int32), jnp.float32)
    for _ in range(2):
        inverse = inverse * (4 / 3 - (x / 3) * inverse * inverse * inverse)
    root = x * inverse * inverse
    return root + (x - root * root * root) * (inverse * inverse * (1 / 3))
