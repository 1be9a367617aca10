"""Experts with a limited number of places: what to do with tokens beyond it.

An expert has C = max(1, ceil(gamma K T / E)) places, T the valid tokens. `CapacityDrop` lets each expert keep C of the
tokens that chose it. `ExpandedDrop` gives each token m = ceil(r K) candidates, lets experts keep their C best, and then
tokens their K best kept. `Reroute` takes all pairs of token and expert in descending order of score and accepts while
both have places left: every place is used where gamma >= 1 and E divides K T, up to the end of the list.

All drop by what later tokens want, `CapacityDrop` with policy "first" excepted, so they are not causal; training
without drops is the default elsewhere. Reroute is computed as deferred acceptance: where pairs have one common order,
the greedy assignment is the only stable one, and a round of offers works on all tokens at once.
Source: `he:25`, its four policies as in the authors' code; `lepikhin:21` for "first". Departure: no refill of dropped
slots beyond the capacity.

Letters: `T` tokens, `E` experts, `K` experts per token, `S` slots, `C` places per expert.
"""

import math
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating, softmax_topk
from research.balancing.routing import (
    NOTHING,
    Context,
    Router,
    Routing,
    Wrapper,
    check_logits,
    count,
    num_valid,
    valid_tokens,
)
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = [
    "POLICIES", "CapacityDrop", "ExpandedDrop", "Reroute", "dropped", "exact", "example", "greedy", "places",
    "rank_in_expert", "ranked", "share_of",
]  # fmt: skip

POLICIES = ("score", "first", "last", "random")


def share_of(factor: float | Fraction, tokens: int | Int[Array, ""], num_experts: int, rounding: str = "ceil"):
    """`factor * tokens / num_experts` rounded to an integer without error, the factor being read as a decimal number.

    Works for a traced count of tokens. `rounding` is "ceil" or "floor". Raises ValueError where int32 could overflow.
    """
    ratio = exact(factor) / num_experts
    up = rounding == "ceil"
    if isinstance(tokens, int):
        return math.ceil(ratio * tokens) if up else math.floor(ratio * tokens)
    p, q = ratio.numerator, ratio.denominator
    fits = p * q < 2**31
    checks.require(fits, "factor", "have few enough digits for int32 where the number of tokens is traced", factor)
    whole, rest = tokens // q, tokens % q  # p rest < p q
    return p * whole + (p * rest + (q - 1 if up else 0)) // q


def exact(factor: float | Fraction) -> Fraction:
    """The decimal number that a float is written as; fractions stay."""
    return factor if isinstance(factor, Fraction) else Fraction(repr(float(factor)))


def places(factor: float, top_k: int, tokens: int | Int[Array, ""], num_experts: int):
    """C = max(1, ceil(factor K T / E)), exact; an array where T is one."""
    found = share_of(exact(factor) * top_k, tokens, num_experts)
    return max(1, found) if isinstance(tokens, int) else jnp.maximum(1, found)


def rank_in_expert(
    index: Int[Array, "T S"], priority: Float[Array, "T S"], keep: Bool[Array, "T S"], num_experts: int
) -> Int[Array, "T S"]:
    """0 for the slot with the largest priority of its expert, 1 for the next, ...; ties to the earlier token."""
    expert = jnp.where(keep, index, num_experts).reshape(-1)
    order = jnp.lexsort((-priority.reshape(-1), expert))  # stable
    counts = jnp.zeros(num_experts + 1, jnp.int32).at[expert].add(1)
    first = jnp.cumsum(counts) - counts
    place = jnp.arange(expert.size, dtype=jnp.int32)
    return jnp.zeros_like(place).at[order].set(place - first[expert[order]]).reshape(index.shape)


def ranked(scores: Float[Array, "T E"]) -> tuple[Int[Array, "T E"], Int[Array, "T E"]]:
    """Tokens of each column, best first, and each entry's rank in its column from 0; ties to the lower token."""
    order = jnp.argsort(-scores, axis=0, stable=True)
    place = jnp.broadcast_to(jnp.arange(scores.shape[0])[:, None], order.shape)
    return order, jnp.zeros_like(order).at[order, jnp.arange(scores.shape[1])[None]].set(place)


def _check_factor(owner: str, factor: float) -> None:
    checks.positive(f"{owner}.factor", factor)


class CapacityDrop(Wrapper):
    """Each expert keeps its C best slots by gate ("score"), or its first, last or randomly chosen ones.

    Dropped slots become unused; the gates of the others stay what they were. Reports "dropped", slots.
    "random" needs `context.key`. Raises ValueError for a factor that is not positive or an unknown policy.
    """

    router: Router
    factor: float = eqx.field(static=True, default=1.25)  # gamma
    policy: str = eqx.field(static=True, default="score")

    def __check_init__(self):
        _check_factor("CapacityDrop", self.factor)
        checks.one_of("CapacityDrop.policy", self.policy, POLICIES)

    @property
    def causal(self) -> bool:
        return self.router.causal and self.policy == "first"

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        if self.policy == "random":
            checks.require(context.key is not None, "context.key", "be given for policy 'random'", None)
        routing = self.router.route(state, logits, context)
        limit = places(self.factor, self.top_k, num_valid(context, logits), self.num_experts)
        rank = rank_in_expert(routing.index, self._priority(routing, context), routing.keep, self.num_experts)
        return dropped(routing, routing.keep & (rank < limit), self.num_experts)

    def _priority(self, routing: Routing, context: Context):
        token = jnp.arange(routing.index.shape[0], dtype=routing.gate.dtype)[:, None]
        if self.policy == "random":
            return jax.random.uniform(context.key, routing.index.shape)
        if self.policy == "score":
            return jax.lax.stop_gradient(routing.gate)
        return jnp.broadcast_to(token if self.policy == "last" else -token, routing.index.shape)


def dropped(routing: Routing, keep: Bool[Array, "T S"], num_experts: int) -> Routing:
    """The routing without the slots that are not kept; adds their number to "dropped"."""
    index = jnp.where(keep, routing.index, num_experts)
    lost = jnp.sum(routing.keep & ~keep, dtype=jnp.int32) + routing.aux.get("dropped", 0)
    load = count(index, keep, num_experts)
    return Routing(index, jnp.where(keep, routing.gate, 0), keep, load, {**routing.aux, "dropped": lost})


class ExpandedDrop(Router):
    """Softmax scores; m = ceil(r K) candidates per token, C per expert, K per token.

    Usually keeps more slots than dropping alone does (391 of 400 random cases; not guaranteed). Reports "dropped",
    slots of valid tokens that stay unused. Raises ValueError unless 1 <= K <= m <= E and the factor is positive.
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    factor: float = eqx.field(static=True, default=1.0)  # gamma
    ratio: float = eqx.field(static=True, default=1.5)  # r
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        softmax_topk.check_experts("ExpandedDrop", self.num_experts, self.top_k)
        _check_factor("ExpandedDrop", self.factor)
        enough = self.ratio >= 1 and self.candidates <= self.num_experts
        allowed = f"be >= 1 and leave at most num_experts = {self.num_experts} candidates"
        checks.require(enough, "ExpandedDrop.ratio", allowed, self.ratio)

    @property
    def causal(self) -> bool:
        return False

    @property
    def candidates(self) -> int:
        """m."""
        return math.ceil(exact(self.ratio) * self.top_k)

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        scores = gating.scores_of(logits)
        found = gating.largest(scores, self.candidates, context)
        keep = found.index < self.num_experts
        limit = places(self.factor, self.top_k, num_valid(context, logits), self.num_experts)
        kept = keep & (rank_in_expert(found.index, jax.lax.stop_gradient(found.score), keep, self.num_experts) < limit)
        best = jnp.argsort(~kept, axis=1, stable=True)[:, : self.top_k]  # candidates come in descending order
        index = jnp.take_along_axis(jnp.where(kept, found.index, self.num_experts), best, axis=1)
        return _filled(scores, index, self, context)


class Reroute(Router):
    """Softmax scores; pairs accepted greedily while the token has fewer than K experts and the expert fewer than C.

    Ties of scores: lower token, then lower expert. Reports "dropped", slots of valid tokens that stay unused.
    Raises ValueError unless 1 <= K <= E and the factor is positive.
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    factor: float = eqx.field(static=True, default=1.0)  # gamma
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        softmax_topk.check_experts("Reroute", self.num_experts, self.top_k)
        _check_factor("Reroute", self.factor)

    @property
    def causal(self) -> bool:
        return False

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        scores = gating.scores_of(logits)
        limit = places(self.factor, self.top_k, num_valid(context, logits), self.num_experts)
        index = greedy(jax.lax.stop_gradient(scores), self.top_k, limit, valid_tokens(context, logits))
        return _filled(scores, index, self, context)


def _filled(scores, index, router, context) -> Routing:
    routing = gating.routing_of(scores, index, renormalise=router.renormalise)
    lost = router.top_k * num_valid(context, scores) - jnp.sum(routing.keep, dtype=jnp.int32)
    return routing._replace(aux={**routing.aux, "dropped": lost})


def greedy(
    scores: Float[Array, "T E"], top_k: int, limit: int | Int[Array, ""], valid: Bool[Array, " T"]
) -> Int[Array, "T K"]:
    """Experts `[T, K]` of the greedy assignment, in descending order of score; E in unused slots.

    Tokens offer themselves to their K best experts that have not refused them; experts hold on to the `limit` best
    offers so far and refuse the rest, for good; repeated until nobody is refused, at most T E rounds and usually few.
    """
    tokens, num_experts = scores.shape
    shown = jnp.where(valid[:, None], scores, -jnp.inf)
    row = jnp.arange(tokens)[:, None]

    def offers(refused):
        masked = jnp.where(refused, -jnp.inf, shown)
        value, index = jax.lax.top_k(masked, top_k)
        return jnp.where(jnp.isneginf(value), num_experts, index)

    def round_(carry):
        refused, _ = carry
        index = offers(refused)
        offered = jnp.zeros((tokens, num_experts + 1), bool).at[row, index].set(True)[:, :num_experts]
        _, rank = ranked(jnp.where(offered, shown, -jnp.inf))
        more = offered & (rank >= limit)
        return refused | more, more.any()

    refused, _ = jax.lax.while_loop(lambda carry: carry[1], round_, (jnp.zeros(scores.shape, bool), jnp.bool_(True)))
    return offers(refused)


def example(key: Key):
    """Eight experts, two per token, places for three quarters of the slots."""
    return CapacityDrop(softmax_topk.SoftmaxTopK(8, 2), 0.75), jax.random.normal(key, (32, 8)), NOTHING
