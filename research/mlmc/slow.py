"""Replicates that the engine cannot run: a level that takes a third word, or families too large for one line.

They come about once in 2**40 nodes. The same estimator, one node at a time, on the host: levels take as many words as
they need, a family is walked in tiles, and blocks join in the order of `pyramid`, so that a replicate within the
engine's range comes out as the engine gives it. Below a node, tiles that the engine can run are left to it.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.mlmc import engine, layout, leaves, oracles, pyramid, words

__all__ = ["replicate"]

#: A child's number is one word.
_MOST = 32


def _enter(problem, d, key, state, child):
    """Keys and states of interior children with these numbers."""
    tile = child.shape[0]
    parent, before = layout.take((key, state), jnp.zeros(tile, jnp.int32))
    keys = words.child_keys(parent, child)
    drawn = words.node_words(keys, problem.num_variates[d + 1])
    return keys, leaves.enter(problem, d + 1, drawn, before, engine.float_dtype(problem))


@eqx.filter_jit
def _tile(problem, plan, d, key, state, start, used):
    """Values of the children start, ..., in reversed order; leaves below; whether the engine had to leave one out."""
    tile = plan.tiles[d + 1]
    place = jnp.asarray(layout.reversed_lanes(tile))
    child = start + place.astype(jnp.uint32)
    dtype = plan.sums or engine.float_dtype(problem)
    if d + 1 == problem.depth:
        handle = leaves.handles(problem, plan.leaves, key)
        zero = jnp.zeros(tile, jnp.int32)
        values = leaves.values(problem, plan.leaves, (handle, state), zero, child, engine.float_dtype(problem))
        return values.astype(dtype), jnp.ones(tile, jnp.int32), jnp.asarray(False)
    keys, states = _enter(problem, d, key, state, child)
    ran = engine.nodes(problem, plan, d + 1, keys, states, place < used, engine.start_tally(problem, plan))
    return ran.value, ran.leaves, ran.tally.overflow


@eqx.filter_jit
def _climb(problem, plan, d, state, values):
    """The first two blocks of each of the sizes 1, 2, 4, ... of a tile; of the largest size, its only one."""
    rules = engine.rules(problem, plan, d)
    states = layout.take(state, jnp.zeros(values.shape[0], jnp.int32))
    blocks = pyramid.climb(rules, states, pyramid.base(rules, states, values, None))
    second = [block.mean.shape[0] // 2 for block in blocks]
    return [(_row(block, 0), _row(block, at)) for block, at in zip(blocks, second, strict=True)]


def _row(block, at):
    return jax.tree.map(lambda leaf: leaf[at : at + 1], block)


def _node(problem, plan, d, key, state):
    """Value and leaves of one node; keys and states have one row."""
    exponent = plan.base[d] + oracles.level(plan.laws[d], tuple(int(word[0]) for word in key))
    if exponent > _MOST:
        raise OverflowError(f"a node of depth {d} has 2**{exponent} children; at most 2**{_MOST} can be numbered.")
    rules, height = engine.rules(problem, plan, d), plan.tiles[d + 1].bit_length() - 1
    leaves_below = 0

    def tile(start, used):
        nonlocal leaves_below
        values, below, overflow = _tile(problem, plan, d, key, state, jnp.uint32(start), used)
        places = layout.reversed_lanes(plan.tiles[d + 1])
        below = np.asarray(below, np.int64)
        if bool(overflow):
            values = np.array(values)
            for lane in np.flatnonzero((places < used) & ~np.isfinite(values)):
                child = jnp.asarray([start + places[lane]], jnp.uint32)
                values[lane], below[lane] = _node(problem, plan, d + 1, *_enter(problem, d, key, state, child))
        leaves_below += int(below[places < used].sum())
        return _climb(problem, plan, d, state, jnp.asarray(values))

    def block(start, s):
        if s <= height:
            return tile(start, 1 << s)[s][0]
        left, right = block(start, s - 1), block(start + (1 << (s - 1)), s - 1)
        return pyramid.join(rules, state, s, left, right)

    if exponent > height:
        halves = block(0, exponent - 1), block(1 << (exponent - 1), exponent - 1)
    else:
        sizes = tile(0, 1 << exponent)
        halves = sizes[exponent - 1] if exponent else (sizes[0][0],) * 2
    tally = engine.start_tally(problem, plan)
    value, _ = engine.combine(problem, plan, d, jnp.asarray([exponent], jnp.int32), state, *halves, tally)
    return float(value[0]), leaves_below


def replicate(problem: Any, plan: engine.Plan, seed, number: int) -> tuple[float, int]:
    """Value and leaves of one replicate, whatever levels it draws.

    Raises: OverflowError for a family of more than 2**32 children.
    """
    low, high = words.split([number])
    pair = tuple(jnp.uint32(int(word)) for word in np.asarray(seed))
    key, state = engine.roots(problem, pair, (jnp.asarray(low), jnp.asarray(high)))
    return _node(problem, plan, 0, key, state)
