"""Top-k graph pooling: keep the share of each graph's nodes that a learned direction scores best.

Scores y = X p / |p|; a graph of n nodes keeps its ceil(ratio n) best, whose features are gated, X' = X tanh(y), and the
edges among them. Shapes are static: the kept nodes of all graphs stand in front, each graph's together and its best
first, and a mask covers what lies behind them. Memory is linear in nodes and edges.
Source: `cangea:18`.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling import graphs
from research.pooling.graphs import Graph
from research.pooling.operator import Operator

__all__ = ["TopK", "TopKPooling", "example", "graph_topk", "num_kept", "topk_readout"]

#: Slack of the ceiling: 0.7 * 10 may come out above 7 by rounding, and must keep 7 nodes.
_SLACK = 1e-9


class TopK(NamedTuple):
    """What is kept of some graphs."""

    graph: Graph  # of the kept nodes
    index: Int[Array, "K"]  # row of the input of every kept node; 0 in padding
    keep: Bool[Array, "M"]  # nodes of the input that are kept
    score: Float[Array, "M"]  # y; 0 in padding


def num_kept(num_nodes, ratio: float) -> np.ndarray:
    """ceil(ratio n), in nodes, for concrete numbers of nodes."""
    return np.ceil(ratio * np.asarray(num_nodes, np.float64) - _SLACK).astype(np.int32)


def graph_topk(
    graph: Graph, projection: Float[Array, "D"], ratio: float, *, num_graphs: int, num_rows: int | None = None
) -> TopK:
    """Keeps the ceil(ratio n) best nodes of every graph.

    Equal scores go to the lower node, so that runs repeat exactly. Gradients reach the projection through the gate of
    the kept nodes alone. A node with a NaN is kept before all others, so that it is seen rather than dropped.

    Args:
      graph: undirected edges either once or as both directed edges; what is kept of them is stored alike.
      projection: `[D]` p; the zero vector scores every node 0.
      ratio: static, in (0, 1].
      num_graphs: G, static.
      num_rows: K, rows of the result, static, at least the kept nodes of all graphs; None for M.

    Raises:
      ValueError: shapes do not fit, ratio not in (0, 1], or rows that cannot hold what is kept.

    Source: `cangea:18`; the order among equals, and ratio 0.8 as their choice, are recalled.
    """
    num_nodes, dim = graph.x.shape
    validate.require(
        isinstance(ratio, (int, float, np.floating)) and 0 < ratio <= 1, "ratio", "be a static number in (0, 1]", ratio
    )
    validate.shape("projection", projection, (dim,))
    graphs.check_num_graphs(num_graphs, graph)
    sizes = graphs.count_nodes(graph, num_graphs)
    wanted = jnp.asarray(num_kept(np.arange(num_nodes + 1), ratio))[sizes]
    num_rows = num_nodes if num_rows is None else num_rows
    validate.at_least("num_rows", num_rows, 1)
    if validate.is_concrete(wanted):
        validate.at_least("num_rows", num_rows, int(wanted.sum()))
    norm = jnp.sqrt(jnp.sum(projection**2) + 1e-24)  # 1e-12 of a length: the zero vector has a gradient too
    score = graph.x @ projection / norm
    # Graph by graph, best first; padding behind all graphs; lexsort is stable, so that equals keep their order.
    place = jnp.where(graph.node_mask, graph.graph_ids, num_graphs)
    fixed = jax.lax.stop_gradient(score)
    order = jnp.lexsort((jnp.where(jnp.isnan(fixed), -jnp.inf, -fixed), place)).astype(jnp.int32)
    first = jnp.cumsum(sizes) - sizes
    sorted_graph = place[order]
    inside = jnp.minimum(sorted_graph, num_graphs - 1)
    kept = (sorted_graph < num_graphs) & (jnp.arange(num_nodes) - first[inside] < wanted[inside])
    row = jnp.where(kept, jnp.cumsum(kept) - 1, num_rows)
    index = jnp.zeros(num_rows, order.dtype).at[row].set(order, mode="drop")
    mask = jnp.arange(num_rows) < jnp.sum(kept)
    keep = jnp.zeros(num_nodes, bool).at[order].set(kept)
    renumbered = jnp.zeros(num_nodes, row.dtype).at[order].set(row)
    edge_mask = graph.edge_mask & keep[graph.senders] & keep[graph.receivers]
    ends = (jnp.where(edge_mask, renumbered[end], 0).astype(jnp.int32) for end in (graph.senders, graph.receivers))
    x = jnp.where(mask[:, None], graph.x[index] * jnp.tanh(score[index])[:, None], 0)
    pooled = Graph(x, *ends, mask, edge_mask, jnp.where(mask, graph.graph_ids[index], 0))
    return TopK(pooled, index, keep, score)


def topk_readout(
    graph: Graph, projections: Float[Array, "levels D"], ratio: float, *, num_graphs: int,
    mix: Callable[[int, Graph], Float[Array, "M D"]] | None = None,
) -> Float[Array, "G 2*D"]:  # fmt: skip
    """The sum over levels of mean and maximum of what each level keeps of the one before.

    Args:
      projections: `[levels, D]`, one direction a level.
      ratio: share that each level keeps, in (0, 1].
      mix: `(level, graph) -> [M, D]` features with which nodes enter a level, such as a graph convolution; None for
        those they have.

    Source: `cangea:18`.
    """
    total = 0.0
    for level, projection in enumerate(projections):
        if mix is not None:
            graph = graph._replace(x=jnp.where(graph.node_mask[:, None], mix(level, graph), 0))
        graph = graph_topk(graph, projection, ratio, num_graphs=num_graphs).graph
        total = total + graphs.readout(graph, num_graphs)
    return total


class TopKPooling(eqx.Module):
    """Top-k pooling and its readout with learned directions, one a level."""

    projections: Float[Array, "levels D"]
    ratio: float = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, dim: int, ratio: float = 0.8, levels: int = 1) -> "TopKPooling":
        """Directions of unit length on average."""
        return cls(jax.random.normal(key, (levels, dim)) / dim**0.5, ratio)

    def __call__(self, graph: Graph, *, num_graphs: int) -> Float[Array, "G 2*D"]:
        return topk_readout(graph, self.projections, self.ratio, num_graphs=num_graphs)


def example(key: Key) -> dict[str, Operator]:
    """The kept nodes of two graphs, and the readout of two levels."""
    first, second = jax.random.split(key)
    x = jax.random.normal(first, (2, 6, 3))
    mask = jnp.arange(6)[None] < jnp.array([[6], [4]])
    senders, receivers = jnp.array([[0, 0, 1, 2, 3, 4], [0, 1, 2, 0, 5, 4]]), jnp.array([[1, 2, 2, 3, 4, 5]] * 2)
    layer = TopKPooling.create(second, 3, 0.5, levels=2)

    def pooled(layer, inputs, mask):
        def one(x, senders, receivers, mask):
            graph = graphs.build(x, senders, receivers, node_mask=mask)
            return graph_topk(graph, layer.projections[0], layer.ratio, num_graphs=1).graph.x

        return jax.vmap(one)(inputs["x"], inputs["senders"], inputs["receivers"], mask)

    def read(layer, x, mask):
        none = jnp.zeros(0, jnp.int32)
        return jax.vmap(lambda x, mask: layer(graphs.build(x, none, none, node_mask=mask), num_graphs=1)[0])(x, mask)

    return {
        "graph_topk": Operator(
            pooled, layer, {"x": x, "senders": senders, "receivers": receivers},
            "X' = X tanh(y) at the ceil(r n) best of y = X p / |p|", "cangea:18", mask=mask,
        ),
        "topk_readout": Operator(
            read, layer, x, "sum over levels of [mean; max] of the kept nodes", "cangea:18", mask=mask,
            invariants=("permutation",),
        ),
    }  # fmt: skip
