"""Weisfeiler-Leman tests with marked nodes (k,l-WL), as hashes on static arrays.

l nodes are marked, colours refined by k-WL until they are stable, and the multiset of the graph's colours is hashed;
the fingerprint is the multiset of those hashes over all l-tuples. Two graphs with different fingerprints are not
isomorphic. Colours are 64 bits, sums of mixed colours stand for multisets: two of n different multisets collide with
probability about n^2 / 2^65, over the salt.
k = 1 is colour refinement; k = 2 refines pairs of nodes in the folklore form, as strong as oblivious 3-WL.
Guarantees: `graph_bounds.PAIRS`, `graph_bounds.missed`. Source: `zhou:23`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Int, UInt
from research.pooling import relational

__all__ = ["fingerprint", "fingerprints", "tuple_colours"]


def _scramble(word: Array) -> Array:
    """A permutation of 32-bit words; every bit of the input touches every bit of the output (Murmur3's last step)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def _mix(colour: UInt[Array, "... 2"]) -> UInt[Array, "... 2"]:
    """Another colour, each of whose words depends on both."""
    one, other = colour[..., 0], colour[..., 1]
    first = _scramble(one ^ _scramble(other + jnp.uint32(0x9E3779B9)))
    second = _scramble(other ^ _scramble(first + jnp.uint32(0x7F4A7C15)))
    return jnp.stack([first, second], axis=-1)


def _pair(one: UInt[Array, "... 2"], other: UInt[Array, "... 2"]) -> UInt[Array, "... 2"]:
    """The colour of an ordered pair."""
    return _mix(_mix(one) + other * jnp.uint32(0x9E3779B1))


def _named(number: Array, salt: Array) -> UInt[Array, "... 2"]:
    """The colour called by a number."""
    number = number.astype(jnp.uint32)
    return _mix(jnp.stack([number ^ salt, jnp.full_like(number, 0x51ED270B)], axis=-1))


def _marks(nodes: Int[Array, "l"], num_nodes: int) -> Array:
    """Which marks each node has, as bits of a number."""
    hit = jnp.arange(num_nodes)[:, None] == nodes[None]
    return jnp.sum(jnp.where(hit, 1 << jnp.arange(nodes.shape[0])[None], 0), axis=1)


def _refined_nodes(adjacency, node_mask, start, rounds: int):
    def refine(_, colour):
        heard = jnp.where(adjacency[..., None], _mix(colour)[None], 0).sum(axis=1, dtype=jnp.uint32)
        return _pair(colour, heard)

    colour = jax.lax.fori_loop(0, rounds, refine, start)
    return jnp.where(node_mask[:, None], _mix(colour), 0).sum(axis=0, dtype=jnp.uint32)


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
    return jnp.where(both, _mix(colour), 0).sum(axis=(0, 1), dtype=jnp.uint32)


@functools.partial(jax.jit, static_argnames=("k", "rounds", "batch_size"))
def tuple_colours(
    adjacency: Bool[Array, "N N"], node_mask: Bool[Array, "N"], tuples: Int[Array, "T l"], salt, *, k: int = 1,
    rounds: int | None = None, batch_size: int | None = None,
) -> UInt[Array, "T 2"]:  # fmt: skip
    """The colour of the graph with each tuple marked, whatever the order of its nodes.

    Args:
      adjacency: symmetric, without loops; entries of padding are ignored.
      node_mask: True for a node.
      tuples: of nodes, such as `relational.all_tuples` or `relational.sample_tuples`; l may be 0.
      salt: unsigned integer; other salts give other, equally good, hashes.
      k: 1 or 2.
      rounds: None for N (k = 1) or N ceil(log2 N) (k = 2), after which nothing changes.
      batch_size: tuples at once, to bound memory; None for all.
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

    return jax.lax.map(one, tuples, batch_size=batch_size or tuples.shape[0])


def fingerprint(
    adjacency: Bool[Array, "N N"], node_mask: Bool[Array, "N"], num_marks: int, salt=0, *, k: int = 1,
    rounds: int | None = None, batch_size: int | None = None,
) -> UInt[Array, "2"]:  # fmt: skip
    """The k,l-WL fingerprint, l = `num_marks`: the same for isomorphic graphs, whatever their padding."""
    validate.require(isinstance(num_marks, int) and num_marks >= 0, "num_marks", "be an integer >= 0", num_marks)
    tuples = jnp.asarray(relational.all_tuples(adjacency.shape[0], num_marks))
    colours = tuple_colours(adjacency, node_mask, tuples, salt, k=k, rounds=rounds, batch_size=batch_size)
    valid = jnp.all(node_mask[tuples], axis=1)[:, None]
    # Without marks there is one tuple; the number of nodes enters through the sum over them.
    return _mix(jnp.where(valid, _mix(colours), 0).sum(axis=0, dtype=jnp.uint32))


def fingerprints(
    adjacency: Bool[Array, "G N N"], node_mask: Bool[Array, "G N"], num_marks: int, salt=0, *, k: int = 1,
    rounds: int | None = None, batch_size: int | None = None, graphs_at_once: int | None = None,
) -> UInt[Array, "G 2"]:  # fmt: skip
    """`fingerprint` of many graphs of one padded size."""
    validate.require(np.ndim(adjacency) == 3, "adjacency", "have shape (G, N, N)", np.shape(adjacency))
    return jax.lax.map(
        lambda graph: fingerprint(*graph, num_marks, salt, k=k, rounds=rounds, batch_size=batch_size),
        (adjacency, node_mask), batch_size=graphs_at_once or adjacency.shape[0],
    )  # fmt: skip
