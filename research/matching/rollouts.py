"""What the rounding still earns from a time and a free set on, by playing it: rollouts with common random numbers.

Rollout r meets the same arrivals and uniforms whichever set it starts from, so that differences between sets that
hardly differ have little variance, and are exactly 0 where a node changes nothing. Lanes are sets times rollouts; one
loop over the times serves all.
Source: `braverman:24` for the rounding; the steps are those of `pallas_kernels.match_scan`.

Letters: `n` nodes, `K` free sets, `R` rollouts.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.match_scan import plan as plans
from pallas_kernels.match_scan import xla
from research.core.types import Array, Bool, Float, Int, UInt
from research.matching import draws

__all__ = ["values"]


def values(
    plan: plans.Plan,
    mode: str,
    words: tuple[UInt[Array, " R"], UInt[Array, " R"]],
    first: Int[Array, ""],
    starts: Bool[Array, "n K"],
) -> Float[Array, "K R"]:
    """What every rollout earns from time `first` on, from each of the free sets `starts`.

    Args:
      plan: of the rounding, as `simulation.prepare` makes it.
      mode: "closed_form", or "keep", which discards nobody.
      words: `draws.key_words` of one key for each rollout.
      first: in [0, T]; may be traced.
      starts: free sets; all of them meet the same arrivals and uniforms.
    """
    (num_nodes, num_starts), num_runs = starts.shape, words[0].shape[0]
    per_draw, num_types = draws.STEPS_PER_DRAW, plan.arrivals.shape[1]
    nodes = jnp.arange(num_nodes, dtype=jnp.uint32)[:, None]
    prepared = plans.safe(plan), plan

    def lanes(x):
        return jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], num_starts, num_runs)).reshape(*x.shape[:-1], -1)

    def several_times(block, carry):
        drawn = None
        if mode == "closed_form":
            drawn = lanes(jnp.stack(draws.discard_words(tuple(w[None] for w in words), block, nodes)))

        def one_time(part, carry):
            free, value = carry
            time = per_draw * block + part
            safe, (order, weights, rates, proposing, arrivals) = jax.tree.map(lambda leaf: leaf[time], prepared)
            event = draws.event(words, time)
            kind = jnp.sum((jnp.cumsum(arrivals)[:, None] <= event.arrival[None]).astype(jnp.int32), axis=0)
            match = jnp.where(jnp.arange(num_types)[:, None] == kind[None], event.match[None], 2)
            discards = None if drawn is None else xla.Discards(drawn, part, lanes(event.shared))
            # Nobody is matched or discarded before.
            safe, proposing = (jnp.where(time >= first, count, 0) for count in (safe, proposing))
            free, reward = xla.match_step(
                free, lanes(match), discards, safe, order, weights, rates, proposing, arrivals
            )
            return free, value + reward

        return jax.lax.fori_loop(0, per_draw, one_time, carry)

    start = (jnp.repeat(starts, num_runs, axis=1), jnp.zeros(num_starts * num_runs, jnp.float32))
    _, value = jax.lax.fori_loop(first // per_draw, plan.arrivals.shape[0] // per_draw, several_times, start)
    return value.reshape(num_starts, num_runs)
