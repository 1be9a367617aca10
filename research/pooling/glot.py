"""Pooling over a token graph (GLOT): tokens that point the same way are joined, exchange features, and are weighed.

The graph joins tokens whose cosine exceeds a threshold, and each token with itself; it is built without gradient.
K layers of graph attention run on it, their outputs stand behind the tokens' own features, and one softmax over tokens
weighs the whole. Dense and masked: B sequences of T tokens take O(B T^2) memory.
Source: `mantri:26` with the released code; graph attention as in `velickovic:18`, one head.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Bool, Float, Key
from research.pooling.operator import Operator

__all__ = ["Glot", "GlotOutput", "GraphAttention", "example", "glot", "graph_attention", "scores", "token_graph"]

#: Stands for minus infinity in a softmax; finite, so that a row without an entry has a gradient.
_NEVER = -1e30


class GraphAttention(eqx.Module):
    """One layer of graph attention, F channels to H."""

    weight: Float[Array, "F H"]
    source: Float[Array, "H"]
    target: Float[Array, "H"]
    bias: Float[Array, "H"]

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int) -> "GraphAttention":
        """Glorot's normal weights, bias 0."""
        first, second, third = jax.random.split(key, 3)
        weight = jax.random.normal(first, (dim, hidden)) * (2 / (dim + hidden)) ** 0.5
        ends = (jax.random.normal(one, (hidden,)) * (2 / (1 + hidden)) ** 0.5 for one in (second, third))
        return cls(weight, *ends, jnp.zeros(hidden))


class Glot(eqx.Module):
    """Layers and scorer."""

    layers: tuple[GraphAttention, ...]
    scorer_in: Float[Array, "D+K*H S"]
    scorer_bias: Float[Array, "S"]
    scorer_out: Float[Array, "S"]
    threshold: float = eqx.field(static=True, default=0.6)  # of the graph, through which no gradient goes

    @classmethod
    def create(
        cls,
        key: Key,
        dim: int,
        hidden: int = 64,
        num_layers: int = 2,
        threshold: float = 0.6,
        scorer: int | None = None,
    ) -> "Glot":
        """Defaults of the source's range: hidden 64 to 256, two to four layers, threshold 0.3 to 0.8."""
        keys = jax.random.split(key, num_layers + 2)
        layers = tuple(
            GraphAttention.create(one, dim if level == 0 else hidden, hidden) for level, one in enumerate(keys[2:])
        )
        total = dim + num_layers * hidden
        width = max(128, total // 2) if scorer is None else scorer
        weight = jax.random.normal(keys[0], (total, width)) / total**0.5
        return cls(layers, weight, jnp.zeros(width), jax.random.normal(keys[1], (width,)) / width**0.5, threshold)

    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]) -> Float[Array, "B D+K*H"]:
        return glot(x, mask, self).pooled


class GlotOutput(NamedTuple):
    """What one pass gives."""

    pooled: Float[Array, "B D+K*H"]
    weights: Float[Array, "B T"]  # of the tokens; sum to 1, 0 in padding
    features: Float[Array, "B T D+K*H"]  # tokens' own, then those of each layer


def token_graph(x: Float[Array, "B T D"], mask: Bool[Array, "B T"], threshold: float) -> Bool[Array, "B T T"]:
    """Pairs of tokens with a cosine above the threshold, and every token with itself; False wherever one is padding.

    Args:
      threshold: in [-1, 1]. A zero vector has cosine 0 with all others.
    """
    validate.in_range("threshold", threshold, -1, 1)
    x = jax.lax.stop_gradient(jnp.where(mask[..., None], x, 0))
    unit = x / jnp.sqrt(jnp.sum(x.astype(jnp.promote_types(x.dtype, jnp.float32)) ** 2, -1, keepdims=True) + 1e-24)
    cosine = jnp.einsum("btd,bsd->bts", unit, unit)
    near = (cosine > threshold) | jnp.eye(x.shape[1], dtype=bool)[None]
    return near & mask[:, :, None] & mask[:, None, :]


def graph_attention(
    h: Float[Array, "B T F"], adjacency: Bool[Array, "B T T"], layer: GraphAttention
) -> Float[Array, "B T H"]:
    """ReLU of sum_j a_ij W h_j + bias; a_i is the softmax over neighbours of LeakyReLU(target W h_i + source W h_j).

    Args:
      adjacency: `[B, i, j]`, True where token i hears token j.

    Source: `velickovic:18`, equations 1 to 4, slope 0.2.
    """
    values = h @ layer.weight
    logits = jax.nn.leaky_relu((values @ layer.target)[:, :, None] + (values @ layer.source)[:, None, :], 0.2)
    share = jnp.where(adjacency, jax.nn.softmax(jnp.where(adjacency, logits, _NEVER), axis=-1), 0)
    return jax.nn.relu(jnp.einsum("bij,bjh->bih", share, values) + layer.bias[None, None])


def scores(features: Float[Array, "B T F"], params: Glot) -> Float[Array, "B T"]:
    """w . tanh(V' h + b) of every token. A bias behind w would change no softmax."""
    return jnp.tanh(features @ params.scorer_in + params.scorer_bias[None, None]) @ params.scorer_out


def glot(x: Float[Array, "B T D"], mask: Bool[Array, "B T"], params: Glot) -> GlotOutput:
    """Pools token sequences over their token graphs, in at least float32; a sequence without tokens gives zeros.

    With no layers it is attention pooling by the same scorer (AdaPool).

    Raises:
      ValueError: shapes or dtypes do not fit, or the threshold is no cosine.
    """
    validate.require(jnp.ndim(x) == 3, "x", "have shape (B, T, D)", jnp.shape(x))
    validate.shape("mask", mask, x.shape[:2])
    validate.require(mask.dtype == bool, "mask", "hold booleans", mask.dtype)
    x = jnp.where(mask[..., None], x, 0).astype(jnp.promote_types(x.dtype, jnp.float32))
    features, h = [x], x
    if params.layers:
        adjacency = token_graph(x, mask, params.threshold)
        for layer in params.layers:
            h = graph_attention(h, adjacency, layer)
            features.append(h)
    joined = jnp.where(mask[..., None], jnp.concatenate(features, axis=-1), 0)
    logits = jnp.where(mask, scores(joined, params), _NEVER)
    weights = jnp.where(mask, jax.nn.softmax(logits, axis=-1), 0)
    return GlotOutput(jnp.einsum("bt,btf->bf", weights, joined), weights, joined)


def example(key: Key) -> dict[str, Operator]:
    """Two sequences, two layers."""
    first, second = jax.random.split(key)
    mask = jnp.arange(5)[None] < jnp.array([[5], [3]])
    params = Glot.create(second, 3, 2, num_layers=2, threshold=0.3, scorer=4)
    return {
        "glot": Operator(
            lambda params, x, mask: params(x, mask), params, jax.random.normal(first, (2, 5, 3)),
            "softmax(w tanh(V' H)) H over H = [x, GAT(x), GAT^2(x)] on the graph cos > tau", "mantri:26",
            figure="pooling/fig_distractors", mask=mask, invariants=("permutation",),
        ),
    }  # fmt: skip
