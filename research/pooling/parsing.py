"""Graph parsing: clusters grow along each node's best edge, and are pooled; repeated until nothing merges.

A learned score of edges, s_e = sigmoid(MLP(h_u * h_v)); every node that has an edge points along its best one, and
clusters are what hangs together. That is exactly one round of `research.pooling.boruvka` on the scores, with the same
order among equals, so that shapes are static and clusters connected. Guarantees: `graph_bounds.max_clusters` for a
round, `graph_bounds.max_rounds` for all.
Source: `song:24`, with the released code; the equivalence with Boruvka's round, derived.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling import boruvka, graphs
from research.pooling.graphs import Graph
from research.pooling.operator import Operator

__all__ = [
    "GraphParsing",
    "Parsing",
    "cluster_sum",
    "example",
    "graph_parse",
    "parse",
    "pool",
    "simple_edges",
    "unpool",
]


class Parsing(NamedTuple):
    """The clusters of one round, numbered by the smallest pointer root; they are the nodes of the coarse graph."""

    labels: Int[Array, "M"]  # cluster of each node; 0 in padding
    cluster_mask: Bool[Array, "M"]  # the first so many rows are clusters
    mean_score: Float[Array, "M"]  # over the edges inside of a cluster; 1 where there are none
    edge_count: Float[Array, "M"]  # edges inside of a cluster, each counted in both directions; 1 where there are none
    taken: Bool[Array, "E"]  # best edge of one of its ends
    rank: Int[Array, "E"]  # place of each edge in the order of the round, best first


def simple_edges(graph: Graph, duplicates: str = "raise") -> Graph:
    """The graph without loops and without second copies of an undirected edge.

    Args:
      graph: edges in any direction.
      duplicates: "raise" for an error on the first such edge (traced values are let by), "drop" for masking it.

    Raises:
      ValueError: an unknown word; a loop or a duplicate, if it is to be raised.
    """
    validate.one_of("duplicates", duplicates, ("raise", "drop"))
    low, high = jnp.minimum(graph.senders, graph.receivers), jnp.maximum(graph.senders, graph.receivers)
    order = jnp.lexsort((high, low, ~graph.edge_mask))
    same = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    repeated = jnp.zeros_like(graph.edge_mask).at[order[1:]].set(same) & graph.edge_mask
    unwanted = repeated | (graph.edge_mask & (low == high))
    if duplicates == "raise":
        if validate.is_concrete(unwanted):
            found = np.flatnonzero(unwanted)
            allowed = "hold every undirected edge once and no loop (or be given duplicates='drop')"
            value = f"edge {int(low[found[0]]), int(high[found[0]])}" if found.size else ""
            validate.require(found.size == 0, "senders, receivers", allowed, value)
        return graph
    kept = graph.edge_mask & ~unwanted
    return graph._replace(
        senders=jnp.where(kept, graph.senders, 0), receivers=jnp.where(kept, graph.receivers, 0), edge_mask=kept
    )


def parse(graph: Graph, scores: Float[Array, "E"]) -> Parsing:
    """The clusters of one round; nodes without an edge stay by themselves. Gradients reach `mean_score` alone.

    Args:
      graph: undirected edges, each once (`simple_edges`).
      scores: `[E]`, higher is better.

    Raises:
      ValueError: as many scores as edges are wanted.
    """
    validate.shape("scores", scores, graph.senders.shape)
    num_nodes = graph.x.shape[0]
    scores = jnp.where(graph.edge_mask, scores, 0)
    ranks = boruvka.rank_edges(scores, graph.senders, graph.receivers, graph.edge_mask)
    live = graph.edge_mask & (graph.senders != graph.receivers)
    root, taken = boruvka.round_of(ranks, graph.senders, graph.receivers, live, num_nodes)
    is_root = (root == jnp.arange(num_nodes)) & graph.node_mask
    labels = jnp.where(graph.node_mask, (jnp.cumsum(is_root, dtype=jnp.int32) - 1)[root], 0)
    inside = live & (labels[graph.senders] == labels[graph.receivers])
    home = labels[graph.senders]
    count = jax.ops.segment_sum(inside.astype(scores.dtype), home, num_nodes)
    total = jax.ops.segment_sum(jnp.where(inside, scores, 0), home, num_nodes)
    mean_score = jnp.where(count > 0, total / jnp.maximum(count, 1), 1)
    cluster_mask = jnp.arange(num_nodes) < jnp.sum(is_root)
    return Parsing(labels, cluster_mask, mean_score, jnp.where(count > 0, 2 * count, 1), taken, ranks.rank)


def pool(graph: Graph, parsing: Parsing, features: Float[Array, "M D2"] | None = None) -> Graph:
    """The coarse graph, h_c = f(sum_u h_u) * mean score * directed edges inside.

    Args:
      graph, parsing: of the round.
      features: `[M, D2]` f of the summed features `cluster_sum(graph, parsing)`; None for the sums themselves.

    Returns:
      the coarse graph; its edge between two clusters stands in the place of the best edge between them, so that `[E]`
      scores of the round are scores of the coarse graph too.
    """
    num_nodes = graph.x.shape[0]
    features = cluster_sum(graph, parsing) if features is None else features
    factor = (parsing.mean_score * parsing.edge_count).astype(features.dtype)
    x = jnp.where(parsing.cluster_mask[:, None], features * factor[:, None], 0)
    one, other = parsing.labels[graph.senders], parsing.labels[graph.receivers]
    live = graph.edge_mask & (one != other)
    low, high = (jnp.where(live, f(one, other), 0) for f in (jnp.minimum, jnp.maximum))
    # Of the edges between two clusters the best stays, the first in the order of the ranks.
    order = jnp.lexsort((parsing.rank, high, low, ~live))
    same = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    live &= ~jnp.zeros_like(live).at[order[1:]].set(same)
    ids = jnp.zeros(num_nodes, jnp.int32).at[parsing.labels].max(jnp.where(graph.node_mask, graph.graph_ids, 0))
    return Graph(x, jnp.where(live, low, 0), jnp.where(live, high, 0), parsing.cluster_mask, live, ids)


def cluster_sum(graph: Graph, parsing: Parsing) -> Float[Array, "M D"]:
    """Sum of the features of each cluster."""
    return jax.ops.segment_sum(graph.x, parsing.labels, graph.x.shape[0])


def unpool(coarse: Float[Array, "M D"], parsing: Parsing, skip: Float[Array, "M D"], node_mask: Bool[Array, "M"]):
    """Features of a round's nodes from those of its clusters: h_c over the directed edges inside, plus the skip.

    Args:
      coarse: `[M, D]` features of the clusters.
      skip: `[M, D]` features that the nodes had before the round.
      node_mask: `[M]` of the round's graph.
    """
    shared = coarse / parsing.edge_count[:, None].astype(coarse.dtype)
    return jnp.where(node_mask[:, None], shared[parsing.labels] + skip, 0)


class GraphParsing(eqx.Module):
    """Learned parts of graph parsing: the scorer of edges, and f of the summed features of a cluster."""

    score_in: Float[Array, "D H"]
    score_bias: Float[Array, "H"]
    score_out: Float[Array, "H"]
    deep_in: Float[Array, "D H"] | None
    deep_bias: Float[Array, "H"] | None
    deep_out: Float[Array, "H D"] | None

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int = 32, deep_set: bool = True) -> "GraphParsing":
        """Weights of variance 1 over inputs; without `deep_set`, f is the identity."""
        keys = jax.random.split(key, 4)

        def draw(key, rows, *columns):
            return jax.random.normal(key, (rows, *columns)) / rows**0.5

        deep = (draw(keys[2], dim, hidden), jnp.zeros(hidden), draw(keys[3], hidden, dim)) if deep_set else (None,) * 3
        return cls(draw(keys[0], dim, hidden), jnp.zeros(hidden), draw(keys[1], hidden), *deep)

    def scores(self, graph: Graph) -> Float[Array, "E"]:
        """Scores of edges in (0, 1), alike in both directions."""
        product = graph.x[graph.senders] * graph.x[graph.receivers]
        hidden = jax.nn.relu(product @ self.score_in + self.score_bias[None])
        return jax.nn.sigmoid(hidden @ self.score_out)

    def features(self, summed: Float[Array, "M D"]) -> Float[Array, "M D"]:
        """f, per cluster."""
        if self.deep_in is None:
            return summed
        return jax.nn.relu(summed @ self.deep_in + self.deep_bias[None]) @ self.deep_out

    def __call__(self, graph: Graph, *, num_graphs: int, rounds: int | None = None) -> tuple[Graph, Parsing]:
        return graph_parse(graph, self, num_graphs=num_graphs, rounds=rounds)


def graph_parse(
    graph: Graph, params: GraphParsing, *, num_graphs: int, rounds: int | None = None
) -> tuple[Graph, Parsing]:
    """Parses and pools until no graph has an edge left; the scores of a round are those of its own features.

    Args:
      graph: undirected edges, each once (`simple_edges`).
      params: scorer and f.
      num_graphs: G, static.
      rounds: static; None for floor(log2 M), after which every connected graph is one node.

    Returns:
      the last graph, and the clusters of all rounds, `[rounds, ...]`. A graph that has no edge keeps its features.

    Source: `song:24`.
    """
    graphs.check_num_graphs(num_graphs, graph)
    rounds = max(1, graph.x.shape[0].bit_length() - 1) if rounds is None else rounds
    validate.at_least("rounds", rounds, 1)

    def one(graph, _):
        scores = params.scores(graph)
        parsing = parse(graph, scores)
        live = graph.edge_mask.astype(jnp.int32)
        going = jax.ops.segment_max(live, graph.graph_ids[graph.senders], num_graphs) > 0
        summed = cluster_sum(graph, parsing)
        plain = pool(graph, parsing, summed)
        deep = params.features(summed) * (parsing.mean_score * parsing.edge_count).astype(summed.dtype)[:, None]
        x = jnp.where(going[plain.graph_ids][:, None], deep, plain.x)
        return plain._replace(x=jnp.where(plain.node_mask[:, None], x, 0)), parsing

    return jax.lax.scan(one, graph, length=rounds)


def example(key: Key) -> dict[str, Operator]:
    """Two graphs parsed to the end, and one round there and back."""
    first, second = jax.random.split(key)
    inputs = {
        "x": jax.random.normal(first, (2, 6, 3)),
        "senders": jnp.array([[0, 0, 1, 2, 3, 4], [0, 1, 2, 1, 5, 4]]),
        "receivers": jnp.array([[1, 2, 2, 3, 4, 5], [1, 2, 3, 3, 4, 0]]),
    }
    mask = jnp.arange(6)[None] < jnp.array([[6], [4]])
    params = GraphParsing.create(second, 3, 4)

    def one(params, inputs, mask, rounds):
        graph = graphs.build(inputs["x"], inputs["senders"], inputs["receivers"], node_mask=mask)
        return graph, params(graph, num_graphs=1, rounds=rounds)

    def parsed(params, inputs, mask):
        return jax.vmap(lambda inputs, mask: one(params, inputs, mask, None)[1][0].x)(inputs, mask)

    def there_and_back(params, inputs, mask):
        def single(inputs, mask):
            graph, (coarse, parsings) = one(params, inputs, mask, 1)
            return unpool(coarse.x, jax.tree.map(lambda leaf: leaf[0], parsings), graph.x, mask)

        return jax.vmap(single)(inputs, mask)

    return {
        "graph_parse": Operator(
            parsed, params, inputs, "h_c = f(sum h_u) mean(s_e) #edges, Boruvka rounds of s = sigmoid(MLP(h_u * h_v))",
            "song:24", figure="pooling/fig_parsing", mask=mask,
        ),
        "graph_unpool": Operator(
            there_and_back, params, inputs, "h_u = h_c / #edges + skip", "song:24", mask=mask
        ),
    }  # fmt: skip
