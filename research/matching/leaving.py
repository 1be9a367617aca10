"""Who leaves at a time: maps from the law of the free set before it to the law after it.

A law is a vector over the `S = 2^n` node sets, bit i for node i. Every map is linear in the law and differentiable in
the chances it is given.
Source: the enumeration is our own; `exact_law` says what it is for.
"""

import jax
import jax.numpy as jnp

from research.matching import pivotal

__all__ = [
    "bins", "by_leaving_sets", "closed_form", "exclusive", "independent", "match_and_discard", "pivotal_leaving",
]  # fmt: skip

#: Free sets whose leaving sets are tabulated together.
_SETS_AT_ONCE = 256


def _flow(moving, bit):
    """The change of the law when `moving [S]`, zero where node `bit` (may be traced) is not free, loses it."""
    return moving[jnp.arange(moving.shape[0]) ^ (1 << bit)] - moving


def exclusive(mass, leaves):
    """At most one node leaves, i with probability `leaves[s, i]`, 0 unless i is in s."""
    return mass + sum(_flow(mass * leaves[:, i], i) for i in range(leaves.shape[1]))


def _holding(num_sets, bit):
    return (jnp.arange(num_sets) >> bit) & 1 == 1


def independent(mass, leaves):
    """Free node i leaves with probability `leaves[i]`."""
    for i in range(leaves.shape[0]):
        mass = mass + _flow(jnp.where(_holding(mass.shape[0], i), mass * leaves[i], 0), i)
    return mass


def bins(mass, leaves, label):
    """Free node i leaves with probability `leaves[i]`, at most one of each bin."""
    num_nodes = leaves.shape[0]

    def one_bin(mass, bin_label):
        chances = jnp.where(label == bin_label, leaves, 0)
        moved = [_flow(jnp.where(_holding(mass.shape[0], i), mass * chances[i], 0), i) for i in range(num_nodes)]
        return mass + sum(moved), None

    return jax.lax.scan(one_bin, mass, jnp.arange(num_nodes))[0]


def closed_form(mass, matched, discards, order):
    """A node is matched or none, and free nodes are discarded independently, with chances `[S, n]` given the set.

    Chances of a node depend on itself and on heavier nodes. So nodes leave from the lightest on: whoever is still to be
    decided sees the part of the free set that matters intact. `mass` ignores matches; `extra` is what they change.
    """

    def decide(carry, node):
        mass, extra = carry
        discard = discards[:, node]
        forced = mass * matched[:, node] * (1 - discard)
        mass = mass + _flow(mass * discard, node)
        extra = extra + _flow(extra * discard, node) + _flow(forced, node)
        return (mass, extra), None

    (mass, extra), _ = jax.lax.scan(decide, (mass, jnp.zeros_like(mass)), order[::-1])
    return mass + extra


def by_leaving_sets(mass, inputs, leaving):
    """The new law, where `leaving` gives the law `[S]` of the leaving set from the entry of `inputs` of a free set."""
    num_sets = mass.shape[0]
    indices = jnp.arange(num_sets)
    size = min(_SETS_AT_ONCE, num_sets)

    def some(chunk):
        free, weight, entries = chunk
        laws = jax.vmap(leaving)(entries)
        remaining = jnp.take_along_axis(laws, indices[None] ^ free[:, None], axis=1)
        return jnp.dot(weight, remaining, precision=jax.lax.Precision.HIGHEST)

    chunks = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), (indices, mass, inputs))
    return jnp.sum(jax.lax.map(some, chunks), axis=0)


def _leave(law, node, chance):
    """`law` of the leaving set with `node` added with probability `chance`; no set of it holds `node` yet."""
    return law * (1 - chance) + chance * law[jnp.arange(law.shape[0]) ^ (1 << node)]


def match_and_discard(chances):
    """Law of the leaving set: independent discards `chances[1]`, and at most one match, `chances[0]`; `[2, n]`."""
    matched, discards = chances
    num_nodes = matched.shape[0]
    nobody = jnp.zeros(1 << num_nodes, matched.dtype).at[0].set(1)
    law = nobody
    for i in range(num_nodes):
        law = _leave(law, i, discards[i])
    out = law * (1 - jnp.sum(matched))
    for i in range(num_nodes):
        holds = _holding(law.shape[0], i)
        with_node = jnp.where(holds, law + law[jnp.arange(law.shape[0]) ^ (1 << i)], 0)
        out = out + matched[i] * with_node
    return out


def pivotal_leaving(v, order, p):
    """Law of the leaving set: whoever pivotal sampling of `v [n]`, in `order`, selects leaves with probability p.

    Carries the law over (leaving set, pivot); the share of the pivot is the same in every branch.
    """
    num_nodes = v.shape[0]
    near = pivotal.decided_tolerance(v.dtype)
    nobody = num_nodes

    def select_pivot(law):
        """The pivots selected: one law of the leaving set."""
        return sum(_leave(law[:, a], a, p) for a in range(num_nodes)) + law[:, nobody]

    def as_pivot(law, node):
        return law[:, None] * (jnp.arange(num_nodes + 1) == node)[None]

    def duel(carry, node):
        law, share = carry
        value = v[node]
        total = share + value
        selected = _leave(law, node, p)
        alone = as_pivot(jnp.sum(law, axis=1), node)
        keep = share / jnp.where(total > 0, total, 1)
        below = keep * law + as_pivot((1 - keep) * jnp.sum(law, axis=1), node)
        first = (1 - value) / jnp.where(total < 2, 2 - total, 1)
        above = as_pivot(first * select_pivot(law), node) + (1 - first) * selected
        full, empty = (total <= 1) & (total >= 1 - near), (total > 1) & (total - 1 <= near)
        below = jnp.where(full, as_pivot(select_pivot(below), nobody), below)
        above = jnp.where(empty, as_pivot(jnp.sum(above, axis=1), nobody), above)
        new = jnp.where(share <= 0, alone, jnp.where(total > 1, above, below))
        new_share = jnp.where(share <= 0, value, jnp.where(full | empty, 0, jnp.where(total > 1, total - 1, total)))
        new = jnp.where(value >= 1, selected, jnp.where(value <= 0, law, new))
        return (new, jnp.where((value >= 1) | (value <= 0), share, new_share)), None

    start = jnp.zeros((1 << num_nodes, num_nodes + 1), v.dtype).at[0, nobody].set(1)
    (law, share), _ = jax.lax.scan(duel, (start, jnp.zeros((), v.dtype)), order)
    return share * select_pivot(law) + (1 - share) * jnp.sum(law, axis=1)
