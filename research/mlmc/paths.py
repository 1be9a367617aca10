"""Nodes of a tree with their variates, where every node has the same number of children: dense arrays, no gathers.

Used by methods whose numbers of children are not random. Draws are those of `words`: a node with a given key has the
same children whatever the method, so that nested Monte Carlo with one child per node sees the paths of the level-0
replicates of random levels with the same seed.
"""

from typing import Any

import jax
import jax.numpy as jnp

from research.core.types import Array, Float, Int, UInt
from research.mlmc import words
from research.mlmc.engine import float_dtype
from research.mlmc.problems import NestedExpectation
from research.mlmc.words import Words

__all__ = ["children", "leaves"]


def _variates(problem, d, drawn, shape):
    count = problem.num_variates[d]
    if not count:
        return jnp.zeros((*shape, 0), float_dtype(problem))
    return words.variates(drawn(count), problem.kinds[d], float_dtype(problem))


def _repeated(tree: Any, count: int) -> Any:
    """Every row of `[N, ...]` leaves `count` times, as `[N * count, ...]`."""

    def repeat(leaf):
        return jnp.broadcast_to(leaf[:, None], (leaf.shape[0], count, *leaf.shape[1:])).reshape(-1, *leaf.shape[1:])

    return jax.tree.map(repeat, tree)


def _placed(keys: Words, states: Any, numbers: Int[Array, " C"]) -> tuple[Words, Any, UInt[Array, " NC"]]:
    size, count = keys[0].shape[0], numbers.shape[0]
    c = jnp.broadcast_to(numbers.astype(jnp.uint32)[None], (size, count)).reshape(-1)
    return _repeated(keys, count), _repeated(states, count), c


def children(
    problem: NestedExpectation, d: int, keys: Words, states: Any, numbers: Int[Array, " C"]
) -> tuple[Words, Any]:
    """Keys `[N C]` and states of the children number `numbers` of every node, which have depth d < D; those of one node
    lie together.
    """
    parents, states, c = _placed(keys, states, numbers)
    own = words.child_keys(parents, c)
    u = _variates(problem, d, lambda count: words.node_words(own, count), c.shape)
    return own, jax.vmap(lambda state, u: problem.transition(d, state, u))(states, u)


def leaves(problem: NestedExpectation, keys: Words, states: Any, numbers: Int[Array, " C"]) -> Float[Array, "NC ..."]:
    """Values `[N C, ...]` of the leaves number `numbers` of every node, which have depth D - 1."""
    depth = problem.depth
    parents, states, c = _placed(keys, states, numbers)
    u = _variates(problem, depth, lambda count: words.leaf_words(parents, c, count), c.shape)
    return jax.vmap(lambda state, u: problem.leaf(problem.transition(depth, state, u)))(states, u)
