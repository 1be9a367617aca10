"""Poolings of token sequences, each behind it the same two-layer head: what a contest of them trains.

Letters: `B` sequences, `T` tokens, `D` channels, `K` outputs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.core import prng
from research.pooling import glot
from research.pooling.tokens import token_pool

__all__ = ["POOLINGS", "Setting", "create", "logits"]

#: `attention` is AdaPool, one softmax over tokens; `graph` is GLOT, graph attention before it.
POOLINGS = ("mean", "max", "last", "position_weighted", "attention", "graph")


class Setting(NamedTuple):
    """Attributes: width of the heads; width and number of GLOT's layers and the cosine that joins two tokens."""

    head: int
    hidden: int
    layers: int
    threshold: float


def create(key, poolings: tuple[str, ...], dim: int, outputs: int, setting: Setting) -> dict[str, Any]:
    """Parameters `(pooling's own, head's)` by pooling; heads of equal width start equal."""

    def head(width, name):
        into, out = jax.random.split(prng.stream(key, name))
        weight = jax.random.normal(into, (width, setting.head)) * (2 / width) ** 0.5
        last = jax.random.normal(out, (setting.head, outputs)) / setting.head**0.5
        return weight, jnp.zeros(setting.head), last, jnp.zeros(outputs)

    own = {
        "attention": lambda: glot.Glot.create(prng.stream(key, "attention"), dim, num_layers=0),
        "graph": lambda: glot.Glot.create(
            prng.stream(key, "graph"), dim, setting.hidden, setting.layers, setting.threshold
        ),
    }
    wide = dim + setting.layers * setting.hidden
    return {
        pooling: (own.get(pooling, tuple)(), head(wide, "wide") if pooling == "graph" else head(dim, "narrow"))
        for pooling in poolings
    }


def logits(params, pooling: str, x: jax.Array, mask: jax.Array) -> jax.Array:
    """`[B, K]` in float32 from tokens `x [B, T, D]`, True in `mask [B, T]` where there is one."""
    pool, (weight, bias, out, constant) = params
    x = x.astype(jnp.float32)
    pooled = glot.glot(x, mask, pool).pooled if pooling in ("attention", "graph") else token_pool(x, pooling, mask)
    return jax.nn.relu(pooled @ weight + bias[None]) @ out + constant[None]
