"""The closed-form rounding for many replicates at once, with the draws and decisions of `rounding.run`.

Replicates lie along the last axis and nodes are visited by decreasing weight: the prefix sum, the match and the
discard of a node are one pass over a vector of replicates, without gathers. A step visits only nodes that propose at it
(rate above 0), so that the sparse solutions of LP-OnOpt cost what their support costs.
Source: `braverman:24`, mode "closed_form" of `research.matching.rounding`.

Letters: `n` offline nodes, `T` times, `J` types, `R` replicates, `B` replicates simulated together.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key, UInt
from research.matching import draws, rounding

__all__ = ["Discards", "Plan", "Summary", "match_step", "prepare", "simulate"]

#: Replicates simulated together: long enough vectors, and everything still in a core's second-level cache.
BLOCK = 1024


class Summary(NamedTuple):
    value: Float[Array, " R"]  # weight matched by each replicate
    free: Int[Array, "T+1 n"] | None  # replicates in which the node was free before the time; None unless asked for


class Discards(NamedTuple):
    """Bits of the discards of one step, from `draws.discard_words`."""

    words: UInt[Array, "2 n B"]
    part: Int[Array, ""]  # step % 4
    shared: UInt[Array, " B"]


class Plan(NamedTuple):
    """All times, prepared once; a Bernoulli problem has one type."""

    order: Int[Array, "T J n"]  # by decreasing weight, nodes that do not propose last
    weights: Float[Array, "T J n"]  # in that order
    rates: Float[Array, "T J n"]  # in that order, on the grid of the uniforms
    proposing: Int[Array, "T J"]  # how many nodes have a rate above 0
    arrivals: Float[Array, "T J"]


@functools.partial(jax.jit, static_argnames=("mode", "block", "count_free"))
def _simulate(problem, keys, mode, block, count_free):
    plan = prepare(problem)
    num_runs, num_nodes = keys.shape[0], problem.weights.shape[0]
    num_blocks = -(-num_runs // block)
    lane = jnp.arange(num_blocks * block)
    words = draws.key_words(jax.vmap(lambda key: prng.stream(key, "rounding"))(keys[lane % num_runs]))

    def batch(args):
        return _batch(plan, num_nodes, mode, count_free, *args)

    per_block = [x.reshape(num_blocks, block) for x in (*words, lane < num_runs)]
    value, free = jax.lax.map(batch, (tuple(per_block[:2]), per_block[2]))
    num_steps = problem.arrivals.shape[0]
    free = jnp.sum(free, axis=0)[: num_steps + 1] if count_free else None
    return Summary(value.reshape(-1)[:num_runs].astype(problem.weights.dtype), free)


def simulate(
    problem: rounding.Problem,
    keys: Key,
    *,
    mode: str = "closed_form",
    block: int = BLOCK,
    count_free: bool = False,
    validate: bool = True,
) -> Summary:
    """Plays all times once for each key; replicate r is what `rounding.run(problem, params, keys[r])` gives.

    Args:
      keys: `[R]`, one for each replicate.
      mode: "closed_form" or "keep".
      block: replicates simulated together; changes the speed and no result.
      count_free: also count, for every time and node, the replicates in which the node is free before it.

    Raises: ValueError for bad input.
    """
    checks.one_of("mode", mode, ("closed_form", "keep"))
    checks.at_least("block", block, 1)
    if validate:
        rounding.validate(problem, rounding.Params(mode=mode))
    return _simulate(problem, keys, mode, min(block, keys.shape[0]), count_free)


def match_step(
    free: Bool[Array, "n B"],
    match: Float[Array, "J B"],
    discards: Discards | None,
    order: Int[Array, "J n"],
    weights: Float[Array, "J n"],
    rates: Float[Array, "J n"],
    proposing: Int[Array, " J"],
    arrivals: Float[Array, " J"],
) -> tuple[Bool[Array, "n B"], Float[Array, " B"]]:
    """One time for `B` replicates: who stays free, and what was matched.

    Args:
      match: uniform that picks the best proposer, in the row of the type that arrived; 2, beyond every interval, else.
      discards: None: nobody is discarded.
      order, weights, rates: nodes of each type by decreasing weight, those with rate 0 last; rates on the grid.
      proposing: how many nodes of each type have a rate above 0.
      arrivals: probability of each type.
    """
    if order.shape[0] > 1:
        return _typed_step(free, match, discards, order, weights, rates, proposing, arrivals)
    order, weights, rates, match, p = order[0], weights[0], rates[0], match[0], arrivals[0]

    def visit(position, carry):
        ahead, reward, free = carry
        node, rate = order[position], rates[position]
        is_free = _row(free, node)
        wanted = jnp.where(is_free, rate, 0)
        best = jnp.minimum(wanted, 1 - ahead)
        leaves = (ahead <= match) & (match < ahead + best)
        reward = jnp.where(leaves, weights[position], reward)
        if discards is not None:
            leaves = leaves | (_uniforms(discards, node) * (1 - p * best) < p * (wanted - best))
        free = jax.lax.dynamic_update_index_in_dim(free, is_free & ~leaves, node, 0)
        return ahead + best, reward, free

    zero = jnp.zeros(free.shape[1], jnp.float32)
    _, reward, free = jax.lax.fori_loop(0, proposing[0], visit, (zero, zero, free))
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


def _uniforms(discards, node=None):
    """Of one node, or of all. Made where they are used: written to memory they would cost as much as all the rest."""
    which, begin = draws.half_word(discards.part)
    word = _row(discards.words, which)
    word, shared = (word, discards.shared[None]) if node is None else (_row(word, node), discards.shared)
    return draws.discard_uniforms(word, begin, shared)


def _row(matrix, index):
    return jax.lax.dynamic_index_in_dim(matrix, index, 0, keepdims=False)


def prepare(problem: rounding.Problem) -> Plan:
    """The times of a problem, padded to whole blocks of draws with times at which nobody arrives or proposes."""
    typed = problem.typed
    rates, arrivals = (x if typed else x[..., None] for x in (problem.rates, problem.arrivals))
    late = -arrivals.shape[0] % draws.STEPS_PER_DRAW
    arrivals = jnp.pad(arrivals.astype(jnp.float32), ((0, late), (0, 0)))
    rates = jnp.pad(draws.on_grid(rates), ((0, 0), (0, late), (0, 0))).transpose(1, 2, 0)
    weights = problem.weights.astype(jnp.float32)
    weights = weights if typed else weights[..., None]
    weights = jnp.pad(weights, ((0, 0), (0, 0 if weights.shape[1] == 1 else late), (0, 0))).transpose(1, 2, 0)
    weights = jnp.broadcast_to(weights, rates.shape)
    order = rounding.weight_order(jnp.where(rates > 0, weights, -1))
    ranked = (jnp.take_along_axis(x, order, axis=-1) for x in (weights, rates))
    return Plan(order, *ranked, jnp.sum(rates > 0, axis=-1), arrivals)


def _batch(plan, num_nodes, mode, count_free, words, counted):
    """All times for one block of replicates; `words` are the keys' `[B]`, `counted [B]` excludes padding lanes."""
    per_draw = draws.STEPS_PER_DRAW
    nodes = jnp.arange(num_nodes, dtype=jnp.uint32)[:, None]

    def several_times(block, times, discards, carry):
        drawn = jnp.stack(draws.discard_words(tuple(w[None] for w in words), block, nodes)) if discards else None

        def one_time(carry, this):
            free, value = carry
            part, time = this
            count = jnp.sum(free & counted[None], axis=1, dtype=jnp.int32) if count_free else None
            event = draws.event(words, per_draw * block + part)
            kind = jnp.sum((jnp.cumsum(time.arrivals)[:, None] <= event.arrival[None]).astype(jnp.int32), axis=0)
            match = jnp.where(jnp.arange(time.arrivals.shape[0])[:, None] == kind[None], event.match[None], 2)
            bits = Discards(drawn, part, event.shared) if discards else None
            free, reward = match_step(free, match, bits, *time)
            return (free, value + reward), count

        return jax.lax.scan(one_time, carry, (jnp.arange(per_draw), times))

    def play(carry, these):
        block, crowded, times = these
        without = functools.partial(several_times, block, times, False)
        if mode == "keep":
            return without(carry)
        return jax.lax.cond(crowded, functools.partial(several_times, block, times, True), without, carry)

    num_blocks = plan.arrivals.shape[0] // per_draw
    # Where the rates of a time sum to 1 or less nobody is ever discarded, and no bits are drawn.
    crowded = jnp.any(jnp.sum(plan.rates, axis=-1).reshape(num_blocks, -1) > 1, axis=-1)
    times = jax.tree.map(lambda leaf: leaf.reshape(num_blocks, per_draw, *leaf.shape[1:]), plan)
    start = (jnp.ones((num_nodes, counted.shape[0]), bool), jnp.zeros(counted.shape, jnp.float32))
    (free, value), counts = jax.lax.scan(play, start, (jnp.arange(num_blocks), crowded, times))
    if not count_free:
        return value, None
    last = jnp.sum(free & counted[None], axis=1, dtype=jnp.int32)
    return value, jnp.concatenate([counts.reshape(-1, num_nodes), last[None]])
