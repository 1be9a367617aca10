"""What a TPU runs for windows of two axes: the kernel pair of `pallas_kernels.window_stats`, forwards and backwards.

On a chip the formulations for a core cost what they save there: strided slices of an array are copies in its memory.
The kernel reads each element once per direction and recomputes its statistics, so it keeps none; `ours` keeps those it
has, and the choice between both is made while the program is lowered.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pallas_kernels.window_stats import why_not, window_stats
from research.pooling.window_slices import Spec

__all__ = ["adjoint", "forward", "serves", "value"]

#: Floor of a power mean's elements in the kernel.
_FLOOR = 1e-6
_ROWS, _LANES = 8, 128  # of a register
_PLAIN = ("sum", "avg", "max", "min")  # kinds without a coefficient
_INVERSE = ("lme", "lse")  # whose coefficient here is 1 / tau


def serves(spec: Spec, x: jax.Array, mask: jax.Array | None) -> bool:
    """Whether a TPU runs the kernel pair: two axes, no mask, the floor that it has, and what its package serves.

    And images and channels that fill registers: others would be copied to larger arrays and back, which costs more than
    the pass over memory that the kernel is.
    """
    if x.ndim != 4 or mask is not None or x.size == 0 or (spec.kind == "power" and spec.eps != _FLOOR):
        return False
    images, channels = x.shape[0], x.shape[3]
    if images % _ROWS or not (_LANES // 2 <= channels <= _LANES or channels % _LANES == 0):
        return False
    theta = jax.ShapeDtypeStruct(x.shape[3:], jnp.promote_types(x.dtype, jnp.float32))
    return why_not(x, None if spec.kind in _PLAIN else theta, **_options(spec)) is None


def value(spec: Spec, x: jax.Array, c: jax.Array) -> jax.Array:
    """`[B, *O, C]` by the kernel's package, on any platform; `c` is the coefficient, `[1, 1, 1, 1 or C]`."""
    return window_stats(x, _coefficient(spec, x, c), **_options(spec))


def _coefficient(spec, x, c):
    """`[C]`, or None for a kind without one."""
    if spec.kind in _PLAIN:
        return None
    return jnp.broadcast_to(1 / c if spec.kind in _INVERSE else c, (1, 1, 1, x.shape[-1])).reshape(-1)


def _options(spec):
    geometry = spec.geometry
    return {
        "kind": spec.kind, "window": geometry.window, "strides": geometry.strides, "ties": spec.ties,
        "padding": tuple((low, max(high, 0)) for low, high in geometry.pads), "straight": spec.grad == "straight",
        "count_include_pad": spec.count_include_pad,
    }  # fmt: skip


def forward(spec: Spec, ours: Callable, x: jax.Array, c: jax.Array):
    """`ours(x, c) -> (value, statistics)`, with the kernel's value and no statistics on a TPU."""

    def on_tpu(x, c):
        shapes = jax.eval_shape(ours, x, c)[1]
        return value(spec, x, c), jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.lax.platform_dependent(x, c, tpu=on_tpu, default=ours)


def adjoint(spec: Spec, ours: Callable, x: jax.Array, c: jax.Array, stats, ct: jax.Array):
    """`ours(x, c, stats, ct) -> (slope of x, slope of c)`, the kernel's on a TPU."""

    def on_tpu(x, c, stats, ct):
        del stats
        ct = ct.astype(x.dtype)  # what it was before it was widened
        of_x, of_c = (functools.partial(value, spec), functools.partial(value, spec._replace(grad="exact")))
        if spec.learned and spec.grad == "exact":
            return jax.vjp(of_x, x, c)[1](ct)
        (dx,) = jax.vjp(lambda x: of_x(x, c), x)[1](ct)
        return (dx, jax.vjp(lambda c: of_c(x, c), c)[1](ct)[0] if spec.learned else jnp.zeros_like(c))

    return jax.lax.platform_dependent(x, c, stats, ct, tpu=on_tpu, default=ours)
