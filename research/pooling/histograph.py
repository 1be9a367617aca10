"""Pooling over the history of a graph network (HISTOGRAPH): layers are weighed once per graph, then nodes attend.

The last layer asks all layers; their answers, averaged over nodes, are the weights of the layers, and they keep their
sign, so that a difference of layers can be read where smoothing has made the last one the same everywhere. One
self-attention over nodes and a mean follow. Trained on a frozen network's stored activations, it is the only part that
learns. Cost O(N (L + N) D) for N nodes and L layers. Several graphs may share a row of nodes: each has its own weights
and attends to itself alone.
Guarantee: what signed weights can read, `graph_bounds.layer_filter` and `graph_bounds.node_gap`.
Source: `galron:26`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling.norms import standardized
from research.pooling.operator import Operator

__all__ = ["Histograph", "Layered", "example", "histograph", "layer_encoding", "layer_stage", "layer_weights"]


class Layered(NamedTuple):
    """What the layer stage gives; for rows of several graphs weights, answers and vanished have an axis G behind B."""

    nodes: Float[Array, "B N D"]  # H
    weights: Float[Array, "B L"]  # of the layers; sum to 1, of either sign
    answers: Float[Array, "B L"]  # c, before normalisation
    vanished: Bool[Array, "B"]  # whether sum c was too near to 0, so that the softmax stood in: worth logging


class Histograph(eqx.Module):
    """Projections of both stages."""

    project: Float[Array, "F D"]
    layer_query: Float[Array, "D D"]
    layer_key: Float[Array, "D D"]
    query: Float[Array, "D D"]
    key: Float[Array, "D D"]
    value: Float[Array, "D D"]
    output: Float[Array, "D D"]
    scale: Float[Array, "D"]
    bias: Float[Array, "D"]
    num_heads: int = eqx.field(static=True, default=1)
    normalize: str = eqx.field(static=True, default="signed")

    @classmethod
    def create(cls, key: Key, features: int, dim: int, num_heads: int = 1, normalize: str = "signed") -> "Histograph":
        """Weights of variance 1 over inputs.

        Raises:
          ValueError: heads do not divide the channels, or an unknown normalisation.
        """
        validate.one_of("normalize", normalize, ("signed", "softmax"))
        validate.require(num_heads >= 1 and dim % num_heads == 0, "num_heads", f"divide dim = {dim}", num_heads)
        keys = jax.random.split(key, 7)
        project = jax.random.normal(keys[0], (features, dim)) / features**0.5
        square = (jax.random.normal(one, (dim, dim)) / dim**0.5 for one in keys[1:])
        return cls(project, *square, jnp.ones(dim), jnp.zeros(dim), num_heads, normalize)

    def __call__(self, history: Float[Array, "B N L F"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
        return histograph(history, mask, self)[0]


def layer_encoding(num_layers: int, dim: int) -> np.ndarray:
    """`[L, D]` of the layer's number: channel 2i has sin(l / 10000^(2i / D)), channel 2i + 1 the cosine."""
    channel = np.arange(dim)
    angle = np.arange(num_layers)[:, None] / 10000.0 ** ((channel - channel % 2)[None] / dim)
    return np.where(channel[None] % 2 == 0, np.sin(angle), np.cos(angle))


def layer_weights(answers: Float[Array, "*B L"], normalize: str) -> tuple[Float[Array, "*B L"], Bool[Array, "*B"]]:
    """The weights of layers, and where their sum had vanished.

    Args:
      answers: c.
      normalize: "signed" for c / sum c, and the softmax where |sum c| < 1e-3 mean |c| + 1e-6; "softmax" everywhere.
    """
    validate.one_of("normalize", normalize, ("signed", "softmax"))
    total = jnp.sum(answers, axis=-1)
    soft = jax.nn.softmax(answers, axis=-1)
    if normalize == "softmax":
        return soft, jnp.zeros(total.shape, bool)
    vanished = jnp.abs(total) < 1e-3 * jnp.mean(jnp.abs(answers), axis=-1) + 1e-6
    signed = answers / jnp.where(vanished, 1, total)[..., None]
    return jnp.where(vanished[..., None], soft, signed), vanished


def layer_stage(
    history: Float[Array, "B N L F"], mask: Bool[Array, "B N"], params: Histograph, *, encode: bool = True,
    graph_ids: Int[Array, "B N"] | None = None, num_graphs: int = 1,
) -> Layered:  # fmt: skip
    """H = sum_l alpha_l Z_l, Z = history W + encoding; alpha from c_l = mean_n <Z_{n,L-1} W_Q, Z_{n,l} W_K> / sqrt D.

    Computed in at least float32.

    Args:
      history: activations of every node after each layer, the last one last.
      mask: True for a node.
      encode: whether the layers' encoding is added; without it, alpha can still tell layers by what they hold.
      graph_ids: graph of each node among those of its row, in [0, num_graphs); None where a row is one graph.
      num_graphs: G, static, of every row; a graph without nodes has answers 0.
    """
    history = history.astype(jnp.promote_types(history.dtype, jnp.float32))
    z = jnp.where(mask[..., None, None], history, 0) @ params.project
    if encode:
        z = z + jnp.asarray(layer_encoding(*z.shape[2:]), z.dtype)[None, None]
    z = jnp.where(mask[..., None, None], z, 0)
    asked = jnp.einsum("bnd,bnld->bnl", z[:, :, -1] @ params.layer_query, z @ params.layer_key)
    answers = _mean(asked / z.shape[-1] ** 0.5, mask, graph_ids, num_graphs)
    weights, vanished = layer_weights(answers, params.normalize)
    if graph_ids is None:
        nodes = jnp.einsum("bl,bnld->bnd", weights, z)
    else:
        nodes = jnp.einsum("bnl,bnld->bnd", jax.vmap(lambda one, at: one[at])(weights, graph_ids), z)
    return Layered(nodes, weights, answers, vanished)


def histograph(
    history: Float[Array, "B N L F"], mask: Bool[Array, "B N"], params: Histograph, *, encode: bool = True,
    graph_ids: Int[Array, "B N"] | None = None, num_graphs: int = 1,
) -> tuple[Float[Array, "B D"], Layered]:  # fmt: skip
    """Mean over nodes of LayerNorm(H + self-attention(H)), and the layer stage; zeros for a graph without nodes.

    With `graph_ids`, as in `layer_stage`, means are `[B, G, D]`. The logits of all pairs of a row are computed, so that
    a row should be little longer than its largest graph, or be made of many.

    Raises:
      ValueError: shapes or dtypes do not fit.
    """
    validate.require(jnp.ndim(history) == 4, "history", "have shape (B, N, L, F)", jnp.shape(history))
    validate.shape("mask", mask, history.shape[:2])
    validate.require(mask.dtype == bool, "mask", "hold booleans", mask.dtype)
    validate.require(
        history.shape[3] == params.project.shape[0], "history", f"have {params.project.shape[0]} channels",
        history.shape[3],
    )  # fmt: skip
    validate.at_least("num_graphs", num_graphs, 1)
    if graph_ids is None:
        validate.require(num_graphs == 1, "num_graphs", "be 1 without graph_ids", num_graphs)
    else:
        validate.shape("graph_ids", graph_ids, mask.shape)
        validate.in_range("graph_ids", graph_ids, 0, num_graphs - 1)
    layered = layer_stage(history, mask, params, encode=encode, graph_ids=graph_ids, num_graphs=num_graphs)
    h = layered.nodes
    heads = (*h.shape[:2], params.num_heads, h.shape[2] // params.num_heads)
    query, key, value = ((h @ weight).reshape(heads) for weight in (params.query, params.key, params.value))
    logits = jnp.einsum("bnhd,bmhd->bhnm", query, key) / heads[-1] ** 0.5
    seen = mask[:, None]
    if graph_ids is not None:
        seen = seen & (graph_ids[:, :, None] == graph_ids[:, None])
    share = jax.nn.softmax(jnp.where(seen[:, None], logits, -1e30), axis=-1)
    attended = jnp.einsum("bhnm,bmhd->bnhd", share, value).reshape(h.shape) @ params.output
    return _mean(_layer_norm(h + attended, params), mask, graph_ids, num_graphs), layered


def _mean(x: Array, mask: Array, graph_ids: Array | None, num_graphs: int) -> Array:
    """Means of the nodes `[B, N, D]` of each row, or of each graph of each row; 0 without nodes."""
    x = jnp.where(mask[..., None], x, 0)
    if graph_ids is None:
        total, count = jnp.sum(x, axis=1), jnp.sum(mask, axis=1)
    else:
        add = jax.vmap(lambda values, ids: jax.ops.segment_sum(values, ids, num_graphs))
        total, count = add(x, graph_ids), add(mask.astype(jnp.int32), graph_ids)
    return total / jnp.maximum(count, 1).astype(x.dtype)[..., None]


def _layer_norm(x: Array, params: Histograph) -> Array:
    return standardized(x, -1) * params.scale[None, None] + params.bias[None, None]


def example(key: Key) -> dict[str, Operator]:
    """Two graphs after three layers, with either normalisation."""
    first, second = jax.random.split(key)
    mask = jnp.arange(5)[None] < jnp.array([[5], [3]])
    history = jax.random.normal(first, (2, 5, 3, 4))
    found = {}
    for normalize in ("signed", "softmax"):
        params = Histograph.create(second, 4, 4, num_heads=2, normalize=normalize)
        found[f"histograph_{normalize}"] = Operator(
            lambda params, history, mask: params(history, mask), params, history,
            "mean_n LN(H + MHSA(H)), H = sum_l alpha_l Z_l, alpha = "
            + ("c / sum c" if normalize == "signed" else "softmax(c)"),
            "galron:26", figure="pooling/fig_smoothing", mask=mask,
        )  # fmt: skip
    return found
