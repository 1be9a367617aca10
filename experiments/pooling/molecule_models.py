"""Graph networks on packs of molecules with any of the contest's pools, behind one pair of functions.

An atom starts as the sum of its features' vectors. A layer is a GIN with bonds, x_i <- MLP((1 + eps) x_i + sum_j
relu(x_j + e_ij)), normalised inside and behind, rectified behind all layers but the last. Pools:
  mean, sum    of a molecule's atoms behind the last layer.
  topk, parse  behind each of the last `levels` layers; the layers between see what is left, and the read-outs, mean and
               maximum, are summed (`research.pooling.topk_graph`, one round of `research.pooling.parsing`).
  histograph   of the atoms behind all layers (`research.pooling.histograph`).
Norms take the statistics of all atoms, or of all that is left of them, in the whole batch, as those of the published
networks do, and networks train sooner with them than with norms of an atom's channels: counts and sums are added over
packs and devices, so that results depend on neither.
Source: `xu-gin:19` for GIN, `hu-ogb:20` and its released baselines for bonds, norms and dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.molecule_packs import Packs
from experiments.data.molecules import ATOM_LEVELS, BOND_LEVELS
from research.core import prng
from research.core import validate as checks
from research.pooling import graphs
from research.pooling.graphs import Graph
from research.pooling.histograph import Histograph, histograph
from research.pooling.norms import EPSILON
from research.pooling.parsing import GraphParsing
from research.pooling.topk_graph import graph_topk

__all__ = ["POOLS", "Model", "build"]

POOLS = ("mean", "sum", "topk", "parse", "histograph")

_PACKS = "packs"  # the axis over which the network of one pack is mapped
_MOMENTUM = 0.9  # of the statistics for test time


class Model(NamedTuple):
    """Attributes:
    init: `key -> (weights, statistics)`.
    apply: `(weights, statistics, packs, keys) -> (logits, statistics)`; logits `[P, G, T]`, of no meaning where a pack
      has no molecule; keys `[P]` for dropout, None at test time, when statistics stay.
    """

    init: Callable[[Any], tuple[Any, Any]]
    apply: Callable[..., tuple[jax.Array, Any]]


class _Norm(eqx.Module):
    scale: jax.Array
    bias: jax.Array

    @classmethod
    def create(cls, dim: int) -> _Norm:
        return cls(jnp.ones(dim), jnp.zeros(dim))

    def __call__(self, x, mask, known, axes):
        """Rows normalised by the batch's mean and variance, and the new `known` ones; by these where axes are None."""
        mean, variance = known
        if axes is not None:
            rows = mask[:, None]
            count, total = jax.lax.psum((jnp.sum(mask), jnp.sum(jnp.where(rows, x, 0), axis=0)), axes)
            count = jnp.maximum(count, 1).astype(x.dtype)
            mean = total / count
            variance = jax.lax.psum(jnp.sum(jnp.where(rows, x - mean[None], 0) ** 2, axis=0), axes) / count
            new = jax.lax.stop_gradient((mean, variance))
            known = jax.tree.map(lambda old, one: _MOMENTUM * old + (1 - _MOMENTUM) * one, known, new)
        factor = self.scale * jax.lax.rsqrt(variance + EPSILON)
        return (x - mean[None]) * factor[None] + self.bias[None], known


class _Layer(eqx.Module):
    """A GIN layer of `D` channels."""

    bonds: jax.Array  # [values of all features, D]
    epsilon: jax.Array
    wide: jax.Array  # [D, 2 D]
    inner: _Norm
    narrow: jax.Array  # [2 D, D]
    outer: _Norm

    @classmethod
    def create(cls, key, dim: int) -> _Layer:
        bonds, wide, narrow = jax.random.split(key, 3)
        return cls(
            _vectors(bonds, BOND_LEVELS, dim), jnp.zeros(()), _matrix(wide, dim, 2 * dim), _Norm.create(2 * dim),
            _matrix(narrow, 2 * dim, dim), _Norm.create(dim),
        )  # fmt: skip

    def __call__(self, graph: Graph, bonds, known, axes):
        """`[M, D]`, and the statistics of both norms."""
        # Both directions of every bond.
        here = jnp.concatenate([graph.senders, graph.receivers])
        there = jnp.concatenate([graph.receivers, graph.senders])
        live = jnp.tile(graph.edge_mask, 2)[:, None]
        bond = jnp.tile(_looked_up(self.bonds, bonds, BOND_LEVELS), (2, 1))
        said = jnp.where(live, jax.nn.relu(graph.x[here] + bond), 0)
        heard = jax.ops.segment_sum(said, there, graph.x.shape[0])
        x, inner = self.inner(((1 + self.epsilon) * graph.x + heard) @ self.wide, graph.node_mask, known[0], axes)
        x, outer = self.outer(jax.nn.relu(x) @ self.narrow, graph.node_mask, known[1], axes)
        return x, [inner, outer]


def _matrix(key, rows: int, columns: int):
    return jax.random.normal(key, (rows, columns)) * (2 / rows) ** 0.5


def _vectors(key, levels, dim: int):
    """The vectors of all values of some features, one feature after the other."""
    return jax.random.normal(key, (sum(levels), dim)) / len(levels) ** 0.5


def _looked_up(vectors, values, levels):
    """Sums over features of the vectors of their values `[n, features]`."""
    first = np.cumsum(levels) - levels
    return jnp.sum(vectors[values.astype(jnp.int32) + jnp.asarray(first, jnp.int32)[None]], axis=1)


def build(algo, *, molecules: int, tasks: int, axis_name: str | None = None) -> Model:
    """A network.

    Args:
      algo: `pool`, of `POOLS`; `channels`, `layers`, `dropout`, the share of channels that is left out behind a layer;
        `levels` of topk and parse, `ratio` of topk, `heads` of histograph.
      molecules, tasks: G and T.
      axis_name: of devices over which batch statistics are taken.

    Raises:
      ValueError: an unknown pool, or numbers that do not fit.
    """
    checks.one_of("config.algo.pool", algo.pool, POOLS)
    checks.require(1 <= algo.levels <= algo.layers, "config.algo.levels", f"be 1 to {algo.layers} layers", algo.levels)
    checks.require(0 <= algo.dropout < 1, "config.algo.dropout", "lie in [0, 1)", algo.dropout)
    dim, pool, layers = algo.channels, algo.pool, algo.layers
    sparse = pool in ("topk", "parse")
    pooled_behind = range(layers - algo.levels, layers) if sparse else ()

    def init(key):
        atoms, bonds, pools, head = (prng.stream(key, name) for name in ("atoms", "layers", "pools", "head"))
        keys = jax.random.split(pools, algo.levels)
        weights = {
            "atoms": _vectors(atoms, ATOM_LEVELS, dim),
            "layers": [_Layer.create(one, dim) for one in jax.random.split(bonds, layers)],
            "head": jax.random.normal(head, ((2 if sparse else 1) * dim, tasks)) / dim**0.5,
            "bias": jnp.zeros(tasks),
        }
        if pool == "topk":
            weights["pools"] = [jax.random.normal(one, (dim,)) / dim**0.5 for one in keys]
        if pool == "parse":
            weights["pools"] = [GraphParsing.create(one, dim, dim) for one in keys]
        if pool == "histograph":
            weights["pools"] = Histograph.create(pools, dim, dim, algo.heads)
        return weights, [[(jnp.zeros(d), jnp.ones(d)) for d in (2 * dim, dim)] for _ in range(layers)]

    def shrunk(graph: Graph, weights) -> Graph:
        if pool == "topk":
            return graph_topk(graph, weights, algo.ratio, num_graphs=molecules).graph
        return weights(graph, num_graphs=molecules, rounds=1)[0]

    def one(weights, statistics, pack, key, axes):
        """Logits `[G, T]` of one pack, and the statistics."""
        ends, of = pack.ends.astype(jnp.int32), pack.of.astype(jnp.int32)
        x = _looked_up(weights["atoms"], pack.atoms, ATOM_LEVELS)
        graph = graphs.build(x, *ends.T, node_mask=pack.is_atom, edge_mask=pack.is_bond, graph_ids=of)
        read, history, updated = 0.0, [], []
        for number, (layer, known) in enumerate(zip(weights["layers"], statistics, strict=True)):
            x, new = layer(graph, pack.bonds, known, axes)
            updated.append(new)
            x = x if number == layers - 1 else jax.nn.relu(x)
            if key is not None and algo.dropout:
                kept = jax.random.bernoulli(prng.per_step(key, number), 1 - algo.dropout, x.shape)
                x = jnp.where(kept, x / (1 - algo.dropout), 0)
            graph = graph._replace(x=jnp.where(graph.node_mask[:, None], x, 0))
            history.append(graph.x)
            if number in pooled_behind:
                graph = shrunk(graph, weights["pools"][number - pooled_behind[0]])
                read = read + graphs.readout(graph, molecules)
        if pool in ("mean", "sum"):
            read = jax.ops.segment_sum(graph.x, graph.graph_ids, molecules)
            count = jnp.maximum(graphs.count_nodes(graph, molecules), 1)
            read = read / count[:, None].astype(read.dtype) if pool == "mean" else read
        if pool == "histograph":
            rows, mask, ids = jnp.stack(history, axis=1)[None], graph.node_mask[None], graph.graph_ids[None]
            read = histograph(rows, mask, weights["pools"], graph_ids=ids, num_graphs=molecules)[0][0]
        return read @ weights["head"] + weights["bias"][None], updated

    def apply(weights, statistics, packs: Packs, keys):
        if keys is None:
            return jax.vmap(lambda pack: one(weights, statistics, pack, None, None)[0])(packs), statistics
        axes = (_PACKS,) if axis_name is None else (_PACKS, axis_name)
        each = jax.vmap(one, in_axes=(None, None, 0, 0, None), out_axes=(0, None), axis_name=_PACKS)
        return each(weights, statistics, packs, keys, axes)

    return Model(init, apply)
