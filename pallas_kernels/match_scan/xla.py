"""The closed-form rounding by XLA: replicates along the last axis, nodes visited by decreasing weight.

The prefix sum, the match and the discard of a node are one pass over a vector of replicates, without gathers. A step
visits only nodes that propose at it, so that the sparse solutions of LP-OnOpt cost what their support costs. With one
type, uniforms are drawn for those nodes alone that may be discarded in a block of times, a few nodes at once. On a CPU
a block of replicates and all its state stay in the second-level cache. Source: as `reference.py`; types are those of
"closed_form" in `braverman:24`'s general model.

Letters: `n` nodes, `T` times, `J` types, `R` replicates, `B` replicates simulated together.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.match_scan import draws
from pallas_kernels.match_scan import plan as plans
from pallas_kernels.match_scan.plan import Output

__all__ = ["Discards", "match_scan", "match_step"]

#: Nodes drawn for at once: enough vectors to keep a core busy, few enough for sparse plans.
_TOGETHER = 4


class Discards(NamedTuple):
    """Bits of the discards of one step, from `draws.discard_words`."""

    words: jax.Array  # [2, n, B] uint32
    part: jax.Array  # step % 4
    shared: jax.Array  # [B] uint32
    rows: jax.Array | None = None  # [n] where in `words` the visited nodes are, in their order; None: at their index


def match_scan(plan, words, *, discards=True, count_free=False, block):
    """Same contract as `api.match_scan`; `block` replicates at a time, which changes the speed and no result."""
    num_runs = words.shape[1]
    block = min(block, num_runs)
    num_blocks = -(-num_runs // block)
    lane = jnp.arange(num_blocks * block)
    per_block = words[:, lane % num_runs].reshape(2, num_blocks, block).swapaxes(0, 1)
    batch = functools.partial(_batch, plan, discards, count_free)
    value, free = jax.lax.map(batch, (per_block, (lane < num_runs).reshape(num_blocks, block)))
    return Output(value.reshape(-1)[:num_runs], jnp.sum(free, axis=0, dtype=jnp.int32) if count_free else None)


def _batch(plan, discards, count_free, these):
    """All times for one block of replicates: `words [2, B]`, and `counted [B]`, which excludes padding lanes."""
    words, counted = these
    (num_steps, _, num_nodes), num_runs = plan.order.shape, words.shape[1]
    per_draw = draws.STEPS_PER_DRAW
    num_blocks = num_steps // per_draw

    one_type = plan.order.shape[1] == 1
    nodes, count = plans.drawn(plan)
    if not one_type:  # whether a node is discarded depends on all types: all are drawn for, in their order
        nodes, count = jnp.zeros_like(nodes) + jnp.arange(num_nodes)[None], jnp.full_like(count, num_nodes)
    rows = jnp.argsort(nodes, axis=1)
    nodes = jnp.pad(nodes, ((0, 0), (0, -num_nodes % _TOGETHER)))

    def several_times(block, times, discards, carry):
        state, drawn = carry
        if discards:
            drawn = _draw(words, block, nodes[block], count[block], drawn)

        def one_time(carry, this):
            free, value = carry
            part, safe, time = this
            count = jnp.sum(free & counted[None], axis=1, dtype=jnp.int32) if count_free else None
            event = draws.event(words, per_draw * block + part)
            kind = jnp.sum((jnp.cumsum(time.arrivals)[:, None] <= event.arrival[None]).astype(jnp.int32), axis=0)
            match = jnp.where(jnp.arange(time.arrivals.shape[0])[:, None] == kind[None], event.match[None], 2)
            bits = None
            if discards:
                where = rows[block][time.order[0]] if one_type else None
                bits = Discards(drawn[:, : None if one_type else num_nodes], part, event.shared, where)
            free, reward = match_step(free, match, bits, safe, *time)
            return (free, value + reward), count

        state, counts = jax.lax.scan(one_time, state, (jnp.arange(per_draw), *times))
        return (state, drawn), counts

    def play(carry, these):
        block, risky, times = these
        without = functools.partial(several_times, block, times, False)
        if not discards:
            return without(carry)
        return jax.lax.cond(risky, functools.partial(several_times, block, times, True), without, carry)

    safe = plans.safe(plan)
    # Where nobody can be discarded no bits are drawn.
    risky = jnp.any((safe < plan.proposing).reshape(num_blocks, -1), axis=1)
    times = jax.tree.map(lambda leaf: leaf.reshape(num_blocks, per_draw, *leaf.shape[1:]), (safe, plan))
    start = jnp.ones((num_nodes, num_runs), bool), jnp.zeros(num_runs, jnp.float32)
    space = jnp.zeros((2, nodes.shape[1], num_runs), jnp.uint32)
    ((free, value), _), counts = jax.lax.scan(play, (start, space), (jnp.arange(num_blocks), risky, times))
    if not count_free:
        return value, None
    last = jnp.sum(free & counted[None], axis=1, dtype=jnp.int32)
    return value, jnp.concatenate([counts.reshape(-1, num_nodes), last[None]])


def _draw(words, block, nodes, count, drawn):
    """Words of the first `count` of `nodes`, in their order, written over `drawn [2, n, B]`."""

    def several_nodes(i, drawn):
        these = jax.lax.dynamic_slice_in_dim(nodes, _TOGETHER * i, _TOGETHER).astype(jnp.uint32)[:, None]
        # Stacked before they are written, XLA would encrypt them one by one instead of eight at a time.
        for which, new in enumerate(jax.lax.optimization_barrier(draws.discard_words(words[:, None], block, these))):
            start = (jnp.asarray(which, i.dtype), _TOGETHER * i, jnp.asarray(0, i.dtype))
            drawn = jax.lax.dynamic_update_slice(drawn, new[None], start)
        return drawn

    return jax.lax.fori_loop(0, -(-count // _TOGETHER), several_nodes, drawn)


def match_step(free, match, discards, safe, order, weights, rates, proposing, arrivals):
    """One time for `B` replicates: who stays free, and what was matched.

    Args:
      free: `[n, B]` bool.
      match: `[J, B]` uniform that picks the best proposer, in the row of the type that arrived; 2, beyond every
        interval, else.
      discards: `Discards`, or None: nobody is discarded.
      safe: `[J]` from `plan.safe`.
      order, weights, rates, proposing, arrivals: the time's row of a `Plan`.

    Returns: `(free [n, B], reward [B])`.
    """
    if order.shape[0] > 1:
        return _typed_step(free, match, discards, order, weights, rates, proposing, arrivals)
    order, weights, rates, match, odds = order[0], weights[0], rates[0], match[0], draws.odds(arrivals[0])

    def visit(discards, position, carry):
        ahead, reward, free = carry
        node = order[position]
        is_free = _row(free, node)
        wanted = jnp.where(is_free, rates[position], 0)
        best = jnp.minimum(wanted, 1 - ahead)
        leaves = (ahead <= match) & (match < ahead + best)
        reward = jnp.where(leaves, weights[position], reward)
        if discards is not None:
            row = node if discards.rows is None else discards.rows[position]
            leaves = leaves | (_uniforms(discards, row) * (odds - best) < wanted - best)
        free = jax.lax.dynamic_update_index_in_dim(free, is_free & ~leaves, node, 0)
        return ahead + best, reward, free

    zero = jnp.zeros(free.shape[1], jnp.float32)
    carry = zero, zero, free
    first = 0
    if discards is not None:
        first = safe[0]
        carry = jax.lax.fori_loop(0, first, functools.partial(visit, None), carry)
    _, reward, free = jax.lax.fori_loop(first, proposing[0], functools.partial(visit, discards), carry)
    return free, reward


def _typed_step(free, match, discards, order, weights, rates, proposing, arrivals):
    """A node's discard depends on all types: their intervals come first, one type at a time."""

    def of_type(carry, this):
        match, order, weights, rates, proposing, p = this

        def visit(position, carry):
            ahead, reward, best_sum, excess, matched = carry
            node, rate = order[position], rates[position]
            wanted = jnp.where(_row(free, node), rate, 0)
            best = jnp.minimum(wanted, 1 - ahead)
            hit = (ahead <= match) & (match < ahead + best)
            best_sum = jax.lax.dynamic_update_index_in_dim(best_sum, _row(best_sum, node) + p * best, node, 0)
            more = _row(excess, node) + p * (wanted - best)
            excess = jax.lax.dynamic_update_index_in_dim(excess, more, node, 0)
            reward, matched = jnp.where(hit, weights[position], reward), jnp.where(hit, node, matched)
            return ahead + best, reward, best_sum, excess, matched

        start = (jnp.zeros(free.shape[1], jnp.float32), *carry)
        return jax.lax.fori_loop(0, proposing, visit, start)[1:], None

    reward, matched = jnp.zeros(free.shape[1], jnp.float32), jnp.full(free.shape[1], -1, jnp.int32)
    sums = jnp.zeros(free.shape, jnp.float32)
    per_type = (match, order, weights, rates, proposing, arrivals)
    (reward, best_sum, excess, matched), _ = jax.lax.scan(of_type, (reward, sums, sums, matched), per_type)
    stays = free & (jnp.arange(free.shape[0])[:, None] != matched[None])
    if discards is not None:
        stays = stays & ~(_uniforms(discards) * (1 - best_sum) < excess)
    return stays, reward


def _uniforms(discards, row=None):
    """Of one row, or of all. Made where they are used: written to memory they would cost as much as all the rest."""
    which, begin = draws.half_word(discards.part)
    word = _row(discards.words, which)
    word, shared = (word, discards.shared[None]) if row is None else (_row(word, row), discards.shared)
    return draws.discard_uniforms(word, begin, shared)


def _row(matrix, index):
    return jax.lax.dynamic_index_in_dim(matrix, index, 0, keepdims=False)
