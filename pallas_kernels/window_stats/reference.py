"""Windows gathered, formulas as they stand in the literature, derivatives by autodiff: the oracle of every test.

Sources: `stergiou:21` for SoftPool, `radenovic:19` for power means, `lee:16` for the mixture.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.window_stats.rules import FLOOR

__all__ = ["window_stats"]


def window_stats(x, theta, *, kind, ties, straight, geometry, include_pad):
    """Same contract as `api.window_stats`; differentiable as it stands."""
    dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
    (down, has_row), (along, has_column) = (_places(axis) for axis in geometry)
    batch, _, _, channels = x.shape
    held = (has_row[:, None, :, None] & has_column[None, :, None, :]).reshape(*geometry.out, -1)[None, ..., None]
    windows = jnp.moveaxis(x[:, down][:, :, :, along], 2, 3).reshape(batch, *geometry.out, -1, channels)
    held = jnp.broadcast_to(held, windows.shape)
    count = jnp.asarray(geometry.area, x.dtype) if include_pad else jnp.sum(held, axis=3, dtype=x.dtype)
    return _pooled(windows, held, count, theta[None, None, None], kind, ties, straight).astype(dtype)


def _places(axis):
    """Index of each place of each window, and whether it is an element: `[out, window]` each."""
    index = axis.stride * np.arange(axis.out)[:, None] + np.arange(axis.window)[None] - axis.low
    return np.clip(index, 0, axis.size - 1), (index >= 0) & (index < axis.size)


def _pooled(x, held, count, theta, kind, ties, straight):
    mean = jnp.sum(jnp.where(held, x, 0), axis=3) / count
    if kind in ("sum", "avg"):
        return mean * count if kind == "sum" else mean
    if kind in ("max", "mixed"):
        largest = _largest(jnp.where(held, x, -jnp.inf), ties)
        return largest if kind == "max" else theta * largest + (1 - theta) * mean
    if kind == "min":
        return -_largest(jnp.where(held, -x, -jnp.inf), ties)
    wide = theta[..., None, :]
    if kind in ("power", "lp"):
        size = jnp.maximum(x, FLOOR) if kind == "power" else jnp.abs(x)
        live = held & (size > 0)
        log = jnp.where(live, wide * jnp.log(jnp.where(live, size, 1)), -jnp.inf)
        some = jnp.any(live, axis=3)
        total = jax.nn.logsumexp(jnp.where(some[:, :, :, None], log, 0), axis=3)
        value = jnp.exp((total - jnp.log(count) if kind == "power" else total) / theta)
        return jnp.where(some, value, 0)
    u = jnp.where(held, wide * x if kind == "soft" else x / wide, -jnp.inf)
    if kind == "soft":
        weights = jax.nn.softmax(u, axis=3)
        return jnp.sum((jax.lax.stop_gradient(weights) if straight else weights) * x, axis=3)
    total = jax.nn.logsumexp(u, axis=3)
    return theta * (total - jnp.log(count) if kind == "lme" else total)


def _largest(x, ties):
    if ties == "split":
        return jnp.max(x, axis=3)
    if ties == "first":
        return jnp.take_along_axis(x, jnp.argmax(x, axis=3)[:, :, :, None], axis=3)[:, :, :, 0]
    top = jax.lax.stop_gradient(jnp.max(x, axis=3))
    alike = jnp.where(x == top[:, :, :, None], x, 0)
    return top + jnp.sum(alike - jax.lax.stop_gradient(alike), axis=3)
