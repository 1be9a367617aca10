"""The closed-form rounding one replicate at a time in plain jnp: the oracle of every test of this package.

Source: mode "closed_form" of the rounding of `braverman:24`. With free nodes by decreasing weight and S the prefix sums
of their rates v: node i is the best proposer on the interval from min(1, S_i - v_i) to min(1, S_i), of length m_i, and
is discarded with probability p (v_i - m_i) / (1 - p m_i) whether or not it was matched.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.match_scan import draws
from pallas_kernels.match_scan.plan import Output

__all__ = ["match_scan"]


def match_scan(plan, words, *, discards=True, count_free=False):
    """Same contract as `api.match_scan`; one type."""
    order, weights, rates, arrivals = (x[:, 0] for x in (plan.order, plan.weights, plan.rates, plan.arrivals))
    num_steps, num_nodes = order.shape
    nodes = jnp.arange(num_nodes, dtype=jnp.uint32)

    def play(first, second):
        def one_time(carry, this):
            free, value = carry
            step, order, weights, rates, p = this
            event = draws.event((first, second), step)
            wanted = jnp.where(free[order], rates, 0)
            above = jnp.minimum(1, jnp.cumsum(wanted))
            below = jnp.concatenate([jnp.zeros(1, jnp.float32), above[:-1]])
            matched = (event.arrival < p) & (below <= event.match) & (event.match < above)
            best = above - below
            drawn = draws.discard_words((first, second), step // draws.STEPS_PER_DRAW, nodes)
            which, begin = draws.half_word(step % draws.STEPS_PER_DRAW)
            uniform = draws.discard_uniforms(jnp.where(which == 0, *drawn), begin, event.shared)[order]
            discarded = discards & (uniform * (draws.odds(p) - best) < wanted - best)
            after = free.at[order].set(free[order] & ~matched & ~discarded)
            return (after, value + jnp.sum(jnp.where(matched, weights, 0))), free

        start = jnp.ones(num_nodes, bool), jnp.zeros((), jnp.float32)
        (last, value), before = jax.lax.scan(one_time, start, (jnp.arange(num_steps), order, weights, rates, arrivals))
        return value, jnp.concatenate([before, last[None]])

    value, free = jax.vmap(play)(words[0], words[1])
    return Output(value, jnp.sum(free, axis=0, dtype=jnp.int32) if count_free else None)
