"""The breadth-first engine: tiles of nodes, nested while loops, static shapes, nothing truncated.

The nodes of a tile of depth d draw their levels; their families lie on a line (`layout`), and a while loop walks along
it in tiles of depth d + 1, whose means over aligned blocks (`pyramid`) give both halves of every family. Python
recursion over d unrolls into D nested loops. No sum depends on the tiles, and nothing is added in an order that a
device chooses.
Source: `syed:23`, Algorithm 1, for the estimator; the layout is ours.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import loops
from research.core.types import Array, Bool, Float, Int
from research.mlmc import layout, leaf_blocks, leaves, levels, pyramid, words
from research.mlmc.layout import MAX_EXPONENT

__all__ = [
    "Plan", "Tally", "Values", "block", "combine", "float_dtype", "nodes", "roots", "rules", "start_tally",
]  # fmt: skip

_LEVELS = 33


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a compiled engine is made for; hashable."""

    laws: tuple[levels.Geometric, ...]  # length D
    base: tuple[int, ...]  # b_d, length D
    tiles: tuple[int, ...]  # C_d, length D + 1, powers of two, not increasing
    estimator: str = "single"
    leaves: str = "random"
    levels: str = "independent"  # of the roots
    sums: str | None = None  # dtype of sums and links; None: that of the problem
    count: bool = True  # whether leaves are counted for each replicate
    statistics: bool = False  # whether to collect `Tally.levels`

    def rates(self, d: int) -> int:
        """Length of the tables of depth d: all levels that a family can have, here or in `slow`."""
        law = self.laws[d]
        return _LEVELS if isinstance(law, levels.Geometric) else 2 * law.last

    def weights(self, d: int) -> tuple[Any, Any]:
        """P(N = n) and P(N >= n) of the levels that are drawn, float64."""
        law, number = self.laws[d], self.rates(d)
        if d == 0 and self.levels == "systematic":
            tails = (1 - law.r) ** np.arange(number)
            return law.r * tails, tails
        return law.table(number), law.tails(number)


class Tally(NamedTuple):
    """What a block has done."""

    leaves: loops.Counter
    slots: loops.Counter  # leaf lanes run, used or not
    overflow: Bool[Array, ""]  # some node needed a third level word or more than 2**30 children; its replicate is NaN
    levels: Float[Array, "D 31 5"] | None  # per depth and level: nodes, sums of Delta, Delta**2, Delta**4, max |Delta|


class Values(NamedTuple):
    value: Float[Array, " N"]  # NaN where the replicate is not finite, or overflows
    leaves: Int[Array, " N"] | None
    tally: Tally


def float_dtype(problem: Any) -> jnp.dtype:
    """The dtype of a problem's floating fields; float32 for one that has none."""
    floats = [x.dtype for x in jax.tree.leaves(problem) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)]
    return jnp.result_type(*floats) if floats else jnp.dtype(jnp.float32)


def start_tally(problem: Any, plan: Plan) -> Tally:
    zero = loops.start_counter()
    table = jnp.zeros((problem.depth, MAX_EXPONENT + 1, 5), plan.sums or float_dtype(problem))
    return Tally(zero, zero, jnp.asarray(False), table if plan.statistics else None)


def roots(problem: Any, seed: words.Words, ids: words.Words) -> tuple[words.Words, Any]:
    """Keys and states of the roots of replicates `[C]`."""
    dtype, count = float_dtype(problem), problem.num_variates[0]
    keys = words.replicate_keys(seed, ids)
    drawn = words.node_words(keys, count)
    u = words.variates(drawn, problem.kinds[0], dtype) if count else jnp.zeros((*ids[0].shape, 0), dtype)
    return keys, jax.vmap(problem.init)(u)


def block(problem: Any, plan: Plan, seed: words.Words, ids: words.Words, valid: Bool[Array, " C"]) -> Values:
    """Replicates of one tile of ids `[C_0]`."""
    # As constants of a program the problem's numbers would be folded into the arithmetic, here so and there otherwise.
    problem = jax.tree.map(lambda x: jax.lax.optimization_barrier(x) if eqx.is_array(x) else x, problem)
    keys, states = roots(problem, seed, ids)
    tally = start_tally(problem, plan)
    if problem.depth > 0:
        return nodes(problem, plan, 0, keys, states, valid, tally)
    value = jax.vmap(problem.leaf)(states).astype(plan.sums or float_dtype(problem))
    number = valid.sum(dtype=jnp.int32)
    tally = tally._replace(leaves=loops.count(tally.leaves, number), slots=loops.count(tally.slots, valid.size))
    return Values(jnp.where(jnp.isfinite(value), value, jnp.nan), valid.astype(jnp.int32), tally)


def _count(counter, number):
    """Adds a number below 2**31, in two steps."""
    return loops.count(loops.count(counter, number >> 1), number - (number >> 1))


def rules(problem: Any, plan: Plan, d: int) -> pyramid.Rules:
    """How blocks of children of a node of depth d join."""
    logarithms = problem.inner == "logmeanexp" and d + 1 == problem.depth
    tails = 1 / plan.weights(d)[1]
    link, delta = (jax.vmap(functools.partial(function, d)) for function in (problem.link, problem.delta))
    return pyramid.Rules(link, delta, logarithms, plan.estimator, plan.base[d], tails)


def nodes(
    problem: Any, plan: Plan, d: int, keys: words.Words, states: Any, valid: Bool[Array, " N"], tally: Tally
) -> Values:
    """Values of a tile of C_d nodes of depth d < D from their keys and their states after y_d."""

    systematic = d == 0 and plan.levels == "systematic"

    def codes():
        if systematic:
            level, third = levels.systematic(plan.laws[0].r, valid.size, words.level_words(keys)[0][0])
        else:
            level, third = levels.draw(plan.laws[d], words.level_words(keys))
        return layout.codes(plan.base[d] + level, valid, third)

    line = layout.lay_out(layout.materialized(keys[0][0], codes))
    innermost = d + 1 == problem.depth
    handle = leaves.handles(problem, plan.leaves, keys) if innermost else keys
    handle, states = layout.place((handle, states), line.slot)
    if innermost and plan.leaves == "blocks":
        means = leaf_blocks.halves(problem, handle, states, jnp.maximum(line.exponent, 0), line.exponent >= 0)
        left, right = (pyramid.Block(mean.astype(plan.sums or mean.dtype), None, None) for mean in means)
        tally = tally._replace(slots=_count(tally.slots, line.total))  # those that hold a leaf: it counts no others
    else:
        left, right, tally = _walk(problem, plan, d, line, handle, states, tally)
    if innermost:
        tally = tally._replace(leaves=_count(tally.leaves, line.total))
    value, tally = combine(problem, plan, d, line.exponent, states, left, right, tally)
    number = None
    if plan.count:
        below = 1 << line.exponent
        if not innermost:
            below = jnp.where(line.exponent > 0, left.leaves + right.leaves, left.leaves)
        number = layout.take(jnp.where(line.exponent >= 0, below, 0), line.slot)
    return Values(layout.take(value, line.slot), number, tally._replace(overflow=tally.overflow | line.beyond))


def _children(problem, plan, d, place, handle, states, tally):
    """Values, leaves below and tally of one tile of children."""
    dtype = float_dtype(problem)
    if d + 1 == problem.depth:
        tally = tally._replace(slots=loops.count(tally.slots, place.node.size))

        def draw():
            value = leaves.values(problem, plan.leaves, (handle, states), place.node, place.child, dtype)
            return value.astype(plan.sums or dtype)

        value = layout.materialized(place.node[0], draw)
        return value, None, tally
    parent, before = layout.take((handle, states), place.node)
    keys = words.child_keys(parent, place.child.astype(jnp.uint32))
    drawn = words.node_words(keys, problem.num_variates[d + 1])
    return nodes(
        problem, plan, d + 1, keys, leaves.enter(problem, d + 1, drawn, before, dtype), place.used, tally
    )  # fmt: skip


def _walk(problem, plan, d, line, handle, states, tally):
    """Both halves of every family, in sorted order: two `pyramid.Block`s of N rows."""
    n, tile = line.slot.shape[0], plan.tiles[d + 1]
    how = rules(problem, plan, d)
    height, bits = tile.bit_length() - 1, layout.reversed_lanes(tile)
    # As many families can begin in a tile as it has places for the smallest.
    window = max(tile >> plan.base[d], 1)
    pad = functools.partial(jnp.pad, pad_width=(0, window), mode="edge")
    exponents, begins = pad(line.exponent), pad(line.begin)
    place = layout.Lanes(*(jnp.zeros(tile, t) for t in (jnp.int32, jnp.int32, bool)))

    def blocks(place, tally):
        value, below, tally = _children(problem, plan, d, place, handle, states, tally)
        theirs = layout.take(states, place.node) if how.estimator != "single" else None
        return theirs, pyramid.climb(how, theirs, pyramid.base(how, theirs, value, below)), tally

    like = jax.eval_shape(blocks, place, tally)[1][0]
    halves = jax.tree.map(lambda leaf: jnp.zeros((n + window, *leaf.shape[1:]), leaf.dtype), (like, like))

    def body(carry):
        start, halves, stack, tally = carry
        place = layout.lanes(line, start, tile)
        theirs, sizes, tally = blocks(place, tally)
        first = place.node[0]
        e = jax.lax.dynamic_slice_in_dim(exponents, first, window)
        at = bits_of(jax.lax.dynamic_slice_in_dim(begins, first, window) - start)
        a = pyramid.row(tile, jnp.maximum(e - 1, 0)) + at
        b = jnp.where(e > 0, a + (tile >> jnp.maximum(e, 0)), a)
        rows = pyramid.concatenate(sizes)
        inside = tuple(layout.take(rows, jnp.clip(i, 0, 2 * tile - 2)) for i in (a, b))
        one = None if theirs is None else layout.take(theirs, jnp.zeros(1, jnp.int32))
        large = e[0] > height
        number = (start - begins[first]) >> height
        stack, *outside = pyramid.push(how, one, stack, sizes[-1], height, number, jnp.where(large, e[0], height + 1))
        # The first family may be larger than a tile; what is written before its last tile is written over.
        inside = jax.tree.map(lambda new, old: old.at[0].set(jnp.where(large, new[0], old[0])), tuple(outside), inside)
        halves = jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, first, 0), halves, inside)
        return start + tile, halves, stack, tally

    def bits_of(offset):
        return jnp.asarray(bits).at[jnp.clip(offset, 0, tile - 1)].get(mode="promise_in_bounds")

    carry = (jnp.int32(0), halves, pyramid.empty_stack(like), tally)
    _, halves, _, tally = jax.lax.while_loop(lambda carry: carry[0] < line.total, body, carry)
    return *jax.tree.map(lambda leaf: leaf[:n], halves), tally


def combine(problem, plan, d, exponent, states, left, right, tally):
    """Values of nodes from the two halves of their families; both halves are the child of an only child."""
    how = rules(problem, plan, d)
    a, b = left.mean, right.mean
    level, runs = exponent - plan.base[d], exponent >= 0
    n = jnp.clip(level, 0, plan.rates(d) - 1)
    whole = pyramid.join(how, states, exponent, left, right)
    if how.estimator == "single" or plan.statistics:
        plain, delta = how.link(states, whole.mean), how.delta(states, a, b)
        term = jnp.where(level == 0, plain, delta).astype(a.dtype)
    if how.estimator == "single":
        value = term * layout.take(jnp.asarray(1 / plan.weights(d)[0], a.dtype), n)
    else:
        value = jnp.where(exponent == 0, left.coupled, whole.coupled)
    # A link may hide an infinite mean, such as max(-inf, 0). Logarithms of zero weights are no fault.
    sound = [~jnp.isnan(x) & (x < jnp.inf) if how.logarithms else jnp.isfinite(x) for x in (a, b)]
    sound = functools.reduce(jnp.logical_and, (x.reshape(x.shape[0], -1).all(axis=-1) for x in sound))
    fine = runs & sound & jnp.isfinite(value)
    if plan.statistics:
        kept = jnp.where(fine, term, 0)
        rows = jnp.stack([runs.astype(kept.dtype), kept, kept**2, kept**4], axis=-1)
        where = jnp.where(runs, level, MAX_EXPONENT + 1)
        table = tally.levels.at[d, where, :4].add(rows, mode="drop").at[d, where, 4].max(jnp.abs(kept), mode="drop")
        tally = tally._replace(levels=table)
    return jnp.where(fine, value, jnp.nan), tally
