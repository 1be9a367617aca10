"""Parts of a decoder: norm, rotary positions, causal attention, SwiGLU; flax modules without biases.

Parameters are float32 (float64 under x64), activations of the dtype of what is given; norms, rotations and softmax are
computed in at least float32. Matrices that write into the residual stream start at 1 / sqrt(fan in) / sqrt(branches),
with `branches` the number of such matrices on the path through the model, others at 1 / sqrt(fan in).
Source: `su:24` for rotary positions, `shazeer:20` for SwiGLU.

Letters: `B` sequences, `S` tokens of each, `H` heads of size `k`, `d` = H k the width.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float

__all__ = ["Attention", "RMSNorm", "SwiGLU", "causal_attention", "at_least_float32", "model_dtype", "rotate", "scaled"]

_NORM_EPSILON = 1e-6
_ROTARY_BASE = 1e4
#: Queries that attend together: beyond it the scores of one block at a time are held, and computed again backwards.
_QUERY_BLOCK = 1024


def model_dtype() -> jnp.dtype:
    """Of parameters: float64 under x64, else float32."""
    return jnp.zeros(()).dtype


def at_least_float32(dtype) -> jnp.dtype:
    """float32 for narrower floats, else the dtype."""
    return jnp.promote_types(dtype, jnp.float32)


def scaled(fan_in: int, gain: float = 1.0) -> Callable:
    """Initialiser: normal with standard deviation gain / sqrt(fan_in)."""
    return nn.initializers.normal(gain / fan_in**0.5)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-6), times a learned gain."""

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        gain = self.param("gain", nn.initializers.ones, (x.shape[-1],), model_dtype())
        wide = x.astype(at_least_float32(x.dtype))
        inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + _NORM_EPSILON)
        return (wide * inverse * jnp.broadcast_to(gain, x.shape)).astype(x.dtype)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)), of hidden width `hidden`."""

    hidden: int
    branches: int

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        width, dtype = x.shape[-1], model_dtype()
        gate_up = self.param("gate_up", scaled(width), (width, 2 * self.hidden), dtype)
        down = self.param("down", scaled(self.hidden, self.branches**-0.5), (self.hidden, width), dtype)
        gate, up = jnp.split(x @ gate_up.astype(x.dtype), 2, axis=-1)
        return (jax.nn.silu(gate) * up) @ down.astype(x.dtype)


class Attention(nn.Module):
    """Causal attention of `heads` heads, with rotary positions."""

    heads: int
    branches: int

    @nn.compact
    def __call__(self, x: Float[Array, "B S d"]) -> Float[Array, "B S d"]:
        batch, length, width = x.shape
        dtype = model_dtype()
        into = self.param("query_key_value", scaled(width), (width, 3 * width), dtype).astype(x.dtype)
        out = self.param("out", scaled(width, self.branches**-0.5), (width, width), dtype).astype(x.dtype)
        query, key, value = jnp.split((x @ into).reshape(batch, length, 3 * self.heads, -1), 3, axis=2)
        return causal_attention(rotate(query), rotate(key), value).reshape(x.shape) @ out


def rotate(x: Float[Array, "B S H k"]) -> Float[Array, "B S H k"]:
    """Rotary positions: dimensions i and i + k/2 turn by position * 1e4^(-2 i / k)."""
    dtype = at_least_float32(x.dtype)
    half = x.shape[-1] // 2
    speed = _ROTARY_BASE ** (-jnp.arange(half, dtype=dtype) / half)
    angle = jnp.arange(x.shape[1], dtype=dtype)[:, None] * speed[None]
    cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
    first, second = jnp.split(x.astype(dtype), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def causal_attention(
    query: Float[Array, "B S H k"], key: Float[Array, "B S H k"], value: Float[Array, "B S H k"]
) -> Float[Array, "B S H k"]:
    """softmax(q k / sqrt(k)) v over each token and those before it.

    Raises ValueError for more than 1024 tokens that are no multiple of 1024.
    """
    batch, length, heads, size = query.shape
    dtype = at_least_float32(query.dtype)
    positions = jnp.arange(length)

    def attend(query, at):
        scores = jnp.einsum("bqhk,bshk->bhqs", query, key, preferred_element_type=dtype) * size**-0.5
        seen = (at[:, None] >= positions[None])[None, None]
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1).astype(value.dtype)
        return jnp.einsum("bhqs,bshk->bqhk", weights, value)

    if length <= _QUERY_BLOCK:
        return attend(query, positions)
    checks.require(length % _QUERY_BLOCK == 0, "length", f"be <= {_QUERY_BLOCK} or a multiple of it", length)
    blocks = jnp.moveaxis(query.reshape(batch, -1, _QUERY_BLOCK, heads, size), 1, 0)
    mixed = jax.lax.map(lambda block: jax.checkpoint(attend)(*block), (blocks, positions.reshape(-1, _QUERY_BLOCK)))
    return jnp.moveaxis(mixed, 0, 1).reshape(query.shape)
