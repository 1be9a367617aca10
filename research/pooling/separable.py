"""One reduction over windows and its derivative, for the kinds that need one: sums, extremes, exponentials.

`pool` is what every formulation computes, with a derivative of our own.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.pooling import geometry as geometry_lib
from research.pooling import kinds
from research.pooling.geometry import Geometry
from research.pooling.phase_transpose import phase_transpose

__all__ = ["Spec", "elements", "pool"]


class Spec(NamedTuple):
    """All that is static in a call."""

    kind: str
    eps: float
    geometry: Geometry
    count_include_pad: bool
    grad: str
    ties: str


def pool(spec: Spec, x: jax.Array, c=None, *, mask=None, impl: str | None = None) -> jax.Array:
    """Pools `x` `[B, *S, C]` by a kind of `kinds`; `c` is the coefficient of an exponential kind.

    Args:
      c: scalar or `[C]`; a Python number is static.
      mask: `[B, *S]` bool or None.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    if spec.kind not in kinds.EXPONENTIAL:
        c = jnp.zeros((), wide)
    c = jnp.asarray(c, wide).reshape((1,) * (x.ndim - 1) + (-1,))
    del impl
    return _pool(spec, x, mask, c)


def elements(geometry: Geometry, mask=None) -> jax.Array:
    """Number of elements of every window that take part, `[B or 1, *S', 1]` int32."""
    if mask is None:
        return jnp.asarray(geometry_lib.counts(geometry), jnp.int32)[None, ..., None]
    return sum(_parts(mask[..., None].astype(jnp.int32), geometry, 0))


def _parts(x, geometry, fill):
    """The elements of every window, one array `[B, *S', C]` for every row-major offset."""
    ends = [
        (low, max(s * (out - 1) + k - low - n, 0), 0)
        for n, k, s, out, (low, _) in zip(
            geometry.sizes, geometry.window, geometry.strides, geometry.out, geometry.pads, strict=True
        )
    ]
    if geometry.padded:
        x = lax.pad(x, jnp.asarray(fill, x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    parts = []
    for start in itertools.product(*(range(k) for k in geometry.window)):
        stop = [a + s * (o - 1) + 1 for a, s, o in zip(start, geometry.strides, geometry.out, strict=True)]
        parts.append(lax.slice(x, [0, *start, 0], [x.shape[0], *stop, x.shape[-1]], [1, *geometry.strides, 1]))
    return parts


def _kept(mask, x, fill=0):
    """`x` where the mask is True."""
    return x if mask is None else jnp.where(mask[..., None], x, jnp.asarray(fill, x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pool(spec, x, mask, c):
    return _forward(spec, x, mask, c)[0]


def _forward(spec, x, mask, c):
    """The pooled value and what the derivative needs of every window."""
    if spec.kind in kinds.SUM:
        y = _wide(functools.reduce(jnp.add, map(_wide, _parts(_kept(mask, x), spec.geometry, 0))))
        if spec.kind == "avg":
            y = y / _divisor(spec, mask, y.dtype)
        return y.astype(x.dtype), ()
    if spec.kind in kinds.ORDER:
        return _extreme(spec, x, mask)
    return _exponential(spec, x, mask, c)


def _wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _divisor(spec, mask, dtype):
    if spec.count_include_pad:
        return jnp.asarray(np.prod(spec.geometry.window), dtype)
    return jnp.maximum(elements(spec.geometry, mask), 1).astype(dtype)


def _extreme(spec, x, mask):
    """Largest or smallest element; for the derivative the place of the first one, or the number of equal ones."""
    better, fill = (lax.max, -jnp.inf) if spec.kind == "max" else (lax.min, jnp.inf)
    parts = _parts(_kept(mask, x, fill), spec.geometry, fill)
    y = functools.reduce(better, parts)
    stats = ()
    if spec.ties == "first":
        code = jnp.full(y.shape, len(parts) - 1, jnp.int16)
        for place in range(len(parts) - 2, -1, -1):
            code = jnp.where(parts[place] == y, jnp.int16(place), code)
        stats = (code,)
    elif spec.ties == "split":
        stats = (y, functools.reduce(jnp.add, [(part == y).astype(x.dtype) for part in parts]))
    else:
        stats = (y,)
    if mask is not None:
        y = jnp.where(elements(spec.geometry, mask) > 0, y, 0).astype(x.dtype)
    return y, stats


def _exponential(spec, x, mask, c):
    kind = kinds.Smooth(spec.kind, spec.eps)
    inside = _wide(_kept(mask, x, 1))
    z = _parts(_kept(mask, c * kinds.coordinate(kind, inside), -jnp.inf), spec.geometry, -jnp.inf)
    top = functools.reduce(jnp.maximum, z)
    top = jnp.where(jnp.isfinite(top), top, 0)
    weights = [jnp.exp(part - top) for part in z]
    total = functools.reduce(jnp.add, weights)
    some = True if mask is None else elements(spec.geometry, mask) > 0
    if spec.kind == "soft":
        values = _parts(_kept(mask, inside), spec.geometry, 0)
        y = functools.reduce(jnp.add, [w * v for w, v in zip(weights, values, strict=True)]) / jnp.where(some, total, 1)
    n = jnp.maximum(elements(spec.geometry, mask), 1).astype(total.dtype)
    total = top + jnp.log(total)
    if spec.kind != "soft":
        y = kinds.value(kind, jnp.where(some, total, 0), c, n)
    y = jnp.where(some, y, 0)
    return y.astype(x.dtype), (y, jnp.where(some, total, -jnp.inf))


def _pool_forward(spec, x, mask, c):
    y, stats = _forward(spec, x, mask, c)
    return y, (x, mask, c, stats)


def _pool_backward(spec, residuals, ct):
    x, mask, c, stats = residuals
    wide = _wide(ct)
    dc = jnp.zeros_like(c)
    if spec.kind in kinds.SUM:
        if spec.kind == "avg":
            wide = wide / _divisor(spec, mask, wide.dtype)
        dx = phase_transpose(None, [(wide, 0)], spec.geometry, lambda _, outs, offset: outs[0])
        dx = jnp.broadcast_to(dx, x.shape)
    elif spec.kind in kinds.ORDER:
        dx = _extreme_backward(spec, x, mask, stats, wide)
    else:
        dx, dc = _exponential_backward(spec, x, mask, c, stats, wide)
    return _kept(mask, dx.astype(x.dtype)), None, dc


def _extreme_backward(spec, x, mask, stats, ct):
    if mask is not None:
        ct = jnp.where(elements(spec.geometry, mask) > 0, ct, 0)
    if spec.ties == "first":
        outs = [(ct, 0), (stats[0], -1)]
        return phase_transpose(
            x, outs, spec.geometry, lambda _, o, offset: jnp.where(o[1] == offset.astype(np.int16), o[0], 0)
        )
    if spec.ties == "split":
        ct = ct / jnp.maximum(stats[1], 1)
    fill = -jnp.inf if spec.kind == "max" else jnp.inf
    outs = [(ct, 0), (stats[0], 0)]
    return phase_transpose(_kept(mask, x, fill), outs, spec.geometry, lambda x, o, _: jnp.where(x == o[1], o[0], 0))


def _exponential_backward(spec, x, mask, c, stats, ct):
    kind = kinds.Smooth(spec.kind, spec.eps)
    y, total = stats
    inside = _wide(_kept(mask, x, 1))
    log_y = jnp.where(total == -jnp.inf, 0, total)
    r = kinds.rest(kind, total, jnp.where(total == -jnp.inf, 1, y))
    ct = jnp.where(jnp.isfinite(r) | jnp.isnan(r), ct, 0)

    def local(x, outs, _):
        power, factor = kinds.exponent(kind, x, c_of(x))
        w = jnp.exp(power - outs[1]) * outs[0]
        if spec.kind == "soft" and spec.grad == "exact":
            w = w * (1 + c_of(x) * (x - outs[2]))
        return w if factor is None else w * factor

    def c_of(x):
        return c.reshape((1,) * (x.ndim - 1) + (-1,))

    dx = phase_transpose(inside, [(ct, 0), (r, jnp.inf), (y, 0)], spec.geometry, local)
    return dx, _coefficient_gradient(spec, kind, inside, mask, c, y, log_y, ct)


def _coefficient_gradient(spec, kind, inside, mask, c, y, total, ct):
    """By the weighted mean of `u` in every window, and by the weighted variance of `x` for `soft`."""
    u = kinds.coordinate(kind, inside)
    z = _parts(_kept(mask, c * u, -jnp.inf), spec.geometry, -jnp.inf)
    u = _parts(_kept(mask, jnp.where(jnp.isneginf(u), 0, u)), spec.geometry, 0)
    weights = [jnp.exp(part - total) for part in z]
    if spec.kind == "soft":
        rate = sum(w * (v - y) ** 2 for w, v in zip(weights, u, strict=True))
    else:
        mean = sum(w * v for w, v in zip(weights, u, strict=True))
        n = jnp.maximum(elements(spec.geometry, mask), 1).astype(y.dtype)
        log_mean = (total - jnp.log(n) if spec.kind in ("lme", "power") else total) / c
        rate = (mean - log_mean) / c * (y if kind.logarithmic else 1)
    grads = jnp.where(ct == 0, 0, ct * rate)
    axes = tuple(axis for axis, size in enumerate(c.shape) if size == 1)
    return grads.sum(axis=axes, keepdims=True).reshape(c.shape)


_pool.defvjp(_pool_forward, _pool_backward)
