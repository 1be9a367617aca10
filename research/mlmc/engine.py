"""The breadth-first engine: flat tiles of children, nested while loops, static shapes, nothing truncated.

The nodes of a tile of depth d draw their levels; the sizes 2**(b_d + N) lay all their children on one line, and a while
loop walks along it in tiles of depth d + 1. Python recursion over d unrolls into D nested loops.
Source: `syed:23`, Algorithm 1, for the estimator; the layout is ours.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.core import loops
from research.core.types import Array, Bool, Float, Int
from research.mlmc import levels, words

__all__ = ["Plan", "Tally", "Values", "block", "float_dtype", "leaf_values"]

#: Largest b + N: children are counted in int32.
MAX_EXPONENT = 30


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a compiled engine is made for; hashable."""

    laws: tuple[levels.Geometric, ...]  # length D
    base: tuple[int, ...]  # b_d, length D
    tiles: tuple[int, ...]  # C_d, length D + 1, powers of two, not increasing
    estimator: str = "single"
    leaves: str = "random"
    sums: str | None = None  # dtype of sums and links; None: that of the problem
    statistics: bool = False  # whether to collect `Tally.levels`


class Tally(NamedTuple):
    """What a block has done."""

    leaves: loops.Counter
    slots: loops.Counter  # leaf lanes run, used or not
    overflow: Bool[Array, ""]  # some node needed a third level word or more than 2**30 children; its replicate is NaN
    levels: Float[Array, "D 31 5"] | None  # per depth and level: nodes, sums of Delta, Delta**2, Delta**4, max |Delta|


class Values(NamedTuple):
    value: Float[Array, " N"]  # NaN where the replicate is not finite
    leaves: Int[Array, " N"]
    tally: Tally


def float_dtype(problem: Any) -> jnp.dtype:
    """The dtype of a problem's floating fields; float32 for one that has none."""
    floats = [x.dtype for x in jax.tree.leaves(problem) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)]
    return jnp.result_type(*floats) if floats else jnp.dtype(jnp.float32)


def _spread(mask, like):
    """A mask [N] against values [N, ...]."""
    return mask.reshape(mask.shape + (1,) * (like.ndim - 1))


def _enter(problem, d, key_words, count, states, dtype):
    """States after y_d of nodes whose words are `key_words(count)`."""
    kinds = problem.kinds[d]
    if count:
        u = words.variates(key_words(count), kinds, dtype)
    else:
        u = jnp.zeros((jax.tree.leaves(states)[0].shape[0], 0), dtype)
    return jax.vmap(functools.partial(problem.transition, d))(states, u)


def leaf_values(problem: Any, keys: words.Words, states: Any, c: Array, dtype: Any) -> Float[Array, "N ..."]:
    """g_D of leaves number c of parents with the given keys and states, one leaf a lane."""
    depth = problem.depth
    after = _enter(problem, depth, lambda n: words.leaf_words(keys, c, n), problem.num_variates[depth], states, dtype)
    return jax.vmap(problem.leaf)(after)


def block(problem: Any, plan: Plan, seed: words.Words, ids: words.Words, valid: Bool[Array, " C"]) -> Values:
    """Replicates of one tile of ids `[C_0]`; valid lanes form a prefix."""
    dtype = float_dtype(problem)
    keys = words.replicate_keys(seed, ids)
    count = problem.num_variates[0]
    u = (
        words.variates(words.node_words(keys, count), problem.kinds[0], dtype)
        if count
        else jnp.zeros((*valid.shape, 0), dtype)
    )
    states = jax.vmap(problem.init)(u)
    zero = loops.start_counter()
    statistics = jnp.zeros((problem.depth, MAX_EXPONENT + 1, 5), plan.sums or dtype) if plan.statistics else None
    tally = Tally(zero, zero, jnp.asarray(False), statistics)
    if problem.depth == 0:
        value = jax.vmap(problem.leaf)(states).astype(plan.sums or dtype)
        number = valid.sum(dtype=jnp.int32)
        tally = tally._replace(leaves=loops.count(zero, number), slots=loops.count(zero, valid.size))
        return Values(jnp.where(jnp.isfinite(value), value, jnp.nan), valid.astype(jnp.int32), tally)
    return _nodes(problem, plan, 0, keys, states, valid, tally)


def _count(counter, number):
    """Adds a number below 2**31 in two steps."""
    return loops.count(loops.count(counter, number >> 1), number - (number >> 1))


def _sizes(plan, d, level, overflow, valid):
    """Numbers of children; nodes that cannot be run here get none, and are marked."""
    exponent = plan.base[d] + level
    overflow = overflow | (exponent > MAX_EXPONENT)
    size = jnp.where(valid & ~overflow, jnp.int32(1) << jnp.minimum(exponent, MAX_EXPONENT), 0)
    crowded = size.astype(jnp.float32).sum() >= 2.0**31
    overflow = overflow | (crowded & (size > (1 << MAX_EXPONENT) // level.size))
    return jnp.where(overflow, 0, size), overflow & valid


def _nodes(problem, plan, d, keys, states, valid, tally):
    dtype = float_dtype(problem)
    n, width = plan.tiles[d], plan.tiles[d + 1]
    level, third = levels.draw(plan.laws[d], words.level_words(keys))
    size, overflow = _sizes(plan, d, level, third, valid)
    end = jnp.cumsum(size)
    off = end - size
    total = end[-1]
    shape = jax.eval_shape(lambda k, s, c: leaf_values(problem, k, s, c, dtype), keys, states, keys[0]).shape[1:]
    if d + 1 < problem.depth:
        shape = ()
    sums = jnp.zeros((n, 2, *shape), plan.sums or dtype)
    lanes = jnp.arange(width, dtype=jnp.int32)

    def body(carry):
        start, sums, below, tally = carry
        j = start + lanes
        ok = j < total
        at = off - start
        inside = (at > 0) & (at < width) & (size > 0)
        marks = jnp.zeros(width, jnp.int32).at[jnp.where(inside, at, width)].add(1, mode="drop")
        first = ((off <= start) & (size > 0)).sum(dtype=jnp.int32) - 1
        node = first + jnp.cumsum(marks)
        c = j - off[node]
        theirs = jax.tree.map(lambda leaf: leaf[node], (keys, states))
        if d + 1 == problem.depth:
            value = leaf_values(problem, *theirs, c.astype(jnp.uint32), dtype)
            tally = tally._replace(slots=_count(tally.slots, width))
            mine = None
        else:
            child = words.child_keys(theirs[0], c.astype(jnp.uint32))
            count = problem.num_variates[d + 1]
            entered = _enter(problem, d + 1, lambda m: words.node_words(child, m), count, theirs[1], dtype)
            value, mine, tally = _nodes(problem, plan, d + 1, child, entered, ok, tally)
            below = below.at[node].add(jnp.where(ok, mine, 0))
        half = (c >= (size[node] + 1) >> 1).astype(jnp.int32)
        value = jnp.where(_spread(ok, value), value.astype(sums.dtype), 0)
        return start + width, sums.at[node, half].add(value), below, tally

    below = jnp.zeros(n if d + 1 < problem.depth else 0, jnp.int32)
    _, sums, below, tally = jax.lax.while_loop(lambda carry: carry[0] < total, body, (jnp.int32(0), sums, below, tally))
    if d + 1 == problem.depth:
        below = size
        tally = tally._replace(leaves=_count(tally.leaves, total))
    single = size <= 1
    half_size = _spread(jnp.maximum(size >> 1, 1), sums[:, 0]).astype(sums.dtype)
    a = sums[:, 0] / half_size
    b = jnp.where(_spread(single, a), a, sums[:, 1] / half_size)
    value, tally = _combine(problem, plan, d, level, states, a, b, valid & ~overflow, tally)
    value = jnp.where(overflow, jnp.nan, value)
    return Values(value, below, tally._replace(overflow=tally.overflow | overflow.any()))


def _combine(problem, plan, d, level, states, a, b, counted, tally):
    """The node's value from the means of the two halves of its children."""
    law = plan.laws[d]
    middle = (a + b) / 2
    plain = jax.vmap(functools.partial(problem.link, d))(states, middle)
    delta = jax.vmap(functools.partial(problem.delta, d))(states, a, b)
    term = jnp.where(level == 0, plain, delta).astype(a.dtype)
    table = law.table(min(2 * law.last, MAX_EXPONENT - plan.base[d]) + 1)
    value = term / jnp.asarray(table, a.dtype)[jnp.minimum(level, len(table) - 1)]
    fine = jnp.isfinite(a) & jnp.isfinite(b)
    fine = fine.reshape(fine.shape[0], -1).all(axis=-1) & jnp.isfinite(value)
    if plan.statistics:
        kept = jnp.where(counted & fine, term, 0)
        rows = jnp.stack([counted.astype(term.dtype), kept, kept**2, kept**4], axis=-1)
        where = jnp.where(counted, jnp.minimum(level, MAX_EXPONENT), MAX_EXPONENT + 1)
        table = tally.levels.at[d, where, :4].add(rows, mode="drop").at[d, where, 4].max(jnp.abs(kept), mode="drop")
        tally = tally._replace(levels=table)
    return jnp.where(fine, value, jnp.nan), tally
