"""Graphs of static size: nodes and edges in flat arrays, padding behind masks, any number of graphs side by side.

Shape letters: M nodes and E edges of all graphs together, padding included; G graphs; D channels. A padded entry is
zero in the arrays and False in its mask, and an edge counts only where both of its ends do, so that nothing that stood
in a padded entry can reach an output or a gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Int

__all__ = ["Graph", "build", "check_num_graphs", "count_nodes", "degrees", "readout"]


class Graph(NamedTuple):
    """Graphs as `build` makes them.

    An undirected edge is stored once, in either direction, or as both directed edges: each operator says which of the
    two it expects.
    """

    x: Float[Array, "M D"]
    senders: Int[Array, "E"]
    receivers: Int[Array, "E"]
    node_mask: Bool[Array, "M"]
    edge_mask: Bool[Array, "E"]
    graph_ids: Int[Array, "M"]


def build(
    x: Float[Array, "M D"], senders: Int[Array, "E"], receivers: Int[Array, "E"], *,
    node_mask: Bool[Array, "M"] | None = None, edge_mask: Bool[Array, "E"] | None = None,
    graph_ids: Int[Array, "M"] | None = None,
) -> Graph:  # fmt: skip
    """Checks and masks the arrays of one or several graphs.

    Args:
      x: `[M, D]` node features; held in at least float32, since sums over nodes and products of features leave half
        precision's range.
      senders, receivers: `[E]` ends of the edges, in [0, M).
      node_mask, edge_mask: True takes part; None for all. What stands in other entries is of no consequence.
      graph_ids: `[M]` graph of each node, >= 0; None for a single graph.

    Raises:
      ValueError: shapes or dtypes do not fit, an edge that takes part has an end outside of [0, M) or joins two graphs.
    """
    x, senders, receivers = jnp.asarray(x), jnp.asarray(senders), jnp.asarray(receivers)
    validate.require(x.ndim == 2, "x", "have shape (M, D)", x.shape)
    num_nodes = x.shape[0]
    validate.require(num_nodes > 0, "x", "have at least one row", x.shape)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    _integers("senders", senders, None)
    _integers("receivers", receivers, senders.shape[0])
    node_mask, edge_mask = _mask("node_mask", node_mask, num_nodes), _mask("edge_mask", edge_mask, senders.shape[0])
    graph_ids = jnp.zeros(num_nodes, jnp.int32) if graph_ids is None else jnp.asarray(graph_ids)
    _integers("graph_ids", graph_ids, num_nodes)
    _check_edges(senders, receivers, edge_mask, graph_ids, num_nodes)
    graph_ids = jnp.where(node_mask, graph_ids, 0).astype(jnp.int32)
    one, other = (jnp.where(edge_mask, end, 0).astype(jnp.int32) for end in (senders, receivers))
    edge_mask &= node_mask[one] & node_mask[other]
    one, other = (jnp.where(edge_mask, end, 0) for end in (one, other))
    return Graph(jnp.where(node_mask[:, None], x, 0), one, other, node_mask, edge_mask, graph_ids)


def _integers(name: str, value: Array, length: int | None) -> None:
    validate.shape(name, value, (length,))
    validate.require(jnp.issubdtype(value.dtype, jnp.integer), name, "hold integers", value.dtype)


def _mask(name: str, mask: Array | None, length: int) -> Array:
    if mask is None:
        return jnp.ones(length, bool)
    mask = jnp.asarray(mask)
    validate.shape(name, mask, (length,))
    validate.require(mask.dtype == bool, name, "hold booleans", mask.dtype)
    return mask


def _check_edges(senders, receivers, edge_mask, graph_ids, num_nodes: int) -> None:
    validate.at_least("graph_ids", graph_ids, 0)
    if not validate.is_concrete(senders, receivers, edge_mask):
        return
    live = np.asarray(edge_mask)
    for name, end in (("senders", senders), ("receivers", receivers)):
        validate.in_range(name, np.where(live, np.asarray(end), 0), 0, num_nodes - 1)
    if validate.is_concrete(graph_ids) and len(live):
        ids, index = np.asarray(graph_ids), np.where(live, np.stack([senders, receivers]), 0)
        bad = np.flatnonzero(ids[index[0]] != ids[index[1]])
        edge = f"edge {tuple(index[:, bad[:1]].ravel().tolist())}"
        validate.require(bad.size == 0, "senders, receivers", "join nodes of one graph", edge)


def check_num_graphs(num_graphs: int, graph: Graph) -> None:
    """Raises ValueError unless the number of graphs is a static integer that covers every graph id in use."""
    validate.require(
        isinstance(num_graphs, (int, np.integer)) and num_graphs >= 1, "num_graphs", "be a static integer >= 1",
        num_graphs,
    )  # fmt: skip
    if validate.is_concrete(graph.graph_ids):
        largest = int(np.max(np.asarray(graph.graph_ids)))
        validate.require(largest < num_graphs, "graph_ids", f"be < num_graphs = {num_graphs}", largest)


def count_nodes(graph: Graph, num_graphs: int) -> Int[Array, "G"]:
    """Nodes of each graph."""
    return jax.ops.segment_sum(graph.node_mask.astype(jnp.int32), graph.graph_ids, num_graphs)


def degrees(graph: Graph) -> Int[Array, "M"]:
    """Edges that touch each node; every stored edge counts once for each of its two ends."""
    live, zero = graph.edge_mask.astype(jnp.int32), jnp.zeros(graph.x.shape[0], jnp.int32)
    return zero.at[graph.senders].add(live).at[graph.receivers].add(live)


def readout(graph: Graph, num_graphs: int) -> Float[Array, "G 2*D"]:
    """Mean and maximum over the nodes of each graph, one behind the other; zeros for a graph without nodes.

    Source: `cangea:18`, the readout of one level.
    """
    check_num_graphs(num_graphs, graph)
    count = count_nodes(graph, num_graphs)[:, None]
    mean = jax.ops.segment_sum(graph.x, graph.graph_ids, num_graphs) / jnp.maximum(count, 1).astype(graph.x.dtype)
    low = jnp.where(graph.node_mask[:, None], graph.x, -jnp.inf)
    largest = jnp.where(count > 0, jax.ops.segment_max(low, graph.graph_ids, num_graphs), 0)
    return jnp.concatenate([mean, largest], axis=1)
