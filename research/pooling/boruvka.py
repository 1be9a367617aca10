"""Boruvka's rounds on static arrays: every node takes its best edge, and what hangs together becomes one node.

Edges are ranked once by a strict order (score, then smaller ends), so that two nodes that take the same edge are the
only cycles of the map from nodes to the other end of their best edge, and pointers reach a root by doubling. A round at
least halves the nodes that have an edge (`graph_bounds.max_clusters`), all rounds together are at most log2 n
(`graph_bounds.max_rounds`), and the edges taken over all rounds are the maximum spanning forest.
Source: Boruvka 1926, as told in `nesetril:01`; that graph parsing is this, derived.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Bool, Float, Int, Key

__all__ = ["Forest", "Ranks", "perturbed_forest", "rank_edges", "round_of", "spanning_forest"]


class Ranks(NamedTuple):
    """A strict order of edges, best first."""

    rank: Int[Array, "E"]  # place of each edge
    order: Int[Array, "E"]  # edge at each place


class Forest(NamedTuple):
    """The maximum spanning forest, and the hierarchy of clusters that finds it.

    Cluster c of a level stands for the nodes with label c; labels are nodes, the smaller end of the edge that both ends
    of a cluster's last 2-cycle took. Levels after `num_rounds` repeat the last one.
    """

    in_forest: Bool[Array, "E"]
    taken_in: Int[Array, "E"]  # round in which an edge was first taken, from 0; `levels` for those that never were
    labels: Int[Array, "levels M"]  # after each round
    num_clusters: Int[Array, "levels"]  # after each round, nodes of `node_mask` only
    num_rounds: Int[Array, ""]  # rounds in which anything merged


def rank_edges(
    scores: Float[Array, "E"], senders: Int[Array, "E"], receivers: Int[Array, "E"], edge_mask: Bool[Array, "E"]
) -> Ranks:
    """Edges by higher score, then smaller lower end, then smaller higher end, then place; masked ones last."""
    low, high = jnp.minimum(senders, receivers), jnp.maximum(senders, receivers)
    order = jnp.lexsort((high, low, -jax.lax.stop_gradient(scores), ~edge_mask)).astype(jnp.int32)
    return Ranks(jnp.zeros_like(order).at[order].set(jnp.arange(order.size, dtype=jnp.int32)), order)


def round_of(
    ranks: Ranks, senders: Int[Array, "E"], receivers: Int[Array, "E"], live: Bool[Array, "E"], num_nodes: int
) -> tuple[Int[Array, "M"], Bool[Array, "E"]]:
    """One round: the cluster of each node, named by one of its nodes, and the edges that were taken.

    Args:
      ranks: of `rank_edges`.
      senders, receivers: `[E]` ends.
      live: edges that take part; none may be a loop.
    """
    worst = ranks.rank.size
    rank = jnp.where(live, ranks.rank, worst)
    best = jnp.full(num_nodes, worst, jnp.int32).at[senders].min(rank).at[receivers].min(rank)
    node = jnp.arange(num_nodes, dtype=jnp.int32)
    if worst == 0:
        return node, jnp.zeros(0, bool)
    has = best < worst
    edge = ranks.order[jnp.minimum(best, worst - 1)]
    pointer = jnp.where(has, senders[edge] + receivers[edge] - node, node).astype(jnp.int32)  # the other end
    root = jnp.where(pointer[pointer] == node, jnp.minimum(node, pointer), pointer)
    # Every pass doubles the reach: at most log2 of the nodes, and as many as the deepest tree needs.
    root = jax.lax.while_loop(lambda r: jnp.any(r[r] != r), lambda r: r[r], root)
    return root, jnp.zeros(worst, bool).at[jnp.where(has, edge, worst)].set(True, mode="drop")


def spanning_forest(
    scores: Float[Array, "E"], senders: Int[Array, "E"], receivers: Int[Array, "E"], *, num_nodes: int,
    edge_mask: Bool[Array, "E"] | None = None, node_mask: Bool[Array, "M"] | None = None, levels: int | None = None,
) -> Forest:  # fmt: skip
    """The maximum spanning forest of the scores and all levels of its hierarchy, in one scan.

    Scores stay those of the edges: between two clusters the best edge counts. The ranks are sorted once; a round costs
    two scatters over the edges, and rounds after the last merge cost nothing (outside of `vmap`).

    Args:
      scores: `[E]`; a loop never counts, of several edges between two nodes the best.
      senders, receivers: `[E]` ends, in [0, num_nodes); an undirected edge once or twice.
      num_nodes: M, static.
      edge_mask, node_mask: True takes part; None for all. An edge counts where both of its ends do.
      levels: static; None for floor(log2 M), which always suffices.

    Raises:
      ValueError: shapes do not fit.

    Source: derived; agreement with other algorithms for the forest is a test.
    """
    validate.at_least("num_nodes", num_nodes, 1)
    validate.same_length(scores=scores, senders=senders, receivers=receivers)
    levels = max(1, num_nodes.bit_length() - 1) if levels is None else levels
    validate.at_least("levels", levels, 1)
    node_mask = jnp.ones(num_nodes, bool) if node_mask is None else node_mask
    live = (senders != receivers) & node_mask[senders] & node_mask[receivers]
    live = live if edge_mask is None else live & edge_mask
    ranks = rank_edges(scores, senders, receivers, live)
    node = jnp.arange(num_nodes, dtype=jnp.int32)

    def merge(carry):
        one, other, labels, taken, level = carry
        root, chosen = round_of(ranks, one, other, live & (one != other), num_nodes)
        taken = jnp.where(chosen, jnp.minimum(taken, level), taken)
        return root[one], root[other], root[labels], taken, level + 1

    def level(carry, _):
        one, other, *_ = carry
        going = jnp.any(live & (one != other))
        carry = jax.lax.cond(going, merge, lambda same: same, carry)
        labels = carry[2]
        return carry, (labels, jnp.sum((labels == node) & node_mask, dtype=jnp.int32), going)

    ends = (jnp.asarray(end, jnp.int32) for end in (senders, receivers))
    start = (*ends, node, jnp.full(ranks.rank.shape, levels, jnp.int32), jnp.int32(0))
    (*_, taken, _), (labels, clusters, going) = jax.lax.scan(level, start, length=levels)
    return Forest(taken < levels, taken, labels, clusters, jnp.sum(going, dtype=jnp.int32))


def perturbed_forest(
    key: Key, scores: Float[Array, "E"], senders: Int[Array, "E"], receivers: Int[Array, "E"], *, num_nodes: int,
    scale: float = 1.0, samples: int = 16, edge_mask: Bool[Array, "E"] | None = None,
    node_mask: Bool[Array, "M"] | None = None, batch_size: int | None = None,
) -> Float[Array, "E"]:  # fmt: skip
    """How often perturbed scores put each edge into the maximum spanning forest; differentiable in the scores.

    P_e = E[e in forest(s + scale Z)], Z standard normal, over `samples` draws. The forest is constant almost
    everywhere; its perturbed version is smooth, and d <c, P> / d s = E[<c, forest(s + scale Z) - forest(s)> Z] / scale,
    where the unperturbed forest changes no expectation and takes off variance.

    Args:
      key: of the draws; the gradient is estimated from the same ones.
      scale: > 0, in units of the scores.
      samples: >= 1, static.
      batch_size: samples at once, to bound memory; None for all.

    Raises:
      ValueError: scale or samples out of range.

    Source: `berthet:20` for perturbed maximisers and their gradient; the baseline, derived.
    """
    validate.positive("scale", scale)
    validate.at_least("samples", samples, 1)
    mask = jnp.ones(scores.shape, bool) if edge_mask is None else edge_mask
    if node_mask is not None:
        mask = mask & node_mask[senders] & node_mask[receivers]

    def forest(scores):
        found = spanning_forest(scores, senders, receivers, num_nodes=num_nodes, edge_mask=mask, levels=None)
        return found.in_forest.astype(scores.dtype)

    noise = jnp.where(mask[None], jax.random.normal(key, (samples, *scores.shape), scores.dtype), 0)

    @jax.custom_vjp
    def share(scores):
        return forward(scores)[0]

    def forward(scores):
        drawn = jax.lax.map(lambda z: forest(scores + scale * z), noise, batch_size=batch_size or samples)
        return jnp.mean(drawn, axis=0), (drawn, forest(scores))

    def backward(kept, cotangent):
        drawn, plain = kept
        gain = (drawn - plain[None]) @ cotangent
        return (gain @ noise / (samples * scale),)

    share.defvjp(forward, backward)
    return share(jnp.where(mask, scores, 0))
