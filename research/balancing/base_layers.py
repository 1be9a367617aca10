"""Balanced assignment layers: in training each expert gets its exact share of the tokens, chosen for the largest total.

`balanced_assignment` starts from the best expert of every token under given prices, which is optimal for the loads that
it happens to have, and shifts tokens along cheapest paths between experts until loads lie in [floor(T/E), ceil(T/E)]
and no shift within these bounds gains anything: successive shortest paths, exact up to rounding. Each shift costs
O(T E + E^3); prices close to the optimum leave few of them. One expert per token, as published.
Source: `lewis:21`; the gate, sigmoid of the chosen logit, is [recalled]. Departure: shortest paths where the authors
run an auction; at inference the best expert of each token, without balancing, as there.

Letters: `T` tokens, `E` experts.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import assignment, gating
from research.balancing.quantile_router import swept
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits, count, valid_tokens
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = ["BaseLayers", "balanced_assignment", "example"]


def balanced_assignment(
    scores: Float[Array, "T E"], valid: Bool[Array, " T"] | None = None, price: Float[Array, " E"] | None = None
) -> Int[Array, " T"]:
    """The expert of each token in an assignment of largest total score with loads floor(T/E) or ceil(T/E).

    Args:
      scores: finite.
      valid: tokens to assign; the others get E.
      price: added to scores to start from; close to the optimal bias, few tokens need to be moved. Zero if None.
    """
    tokens, num_experts = scores.shape
    scores = jax.lax.stop_gradient(scores)
    valid = jnp.ones(tokens, bool) if valid is None else valid
    price = jnp.zeros(num_experts, scores.dtype) if price is None else jax.lax.stop_gradient(price)
    low = jnp.sum(valid, dtype=jnp.int32) // num_experts
    high = -(-jnp.sum(valid, dtype=jnp.int32) // num_experts)
    start = jnp.where(valid, jnp.argmax(scores + price[None], axis=1).astype(jnp.int32), num_experts)
    # A gain below what rounding makes of a zero is none: the loop must not run in circles.
    least = 16 * num_experts * jnp.finfo(scores.dtype).eps * jnp.max(jnp.abs(scores))

    def shift(carry):
        chosen, _, rounds = carry
        load = count(chosen[:, None], valid[:, None], num_experts)
        over, under = load > high, load < low
        # Where some expert has too many, they go to anyone with room; else those with too few take from anyone.
        source = jnp.where(over.any(), over, load > low)
        sink = jnp.where(over.any() | ~under.any(), load < high, under)
        cost, mover = _cheapest_moves(scores, chosen, num_experts)
        distance, previous = _shortest_paths(cost, source)
        end = jnp.argmin(jnp.where(sink, distance, jnp.inf))
        wanted = over.any() | under.any() | (distance[end] < -least)
        moved = _along(chosen, previous, mover, end)
        return jnp.where(wanted, moved, chosen), wanted, rounds + 1

    # At most T moves restore the bounds; improvements within them are at most as many again.
    def unfinished(carry):
        return carry[1] & (carry[2] < 2 * tokens + 2)

    return jax.lax.while_loop(unfinished, shift, (start, jnp.bool_(True), jnp.int32(0)))[0]


def _cheapest_moves(scores, chosen, num_experts):
    """Loss of the cheapest move of one token from expert a to b `[E, E]`, infinite without tokens, and that token."""
    loss = gating.take(scores, chosen[:, None]) - scores  # [T, E]
    cost = jax.ops.segment_min(loss, chosen, num_experts + 1)[:num_experts]
    at_cost = loss == cost[jnp.minimum(chosen, num_experts - 1)]
    token = jnp.where(at_cost, jnp.arange(loss.shape[0], dtype=jnp.int32)[:, None], loss.shape[0])
    mover = jax.ops.segment_min(token, chosen, num_experts + 1)[:num_experts]
    return jnp.where(jnp.eye(num_experts, dtype=bool), jnp.inf, cost), mover


def _shortest_paths(cost, source):
    """Distances `[E]` from the nearest source, and each expert's predecessor, itself at sources (Bellman, Ford)."""
    num_experts = source.shape[0]
    start = jnp.where(source, 0.0, jnp.inf).astype(cost.dtype)
    least = 4 * jnp.finfo(cost.dtype).eps * jnp.max(jnp.where(jnp.isfinite(cost), jnp.abs(cost), 0))

    def relax(_, carry):
        distance, previous = carry
        through = distance[:, None] + cost
        best = through.min(axis=0)
        better = best < distance - least  # no cycles of length zero
        return jnp.where(better, best, distance), jnp.where(better, through.argmin(axis=0), previous)

    return jax.lax.fori_loop(0, num_experts, relax, (start, jnp.arange(num_experts)))


def _along(chosen, previous, mover, end):
    """One token moved along each edge of the path that ends at `end`."""

    def back(carry):
        chosen, here, left = carry
        before = previous[here]
        return chosen.at[mover[before, here]].set(here.astype(chosen.dtype)), before, left - 1

    def inside(carry):
        return (previous[carry[1]] != carry[1]) & (carry[2] > 0)

    return jax.lax.while_loop(inside, back, (chosen, end, jnp.int32(previous.shape[0])))[0]


class BaseLayers(Router):
    """One expert per token: balanced in training, the best one at inference. Not causal while balanced.

    Its total is that of the logits. Raises ValueError for fewer than two experts.
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True, default=1)
    balanced: bool = eqx.field(static=True, default=True)
    sweeps: int = eqx.field(static=True, default=4)  # of the quantile dual, for prices to start from

    def __check_init__(self):
        checks.at_least("BaseLayers.num_experts", self.num_experts, 2)
        checks.require(self.top_k == 1, "BaseLayers.top_k", "be 1", self.top_k)
        checks.at_least("BaseLayers.sweeps", self.sweeps, 0)

    @property
    def causal(self) -> bool:
        return not self.balanced

    def at_inference(self) -> "BaseLayers":
        return dataclasses.replace(self, balanced=False)

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        if self.balanced:
            problem = assignment.Problem(logits, 1, context.valid)
            price = swept(problem, jnp.zeros(self.num_experts, logits.dtype), self.sweeps)
            index = balanced_assignment(logits, valid_tokens(context, logits), price)[:, None]
        else:
            index = gating.largest(logits, 1, context).index
        return gating.routing_of(gating.scores_of(logits, "sigmoid"), index, renormalise=False)


def example(key: Key):
    """Eight experts, thirty-two tokens."""
    return BaseLayers(8), jax.random.normal(key, (32, 8)), NOTHING
