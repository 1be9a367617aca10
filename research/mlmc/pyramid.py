"""Means over aligned blocks of siblings, pairwise: one tree of additions whatever the tiles are.

Block i of size 2**(s+1) joins blocks 2i and 2i + 1 of size 2**s. Pairwise means lose about log2 of the number of terms
in rounding errors, where a running sum loses the number itself; and since blocks are aligned (`layout`), the tree of a
node depends on its number of children alone, so that replicates are the same to the bit for every size of tile.

Beside the mean, a block may carry the coupled sum over levels, sum_{n <= N} Delta_n / P(N >= n): Delta_n of the first
2**(b+n) children ("coupled"), or averaged over all blocks of that size ("block"). Delta_0 is the link itself.
Source: `rhee:15` for the coupled sum; averaging over blocks uses the same children and is a conditional expectation.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float, Int
from research.mlmc.layout import MAX_EXPONENT

__all__ = ["Block", "Rules", "Stack", "base", "climb", "concatenate", "empty_stack", "join", "push", "row"]


class Block(NamedTuple):
    mean: Float[Array, "M ..."]  # of the values of the children
    coupled: Float[Array, " M"] | None  # the sum above; None for the single term
    leaves: Int[Array, " M"] | None  # below the block; None where nobody asks


class Rules(NamedTuple):
    """How two blocks join; functions of a batch of states."""

    link: Any  # (states, z) -> value
    delta: Any  # (states, a, b) -> value
    logarithms: bool  # whether values are logarithms, averaged as such
    estimator: str
    base: int  # b
    inverse_tail: np.ndarray  # 1 / P(N >= n)


class Stack(NamedTuple):
    """Blocks of a family larger than a tile, by s, that wait for their right neighbours."""

    waiting: Block  # leaves [31, ...]


def _mean(rules, left, right):
    if rules.logarithms:
        return jnp.logaddexp(left, right) - jnp.log(jnp.asarray(2, left.dtype))
    return (left + right) / 2


def base(rules: Rules, states: Any, values: Float[Array, "M ..."], leaves: Int[Array, " M"] | None) -> Block:
    """Blocks of one child each, from the children's values and the states of their parents."""
    if rules.estimator == "single":
        return Block(values, None, leaves)
    coupled = rules.link(states, values).astype(values.dtype) if rules.base == 0 else _no_term(values)
    return Block(values, coupled, leaves)


def _no_term(values):
    return jnp.zeros(values.shape[:1], values.dtype)


def join(rules: Rules, states: Any, s: int | Int[Array, ""], left: Block, right: Block) -> Block:
    """Blocks of size 2**s from pairs of half the size; `s` may be traced."""
    mean = _mean(rules, left.mean, right.mean)
    leaves = None if left.leaves is None else left.leaves + right.leaves
    if left.coupled is None:
        return Block(mean, None, leaves)

    def plain():
        return rules.link(states, mean).astype(mean.dtype)

    def further(n):
        before = left.coupled if rules.estimator == "coupled" else (left.coupled + right.coupled) / 2
        weight = jnp.asarray(rules.inverse_tail, mean.dtype)[n]
        return before + rules.delta(states, left.mean, right.mean).astype(mean.dtype) * weight

    n = s - rules.base
    if isinstance(s, int):
        coupled = _no_term(mean) if n < 0 else plain() if n == 0 else further(n)
    else:
        coupled = jnp.where(n == 0, plain(), further(jnp.clip(n, 0, len(rules.inverse_tail) - 1)))
        coupled = jnp.where(n < 0, 0, coupled)
    return Block(mean, coupled, leaves)


def _rows(tree, part):
    return jax.tree.map(lambda leaf: leaf[part], tree)


def climb(rules: Rules, states: Any, blocks: Block) -> list[Block]:
    """All blocks of a tile of C children whose lanes are in reversed order (`layout`): sizes 1, 2, ..., C.

    Lane p < C / 2**s of the s-th entry is the block of size 2**s whose first child is at lane p of the tile.
    """
    out = [blocks]
    while (size := out[-1].mean.shape[0] // 2) > 0:
        left, right = _rows(out[-1], slice(0, size)), _rows(out[-1], slice(size, None))
        out.append(join(rules, _rows(states, slice(0, size)), len(out), left, right))
    return out


def concatenate(blocks: list[Block]) -> Block:
    """One array of all sizes, 2 C - 1 rows; those of size 2**s begin at `row(C, s)`."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *blocks)


def row(tile: int, s: Int[Array, "..."]) -> Int[Array, "..."]:
    """First row of the blocks of size 2**s."""
    return 2 * tile - ((2 * tile) >> s)


def empty_stack(like: Block) -> Stack:
    """A stack for blocks like these, of any number of rows."""
    return Stack(jax.tree.map(lambda leaf: jnp.zeros((MAX_EXPONENT + 1, *leaf.shape[1:]), leaf.dtype), like))


def push(
    rules: Rules, state: Any, stack: Stack, top: Block, s: int, number: Int[Array, ""], exponent: Int[Array, ""]
) -> tuple[Stack, Block, Block]:
    """Adds the `number`-th block of size 2**s, a whole tile, of a family of 2**exponent > 2**s children.

    Works as a binary counter: a block joins its left neighbour as soon as both are there, up to the halves.

    Args:
      state: of the node, and `top`: the block; leaves of one row.

    Returns:
      the stack; and the two halves, which are right once the last block has been added.
    """

    def going(carry):
        _, at = carry
        return (at < exponent - 1) & (((number >> (at - s)) & 1) == 1)

    def body(carry):
        block, at = carry
        left = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, at, 1), stack.waiting)
        return join(rules, state, at + 1, left, block), at + 1

    block, at = jax.lax.while_loop(going, body, (top, jnp.int32(s)))
    left = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, at, 1), stack.waiting)
    waits = ((number >> (at - s)) & 1) == 0
    waiting = jax.tree.map(
        lambda leaf, new, old: jax.lax.dynamic_update_slice_in_dim(leaf, jnp.where(waits, new, old), at, 0),
        stack.waiting, block, left,
    )  # fmt: skip
    return Stack(waiting), left, block
