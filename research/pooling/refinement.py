"""Weisfeiler-Leman tests with marked nodes (k,l-WL), as hashes on static arrays.

l nodes are marked, colours refined by k-WL until they are stable, and the multiset of the graph's colours is hashed;
the fingerprint is the multiset of those hashes over all l-tuples. Two graphs with different fingerprints are not
isomorphic. Colours are 64 bits, sums of mixed colours stand for multisets: two of n different multisets collide with
probability about n^2 / 2^65, over the salt.
k = 1 is colour refinement; k = 2 refines pairs of nodes in the folklore form, as strong as oblivious 3-WL.
Guarantees: `graph_bounds.PAIRS`, `graph_bounds.missed`. Source: `zhou-relational:23`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Bool, Int, UInt
from research.pooling import relational

__all__ = ["Ladder", "ladder", "tuple_colours"]


def _scramble(word: Array) -> Array:
    """A permutation of 32-bit words; every bit of the input touches every bit of the output (Murmur3's last step)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def _mix(one: UInt[Array, "..."], other: UInt[Array, "..."]) -> UInt[Array, "... 2"]:
    """A colour, each of whose words depends on both of the given ones."""
    first = _scramble(one ^ (other * jnp.uint32(0x9E3779B1)))
    return jnp.stack([first, _scramble(other + first * jnp.uint32(0x7F4A7C15))], axis=-1)


def _pair(one: UInt[Array, "... 2"], other: UInt[Array, "... 2"]) -> UInt[Array, "... 2"]:
    """The colour of an ordered pair of colours or of sums of colours."""
    joined = one * jnp.uint32(0xCC9E2D51) + other
    return _mix(joined[..., 0], joined[..., 1])


def _named(number: Array, salt: Array) -> UInt[Array, "... 2"]:
    """The colour called by a number."""
    number = number.astype(jnp.uint32)
    # Two zeros are mixed to two zeros: the constants keep small numbers away from them, whatever the salt.
    return _mix((number + jnp.uint32(0x243F6A88)) ^ salt, number * jnp.uint32(0x51ED270B) + jnp.uint32(0x13198A2E))


def _marks(nodes: Int[Array, "l"], num_nodes: int) -> Array:
    """Which marks each node has, as bits of a number."""
    hit = jnp.arange(num_nodes)[:, None] == nodes[None]
    return jnp.sum(jnp.where(hit, 1 << jnp.arange(nodes.shape[0])[None], 0), axis=1)


def _refined_nodes(adjacency, node_mask, start, rounds: int):
    def refine(_, colour):
        heard = jnp.where(adjacency[..., None], colour[None], 0).sum(axis=1, dtype=jnp.uint32)
        return _pair(colour, heard)

    colour = jax.lax.fori_loop(0, rounds, refine, start)
    return jnp.where(node_mask[:, None], colour, 0).sum(axis=0, dtype=jnp.uint32)


def _refined_pairs(adjacency, node_mask, start, salt, rounds: int):
    num_nodes = adjacency.shape[0]
    kind = _named(jnp.eye(num_nodes, dtype=jnp.uint32) * 2 + adjacency + 7, salt)
    colour = _pair(_pair(start[:, None], start[None]), kind)

    def refine(_, colour):
        through = _pair(colour[:, None], jnp.swapaxes(colour, 0, 1)[None])  # [u, v, w]: (u, w) then (w, v)
        heard = jnp.where(node_mask[None, None, :, None], through, 0).sum(axis=2, dtype=jnp.uint32)
        return _pair(colour, heard)

    colour = jax.lax.fori_loop(0, rounds, refine, colour)
    both = (node_mask[:, None] & node_mask[None])[..., None]
    return jnp.where(both, colour, 0).sum(axis=(0, 1), dtype=jnp.uint32)


class Ladder(NamedTuple):
    """The 1,l-WL or 2,l-WL fingerprints of one graph for l = 0, ..., most, and what they are made of."""

    prints: UInt[Array, "most+1 2"]
    colours: UInt[Array, "T 2"]  # of the tuples of `relational.tuples_up_to`
    valid: Bool[Array, "T"]  # whether a tuple holds nodes only


def tuple_colours(
    adjacency: Bool[Array, "N N"], node_mask: Bool[Array, "N"], tuples: Int[Array, "T l"], salt=0, *, k: int = 1,
    rounds: int | None = None, batch_size: int | None = None,
) -> UInt[Array, "T 2"]:  # fmt: skip
    """The colour of the graph with each tuple marked, whatever the order of its nodes.

    Args:
      adjacency: symmetric, without loops; entries of padding are ignored.
      node_mask: True for a node.
      tuples: of nodes, as `relational` makes them; -1 marks nothing.
      salt: unsigned integer; other salts give other, equally good, hashes.
      k: 1 or 2.
      rounds: static; None for N (k = 1) or N ceil(log2 N) (k = 2), after which nothing changes.
      batch_size: tuples at once, to bound memory; None for all.

    Raises:
      ValueError: k other than 1 or 2.
    """
    validate.one_of("k", k, (1, 2))
    num_nodes = adjacency.shape[0]
    bits = max(1, (num_nodes - 1).bit_length())
    rounds = (num_nodes if k == 1 else num_nodes * bits) if rounds is None else rounds
    adjacency = adjacency & node_mask[:, None] & node_mask[None]
    salt = jnp.asarray(salt, jnp.uint32)

    def one(nodes):
        start = _named(_marks(nodes, num_nodes), salt)
        if k == 1:
            return _refined_nodes(adjacency, node_mask, start, rounds)
        return _refined_pairs(adjacency, node_mask, start, salt, rounds)

    return relational.over(one, tuples, batch_size)


@functools.partial(jax.jit, static_argnames=("most", "k", "rounds", "batch_size"))
def ladder(
    adjacency: Bool[Array, "N N"], node_mask: Bool[Array, "N"], most: int, salt=0, *, k: int = 1,
    rounds: int | None = None, batch_size: int | None = None,
) -> Ladder:  # fmt: skip
    """Fingerprints with 0, 1, ..., `most` marks: the same for isomorphic graphs, whatever their order and padding.

    Args: as of `tuple_colours`; `most` is static.

    Raises:
      ValueError: a negative number of marks, k other than 1 or 2.
    """
    validate.require(isinstance(most, int) and most >= 0, "most", "be an integer >= 0", most)
    tuples, level = relational.tuples_up_to(adjacency.shape[0], most)
    colours = tuple_colours(adjacency, node_mask, jnp.asarray(tuples), salt, k=k, rounds=rounds, batch_size=batch_size)
    taken = relational.valid(jnp.asarray(tuples), node_mask)
    counted = jnp.where(taken[:, None], _mix(colours[:, 0], colours[:, 1]), 0)
    # The graph's colour is a sum itself: it is mixed before it is counted, and then a sum is a multiset again.
    return Ladder(jax.ops.segment_sum(counted, jnp.asarray(level), most + 1), colours, taken)
